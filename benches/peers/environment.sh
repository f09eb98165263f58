#!/usr/bin/env bash
# Makes the environment in which peers.py and networks.py run: CPython 3.10 with the pinned peers, and Pleura's own package.
#
#     benches/peers/environment.sh FOLDER [--helayers]
#
# HElayers is added on request, since its licence covers non-commercial use only. PYTHON names another interpreter; with other versions than 3.10
# OpenFHE is left out, whose pinned wheel loads in no other.
set -euo pipefail

if [ $# -lt 1 ]; then
  sed -n 's/^# \{0,1\}//p' "$0" | sed 1d >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
"${PYTHON:-python3.10}" -m venv "$1"
"$1/bin/pip" install -q -r "$here/requirements.txt" 'maturin>=1.9.4,<2'
"$1/bin/maturin" build --release --locked --manifest-path "$here/../../python/Cargo.toml" --out "$1/wheels" -i "$1/bin/python"
"$1/bin/pip" install -q "$1"/wheels/pleura-*.whl
if [ "${2:-}" = --helayers ]; then
  "$1/bin/pip" install -q pyhelayers==1.5.5.4
fi
