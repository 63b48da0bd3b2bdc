#!/usr/bin/env bash
# Runs the test suite of the Rust binding against a build tree: run_tests.sh BUILD_DIR. Exit status 77: no cargo.
# The first run fetches pkg-config and bindgen from crates.io, later ones need no network.
set -euo pipefail
build=$(realpath "$1")
cd "$(dirname "$0")"
command -v cargo >/dev/null || { echo "cargo is not installed"; exit 77; }
unset TESSERA_DIR
export TESSERA_LIB_DIR=$build/lib TESSERA_INCLUDE_DIR=$PWD/../../capi/include
export LD_LIBRARY_PATH=$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} CARGO_TARGET_DIR=$build/bindings/rust
export OMP_NUM_THREADS=1 CARGO_TERM_COLOR=never

say() { echo "== $*"; }

if compgen -G "${LIBCLANG_PATH:-/usr/lib/llvm-*/lib}/libclang[-.][s1-9]*" >/dev/null; then
  say "the committed declarations are those of the headers"
  cargo run --quiet --locked --package tessera-generate -- --check
else
  say "no libclang: the declarations are not compared with the headers"
fi

if cargo fmt --version >/dev/null 2>&1; then
  say "format"
  cargo fmt --check
  (cd ../../examples/rust && cargo fmt --check -- --config-path ../../bindings/rust)
fi
if cargo clippy --version >/dev/null 2>&1; then
  say "clippy"
  cargo clippy --quiet --locked --all-features --all-targets -- -D warnings
fi

say "tests"
cargo test --quiet --locked --workspace --exclude tessera-generate --all-features

say "a panic without the feature async, and the documentation"
cargo test --quiet --locked --package tessera --test ranks
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps --all-features

say "wrong libraries are refused before anything is linked"
wrong=$(mktemp -d)
trap 'rm -rf "$wrong"' EXIT
mkdir -p "$wrong/lib" "$wrong/include/tessera"
ln -s "$build/lib/libtessera.so" "$wrong/lib/"
sed 's/\(TESSERA_ABI_VERSION\) .*/\1 999/' "$TESSERA_INCLUDE_DIR/tessera/version.h" >"$wrong/include/tessera/version.h"
refused() { # environment... ; the build must fail and say $expected
  if env -u TESSERA_LIB_DIR -u TESSERA_INCLUDE_DIR CARGO_TARGET_DIR="$wrong/target" "$@" \
    cargo build --quiet --locked --package tessera-sys >"$wrong/log" 2>&1; then
    echo "a wrong library was accepted: $*"
    exit 1
  fi
  grep -q "$expected" "$wrong/log" || { cat "$wrong/log"; exit 1; }
}
expected="has ABI 999, but this crate is for ABI" refused TESSERA_DIR="$wrong" \
  TESSERA_LIB_DIR="$TESSERA_LIB_DIR" TESSERA_INCLUDE_DIR="$TESSERA_INCLUDE_DIR"
expected="has no lib/libtessera.so" refused TESSERA_DIR="$wrong/include"
expected="libtessera was not found" refused PKG_CONFIG_LIBDIR="$wrong"

if command -v pkg-config >/dev/null; then
  say "an installation is found by pkg-config"
  mkdir -p "$wrong/lib/pkgconfig"
  cp "$TESSERA_INCLUDE_DIR/tessera/"*.h "$wrong/include/tessera/"
  printf 'Name: tessera\nDescription: test\nVersion: 0.1.0\nCflags: -I%s\nLibs: -L%s -ltessera\n' \
    "$wrong/include" "$wrong/lib" >"$wrong/lib/pkgconfig/tessera.pc"
  env -u TESSERA_LIB_DIR -u TESSERA_INCLUDE_DIR CARGO_TARGET_DIR="$wrong/target" PKG_CONFIG_LIBDIR="$wrong/lib/pkgconfig" \
    cargo build --quiet --locked --package tessera
fi
echo "ok"
