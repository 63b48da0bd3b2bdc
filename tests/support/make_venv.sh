#!/usr/bin/env bash
# Makes build/venv with the pinned Python packages that tests compare against, and prints its interpreter. Tests only:
# the library itself never runs Python. TESSERA_TEST_PYTHON names an interpreter to use instead. Exits with 1, and says
# why on stderr, when there is none to be had.
#   --existing   download nothing: use what an earlier run made
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=(torch==2.11.0 transformers==5.17.0 safetensors==0.8.0 numpy==2.4.6 sentencepiece==0.2.3 protobuf==7.36.2)
check='import torch, transformers, safetensors, numpy
assert torch.__version__.startswith("2.11.0") and transformers.__version__ == "5.17.0"'

if [ -n "${TESSERA_TEST_PYTHON:-}" ]; then
  if ! problem=$("$TESSERA_TEST_PYTHON" -c "$check" 2>&1); then
    echo "TESSERA_TEST_PYTHON=$TESSERA_TEST_PYTHON cannot be used: ${problem##*$'\n'}" >&2
    exit 1
  fi
  echo "$TESSERA_TEST_PYTHON"
  exit 0
fi

venv=$PWD/build/venv
mkdir -p build
exec 9>build/venv.lock # several tests may ask at once
flock 9
if [ "$(cat "$venv/packages" 2>/dev/null)" != "${packages[*]}" ]; then
  if [ "${1:-}" = --existing ]; then
    echo "no Python reference: run tests/support/make_venv.sh once, or set TESSERA_TEST_PYTHON" >&2
    exit 1
  fi
  echo "making $venv with ${packages[*]} (about 5 GB, once)" >&2
  rm -rf "$venv"
  if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"; } >&2; then
    echo "the Python packages for tests could not be installed: ${packages[*]}" >&2
    exit 1
  fi
  "$venv/bin/python" -c "$check" >&2 || exit 1
  echo "${packages[*]}" >"$venv/packages"
fi
echo "$venv/bin/python"
