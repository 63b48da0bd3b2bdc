#!/usr/bin/env bash
# Builds Tessera and runs all its tests: tests/run.sh [--full] [ctest arguments]. Installs what is missing on Debian 12.
#   --full   the complete sweeps instead of the covering subset
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = --full ]; then
  export TESSERA_TEST_FULL=1
  shift
fi
cmake/install_packages.sh --tests
if [ -z "${TESSERA_TORCH_ROOT:-}" ]; then
  cmake/get_torch.sh
fi
# The Python reference (transformers, PyTorch). Without it the parity tests are skipped and say so.
if [ -x tests/support/make_venv.sh ]; then
  if python=$(tests/support/make_venv.sh); then
    torchrun=$(dirname "$python")/torchrun
    if [ -x "$torchrun" ]; then export TESSERA_TORCHRUN=${TESSERA_TORCHRUN:-$torchrun}; fi
  else
    echo "no Python reference: the tests against transformers and PyTorch will be skipped"
  fi
fi

cmake --preset release
cmake --build --preset release
ctest --test-dir build/release --output-on-failure --no-tests=error --parallel "$(nproc)" "$@"
