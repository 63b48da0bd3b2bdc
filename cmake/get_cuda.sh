#!/usr/bin/env bash
# Adds what the CUDA plugin needs (preset cuda) to the CPU LibTorch of cmake/get_torch.sh in PREFIX (default: .deps):
# libtorch_cuda and libc10_cuda of the same wheel, nvcc, and headers and libraries of the CUDA runtime, CUPTI and NCCL. Enough
# to build, and to load on a machine without a GPU only together with the wheels that libtorch_cuda names (cuBLAS, cuDNN ..);
# a Python environment with torch has them all, and TESSERA_TORCH_ROOT can name its torch folder instead.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${1:-$PWD/.deps}
version=2.11.0

cmake/get_torch.sh "$prefix"
[ -f "$prefix/torch/.complete-cuda-$version" ] && exit 0
echo "getting the CUDA parts of LibTorch $version into $prefix"
wheels=$(mktemp -d "$prefix/wheels.XXXXXX")
trap 'rm -rf "$wheels"' EXIT
platforms=(--platform manylinux2014_x86_64)
for minor in $(seq 17 36); do platforms+=(--platform "manylinux_2_${minor}_x86_64"); done
python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir --only-binary=:all: \
  --python-version 3.11 --implementation cp "${platforms[@]}" --dest "$wheels" \
  torch==$version nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85 \
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85 nvidia-nccl-cu13==2.28.9
unzip -q -o "$wheels"/torch-*.whl 'torch/lib/libc10_cuda.so' 'torch/lib/libtorch_cuda.so' -d "$prefix"
for wheel in "$wheels"/nvidia_*.whl; do
  unzip -q -o "$wheel" 'nvidia/*' -d "$prefix"
done
chmod -R u+x "$prefix"/nvidia/cu13/bin "$prefix"/nvidia/cu13/nvvm/bin
touch "$prefix/torch/.complete-cuda-$version"
