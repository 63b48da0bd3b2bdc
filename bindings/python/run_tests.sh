#!/bin/sh
# The tests of the Python layer against the library in BUILD_DIR. Exit status 77: no Python.
# usage: run_tests.sh BUILD_DIR
set -eu
build=$(realpath "$1")
cd "$(dirname "$0")"
command -v python3 >/dev/null || { echo "python3 is not installed"; exit 77; }
export TESSERA_LIBRARY="$build/lib/libtessera.so" PYTHONPATH="$PWD" PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
python3 tests/test_tessera.py
