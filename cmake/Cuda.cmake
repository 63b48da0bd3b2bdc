# The CUDA compiler, LibTorch's CUDA libraries and NCCL, for the plugin only (TESSERA_CUDA=ON), from the wheels that
# cmake/get_cuda.sh puts into .deps, from a Python environment, or from an installed CUDA Toolkit.
# find_package(CUDAToolkit) is not called: Debian 12's CMake fails on CUDA 13, and these libraries by name are all that
# is needed.

set(TESSERA_CUDA_TORCH_DIR ${TESSERA_TORCH_DIR} CACHE PATH
    "The folder torch with libtorch_cuda.so; another than TESSERA_TORCH_ROOT's when that holds the CPU part alone")
set(TESSERA_CUDA_ARCHITECTURES "80-real;90a-real;100" CACHE STRING
    "GPU architectures: cubins for A100, H100 and B200, and PTX for later ones")

if(NOT EXISTS ${TESSERA_CUDA_TORCH_DIR}/lib/libtorch_cuda.so)
  message(FATAL_ERROR "TESSERA_CUDA=ON needs a LibTorch with CUDA, and ${TESSERA_CUDA_TORCH_DIR} has no libtorch_cuda.so: "
    "run cmake/get_cuda.sh, or set TESSERA_CUDA_TORCH_DIR (or TESSERA_TORCH_ROOT) to the torch folder of a CUDA wheel.")
endif()

get_filename_component(_site ${TESSERA_CUDA_TORCH_DIR}/.. ABSOLUTE)
set(_hints ${_site}/nvidia/cu13 ${PROJECT_SOURCE_DIR}/.deps/nvidia/cu13 /usr/local/cuda)
set(_nccl_hints ${_site}/nvidia/nccl ${PROJECT_SOURCE_DIR}/.deps/nvidia/nccl /usr/local/cuda)

if(NOT CMAKE_CUDA_COMPILER)
  find_program(TESSERA_NVCC nvcc HINTS ENV CUDACXX HINTS ${_hints} PATH_SUFFIXES bin)
  if(NOT TESSERA_NVCC)
    message(FATAL_ERROR "TESSERA_CUDA=ON needs nvcc of CUDA 13: run cmake/get_cuda.sh, or set CMAKE_CUDA_COMPILER.")
  endif()
  set(CMAKE_CUDA_COMPILER ${TESSERA_NVCC})
endif()
# The wheels keep libraries in lib, nvcc looks in lib64; CMake's check of the compiler links a program.
get_filename_component(_nvcc_root ${CMAKE_CUDA_COMPILER}/../.. ABSOLUTE)
if(EXISTS ${_nvcc_root}/lib/libcudart_static.a)
  string(APPEND CMAKE_CUDA_FLAGS_INIT " -L${_nvcc_root}/lib")
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES ${TESSERA_CUDA_ARCHITECTURES})
endif()

find_path(TESSERA_CUDART_INCLUDE crt/host_config.h HINTS ${_nvcc_root} ${_hints} PATH_SUFFIXES include REQUIRED)
find_path(TESSERA_NCCL_INCLUDE nccl.h HINTS ${_nccl_hints} PATH_SUFFIXES include REQUIRED)
find_library(TESSERA_CUDART NAMES libcudart.so.13 cudart HINTS ${_hints} ${_nvcc_root} PATH_SUFFIXES lib lib64 REQUIRED)
find_library(TESSERA_NCCL NAMES libnccl.so.2 nccl HINTS ${_nccl_hints} PATH_SUFFIXES lib lib64 REQUIRED)

add_library(tessera_cuda_libraries INTERFACE)
target_include_directories(tessera_cuda_libraries SYSTEM INTERFACE ${TESSERA_CUDART_INCLUDE} ${TESSERA_NCCL_INCLUDE})
target_compile_definitions(tessera_cuda_libraries INTERFACE USE_CUDA USE_C10D_NCCL)
target_link_libraries(tessera_cuda_libraries INTERFACE tessera::torch_cpu
  ${TESSERA_CUDA_TORCH_DIR}/lib/libtorch_cuda.so ${TESSERA_CUDA_TORCH_DIR}/lib/libc10_cuda.so
  ${TESSERA_NCCL} ${TESSERA_CUDART})
