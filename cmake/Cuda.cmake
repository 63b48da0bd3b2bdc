# LibTorch's CUDA libraries and NCCL, for the plugin only (TESSERA_CUDA=ON), from the wheels that cmake/get_cuda.sh puts
# into .deps, or beside the torch folder of a Python environment. find_package(CUDAToolkit) is not called: Debian 12's
# CMake fails on CUDA 13, and these libraries by name are all that is needed.

if(NOT EXISTS ${TESSERA_TORCH_DIR}/lib/libtorch_cuda.so)
  message(FATAL_ERROR "TESSERA_CUDA=ON needs a LibTorch with CUDA, and ${TESSERA_TORCH_DIR} has no libtorch_cuda.so: "
    "run cmake/get_cuda.sh, or set TESSERA_TORCH_ROOT to the torch folder of a CUDA wheel.")
endif()

get_filename_component(_site ${TESSERA_TORCH_DIR}/.. ABSOLUTE)
set(_hints ${_site}/nvidia/cu13 /usr/local/cuda)
set(_nccl_hints ${_site}/nvidia/nccl /usr/local/cuda)
find_path(TESSERA_CUDART_INCLUDE crt/host_config.h HINTS ${_hints} PATH_SUFFIXES include REQUIRED)
find_path(TESSERA_NCCL_INCLUDE nccl.h HINTS ${_nccl_hints} PATH_SUFFIXES include REQUIRED)
find_library(TESSERA_CUDART NAMES libcudart.so.13 cudart HINTS ${_hints} PATH_SUFFIXES lib lib64 REQUIRED)
find_library(TESSERA_NCCL NAMES libnccl.so.2 nccl HINTS ${_nccl_hints} PATH_SUFFIXES lib lib64 REQUIRED)

add_library(tessera_cuda_libraries INTERFACE)
target_include_directories(tessera_cuda_libraries SYSTEM INTERFACE ${TESSERA_CUDART_INCLUDE} ${TESSERA_NCCL_INCLUDE})
target_compile_definitions(tessera_cuda_libraries INTERFACE USE_CUDA USE_C10D_NCCL)
target_link_libraries(tessera_cuda_libraries INTERFACE tessera::torch_cpu
  ${TESSERA_TORCH_DIR}/lib/libtorch_cuda.so ${TESSERA_TORCH_DIR}/lib/libc10_cuda.so ${TESSERA_NCCL} ${TESSERA_CUDART})
