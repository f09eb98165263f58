#!/usr/bin/env bash
# Builds the submission in place of the suite's script: the seven executables, the model, and the parameters that a client takes.
#
#     benches/fhe-suite/build.sh FOLDER MODEL.onnx SIZE...
#
# FOLDER is that of the suite, in which the executables run; sizes are 0 (single), 1 (small), 2 (medium), 3 (large).
set -euo pipefail

if [ $# -lt 3 ]; then
  sed -n 's/^# \{0,1\}//p' "$0" | sed 1d >&2
  exit 2
fi
folder=$1
model=$2
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)

# All of the workspace, so that other builds and this one share what they compile.
cargo build --release --manifest-path "$root/Cargo.toml" --workspace --example fhe-suite
program=${CARGO_TARGET_DIR:-$root/target}/release/examples/fhe-suite
submission=$folder/submission
mkdir -p "$submission/build"
rm -rf "$submission/parameters" "$submission/intermediate"
cp "$model" "$submission/model.onnx.part"
mv "$submission/model.onnx.part" "$submission/model.onnx"
basename "$model" .onnx >"$submission/model.txt"
first=$submission/build/client_key_generation
cp "$program" "$first.part"
mv "$first.part" "$first"
for step in server_preprocess_model client_preprocess_input client_encode_encrypt_input server_encrypted_compute \
  client_decrypt_decode client_postprocess; do
  ln -f "$first" "$submission/build/$step"
done
cd "$folder"
"$program" submission_parameters "$@"
