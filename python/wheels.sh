#!/usr/bin/env bash
# Builds a wheel for one platform; the default is manylinux x86-64, through Zig's linker, so that it runs on any Linux with
# glibc 2.28. Only that one is tested. The others are built where their toolchain is:
#
#   python/wheels.sh                                   x86_64-unknown-linux-gnu, tested
#   python/wheels.sh aarch64-unknown-linux-gnu         untested
#   python/wheels.sh aarch64-apple-darwin              untested, on macOS
#   python/wheels.sh x86_64-apple-darwin               untested, on macOS
#   python/wheels.sh x86_64-pc-windows-msvc            untested, on Windows
set -euo pipefail
cd "$(dirname "$0")"

platform=${1:-x86_64-unknown-linux-gnu}
target=${CARGO_TARGET_DIR:-$(cd .. && pwd)/target}
work=$target/python
if [ ! -x "$work/build/bin/maturin" ]; then
  "${PYTHON:-python3}" -m venv "$work/build"
  "$work/build/bin/pip" install -q 'maturin>=1.9.4,<2'
fi
options=(--release --locked --manifest-path Cargo.toml --target "$platform" --out dist)
case $platform in
  *-linux-gnu)
    "$work/build/bin/pip" install -q ziglang
    options+=(--compatibility manylinux_2_28 --zig)
    ;;
esac
PATH=$work/build/bin:$PATH maturin build "${options[@]}"
