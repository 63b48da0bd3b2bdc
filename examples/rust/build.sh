#!/usr/bin/env bash
# Builds the example against a build tree: build.sh BUILD_DIR OUT writes OUT/train. Exit status 77: no cargo.
set -euo pipefail
cd "$(dirname "$0")"
build=$(realpath "$1")
out=$(realpath "$2")
command -v cargo >/dev/null || { echo "cargo is not installed"; exit 77; }
unset TESSERA_DIR
export TESSERA_LIB_DIR=$build/lib TESSERA_INCLUDE_DIR=$PWD/../../capi/include CARGO_TARGET_DIR=$build/bindings/rust
cargo build --quiet --release --locked
cp "$build/bindings/rust/release/train" "$out/train"
