#!/usr/bin/env bash
# Puts a CPU LibTorch 2.11 into PREFIX (default: .deps in the source tree), from the PyPI wheel, trimmed to what
# Tessera links: libtorch_cpu, libc10, libgomp and the headers, plus the two small CUDA runtime libraries that the
# wheel's libtorch_cpu names. About 530 MB to download and 500 MB on disk. Does nothing when it is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${1:-$PWD/.deps}
version=2.11.0

if [ -f "$prefix/torch/.complete-$version" ]; then
  exit 0
fi
echo "getting LibTorch $version (530 MB) into $prefix"
mkdir -p "$prefix"
wheels=$(mktemp -d "$prefix/wheels.XXXXXX")
trap 'rm -rf "$wheels"' EXIT
# The wheel's library is the same for every Python, so ask for one fixed Python: any pip on the machine will do.
# pip matches platform tags exactly, so every glibc up to Debian 12's is named.
platforms=(--platform manylinux2014_x86_64)
for minor in $(seq 17 36); do platforms+=(--platform "manylinux_2_${minor}_x86_64"); done
python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir --only-binary=:all: \
  --python-version 3.11 --implementation cp "${platforms[@]}" --dest "$wheels" \
  torch==$version nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85
rm -rf "$prefix/torch" "$prefix/nvidia"
unzip -q "$wheels"/torch-*.whl 'torch/lib/libc10.so' 'torch/lib/libtorch_cpu.so' 'torch/lib/libgomp.so.1' \
  'torch/include/*' 'torch/version.py' -d "$prefix"
unzip -q -o "$wheels"/nvidia_cuda_runtime-*.whl '*/libcudart.so.13' -d "$prefix"
unzip -q -o "$wheels"/nvidia_cuda_cupti-*.whl '*/libcupti.so.13' -d "$prefix"
touch "$prefix/torch/.complete-$version"
