#!/usr/bin/env bash
# Runs the test suite of every language against a built library, then the comparison of their training programs.
# usage: tests/bindings/run.sh [BUILD_DIR]
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${1:-build/release}")
ctest --test-dir "$build" --label-regex bindings --output-on-failure --no-tests=error
