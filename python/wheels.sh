#!/usr/bin/env bash
# Builds a wheel into python/dist. Without arguments it is that of this machine; on x86-64 Linux maturin checks which libraries it
# needs, and gives it the manylinux tag of the newest function of glibc that it uses (2.35). Only that one is tested. The
# others are built where their toolchain is:
#
#   python/wheels.sh                                   this machine
#   python/wheels.sh x86_64-unknown-linux-gnu          untested: glibc 2.28 and later, by Zig's linker
#   python/wheels.sh aarch64-unknown-linux-gnu         tried under qemu-user: glibc 2.28 and later, by Zig's linker
#   python/wheels.sh aarch64-apple-darwin              untested, on macOS
#   python/wheels.sh x86_64-apple-darwin               untested, on macOS
#   python/wheels.sh x86_64-pc-windows-gnu             untested: by MinGW-w64, on any system that has it
#   python/wheels.sh x86_64-pc-windows-msvc            untested, on Windows
#
# `rustup target add` brings the libraries of a target.
set -euo pipefail
cd "$(dirname "$0")"

work=${CARGO_TARGET_DIR:-$(cd .. && pwd)/target}/python
if [ ! -x "$work/build/bin/maturin" ]; then
  "${PYTHON:-python3}" -m venv "$work/build"
  "$work/build/bin/pip" install -q 'maturin>=1.9.4,<2'
fi
options=(--release --locked --manifest-path Cargo.toml --out dist)
if [ -n "${1:-}" ]; then
  options+=(--target "$1")
fi
case ${1:-} in
  *-linux-gnu)
    "$work/build/bin/pip" install -q ziglang
    options+=(--compatibility manylinux_2_28 --zig)
    ;;
esac
PATH=$work/build/bin:$PATH maturin build "${options[@]}"
