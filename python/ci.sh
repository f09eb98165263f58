#!/usr/bin/env bash
# Builds the wheel, installs it into an empty virtual environment, and runs tests, examples of the docs, and notebooks there.
# With arguments, such as `torch`, `ray` or `notebooks`, it also installs those extras and runs what needs them.
set -euo pipefail
cd "$(dirname "$0")"

target=${CARGO_TARGET_DIR:-$(cd .. && pwd)/target}
work=$target/python
python=${PYTHON:-python3}
mkdir -p "$work"
rm -rf "$work/wheels"

if [ ! -x "$work/build/bin/maturin" ]; then
  "$python" -m venv "$work/build"
  "$work/build/bin/pip" install -q 'maturin>=1.9.4,<2'
fi
"$work/build/bin/maturin" build --release --locked --manifest-path Cargo.toml --out "$work/wheels"

rm -rf "$work/venv"
"$python" -m venv "$work/venv"
pip=$work/venv/bin/pip
$pip install -q "$work"/wheels/pleura-*.whl

# The six lines of the README, where nothing is installed but the wheel and NumPy.
sed -n '/^```python/,/^```/p' README.md | sed '/^```/d' | sed -n '1,/^print/p' >"$work/readme.py"
(cd "$work" && venv/bin/python readme.py)

packages=(pytest onnx pillow mypy)
for extra in "$@"; do
  case $extra in
    torch) packages+=(torch scikit-learn) ;;
    ray) packages+=('ray[data]') ;;
    notebooks) packages+=(nbclient ipykernel matplotlib) ;;
    *) echo "extras are torch, ray and notebooks, not $extra" >&2; exit 2 ;;
  esac
done
$pip install -q "${packages[@]}"
export PLEURA_MODELS=$PWD/../models
# Importing the package of the source tree would miss the native module: tests run elsewhere.
cp -r tests examples pyproject.toml README.md ../docs/python.md "$work/venv/"
cd "$work/venv"
bin/python -m pytest -q -rs tests
bin/python -m pytest -q tests/documentation.py
bin/python -m mypy --strict --no-error-summary -p pleura --exclude 'train|ray' || exit 1
if [[ " $* " == *" notebooks "* ]]; then
  bin/python tests/notebooks.py examples
fi
