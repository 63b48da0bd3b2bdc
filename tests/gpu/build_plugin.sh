#!/usr/bin/env bash
# Builds libtessera_cuda.so with nvcc from PyPI against the LibTorch of the Python reference, and loads it into a test
# program: build_plugin.sh BUILD_FOLDER TEST_PROGRAM. Ends with 77 where nvcc or that LibTorch cannot be had.
set -euo pipefail
work=$1 program=$2
source=$(cd "$(dirname "$0")/../.." && pwd)
skip() { echo "skipped: $1"; exit 77; }

python=$("$source/tests/support/make_venv.sh" --existing) || skip "no Python environment with PyTorch"
torch=$("$python" -c 'import os, torch; print(os.path.dirname(torch.__file__))')
[ -e "$torch/lib/libtorch_cuda.so" ] || skip "PyTorch in $torch is without CUDA"
mkdir -p "$work"
nvcc=$(command -v nvcc || true)
if [ -z "$nvcc" ]; then
  nvcc=$work/nvcc/nvidia/cu13/bin/nvcc
  if [ ! -e "$work/nvcc/.complete" ]; then
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$work/nvcc" --upgrade \
      nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85 \
      nvidia-cuda-runtime==13.0.96 || skip "nvcc cannot be installed from PyPI"
    touch "$work/nvcc/.complete"
  fi
fi

cmake -G Ninja -S "$source" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DTESSERA_CUDA=ON -DTESSERA_BUILD_TESTS=OFF \
  -DTESSERA_BUILD_EXAMPLES=OFF -DTESSERA_TORCH_ROOT="${TESSERA_TORCH_ROOT:-}" -DCMAKE_CUDA_COMPILER="$nvcc" -DTESSERA_CUDA_TORCH_DIR="$torch" >"$work/configure.log" 2>&1 ||
  { tail -30 "$work/configure.log"; exit 1; }
cmake --build "$work/build" --target tessera_cuda

# The program looks for the plugin in its own folder.
rm -rf "$work/run" && mkdir "$work/run"
cp "$program" "$work/run/"
ln -s "$work/build/lib/libtessera_cuda.so" "$work/run/libtessera_cuda.so"
"$work/run/$(basename "$program")" --gtest_filter='DeviceCuda.*:PluginLoads.*' | tee "$work/run/log"
grep -q 'OK.*PluginLoads' "$work/run/log"
