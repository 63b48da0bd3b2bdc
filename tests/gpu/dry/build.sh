#!/usr/bin/env bash
# Builds the dry CUDA runtime: build.sh FOLDER TORCH CUDA_INCLUDE. TORCH is the folder of a LibTorch for CUDA in a Python
# environment, beside which NVIDIA's headers lie; CUDA_INCLUDE holds nv/target. Writes FOLDER/libcuda.so.1, the name under
# which LibTorch looks for the driver, FOLDER/libnccl.so.2, and what finds races: liblistener.so and the program races.
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd) torch=$2 nvidia=$(dirname "$2")/nvidia headers=$3
cd "$(dirname "$0")"
flags=(-std=c++20 -O1 -g1 -fPIC -Wall -Wextra)
for include in "$nvidia/cu13/include" "$headers" "$nvidia/cudnn/include" "$nvidia/nccl/include"; do
  flags+=(-isystem "$include")
done
compile() { # source, more flags
  local object=$folder/$1.o newer=()
  if [ -e "$object" ]; then newer=($(find "$1.cpp" ./*.h -newer "$object")); fi
  if [ ! -e "$object" ] || [ "${#newer[@]}" -gt 0 ]; then ${CXX:-c++} "${flags[@]}" "${@:2}" -c "$1.cpp" -o "$object"; fi
}
link() { # name, objects
  local name=$1
  shift
  ${CXX:-c++} -shared -Wl,-soname,"$name" -o "$folder/$name" "$@" -pthread -ldl
}
runtime=(log trace device memory streams graphs launch compiled driver blas dnn)
nccl=(nccl nccl_operations nccl_contents)
for source in "${runtime[@]}" "${nccl[@]}"; do compile "$source"; done
link libcuda.so.1 $(printf "$folder/%s.o " "${runtime[@]}")
link libnccl.so.2 $(printf "$folder/%s.o " "${nccl[@]}") "$folder/libcuda.so.1"
compile torch_listener -isystem "$torch/include" -DNDEBUG  # as LibTorch was: it decides about the layout of classes
link liblistener.so "$folder/torch_listener.o" "$folder/libcuda.so.1" -L"$torch/lib" -ltorch_cpu -lc10_cuda -lc10
compile races -O2
${CXX:-c++} -o "$folder/races" "$folder/races.o"
