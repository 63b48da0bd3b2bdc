# Finds LibTorch without its own CMake package, which needs a CUDA compiler as soon as the wheel was built with CUDA
# and links libtorch_cuda into everything. Defines the imported targets tessera::c10 and tessera::torch_cpu.
#
# Looked for, in this order: TESSERA_TORCH_ROOT (cache or environment), each CMAKE_PREFIX_PATH entry, and
# .deps/torch in the source tree, where cmake/get_torch.sh puts a trimmed copy.

set(TESSERA_TORCH_ROOT "$ENV{TESSERA_TORCH_ROOT}" CACHE PATH
    "LibTorch: the unpacked official zip, or the torch folder of a wheel")

set(_roots ${TESSERA_TORCH_ROOT} ${TESSERA_TORCH_ROOT}/torch)
foreach(_prefix IN LISTS CMAKE_PREFIX_PATH)
  list(APPEND _roots ${_prefix} ${_prefix}/torch ${_prefix}/libtorch)
endforeach()
list(APPEND _roots ${PROJECT_SOURCE_DIR}/.deps/torch)

set(TESSERA_TORCH_DIR "")
foreach(_root IN LISTS _roots)
  if(EXISTS ${_root}/lib/libtorch_cpu.so AND EXISTS ${_root}/include/ATen/core/Tensor.h)
    set(TESSERA_TORCH_DIR ${_root})
    break()
  endif()
endforeach()
if(NOT TESSERA_TORCH_DIR)
  message(FATAL_ERROR
    "LibTorch not found. Set TESSERA_TORCH_ROOT or CMAKE_PREFIX_PATH to an unpacked LibTorch 2.11 (or the torch folder "
    "of a Python wheel), or run cmake/get_torch.sh, which puts a CPU copy into .deps/.")
endif()

# torch/headeronly/version.h holds the version as macros.
set(_version_header ${TESSERA_TORCH_DIR}/include/torch/headeronly/version.h)
if(NOT EXISTS ${_version_header})
  set(_version_header ${TESSERA_TORCH_DIR}/include/torch/csrc/api/include/torch/version.h)
endif()
file(STRINGS ${_version_header} _lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
foreach(_part MAJOR MINOR PATCH)
  string(REGEX MATCH "TORCH_VERSION_${_part} ([0-9]+)" _ "${_lines}")
  set(_torch_${_part} ${CMAKE_MATCH_1})
endforeach()
set(TESSERA_TORCH_VERSION ${_torch_MAJOR}.${_torch_MINOR}.${_torch_PATCH})
if(TESSERA_TORCH_VERSION VERSION_LESS 2.11)
  message(FATAL_ERROR "LibTorch ${TESSERA_TORCH_VERSION} in ${TESSERA_TORCH_DIR} is too old: Tessera needs 2.11 or newer.")
elseif(TESSERA_TORCH_VERSION VERSION_GREATER_EQUAL 3)
  message(FATAL_ERROR "LibTorch ${TESSERA_TORCH_VERSION} in ${TESSERA_TORCH_DIR} is not supported yet: Tessera is "
    "written against 2.11 and accepts newer 2.x.")
elseif(TESSERA_TORCH_VERSION VERSION_GREATER_EQUAL 2.12)
  message(WARNING "LibTorch ${TESSERA_TORCH_VERSION} is newer than 2.11, the version Tessera is tested with.")
endif()
message(STATUS "LibTorch ${TESSERA_TORCH_VERSION} in ${TESSERA_TORCH_DIR}")

add_library(tessera::c10 SHARED IMPORTED)
set_target_properties(tessera::c10 PROPERTIES
  IMPORTED_LOCATION ${TESSERA_TORCH_DIR}/lib/libc10.so
  INTERFACE_INCLUDE_DIRECTORIES
    "${TESSERA_TORCH_DIR}/include;${TESSERA_TORCH_DIR}/include/torch/csrc/api/include")
# Never libtorch.so: it pulls in libtorch_cuda. libtorch_cpu and libc10 are all the core needs.
add_library(tessera::torch_cpu SHARED IMPORTED)
set_target_properties(tessera::torch_cpu PROPERTIES
  IMPORTED_LOCATION ${TESSERA_TORCH_DIR}/lib/libtorch_cpu.so
  INTERFACE_LINK_LIBRARIES tessera::c10)
# A wheel built with CUDA needs libcudart and libcupti of its own site-packages at link time.
get_filename_component(_site ${TESSERA_TORCH_DIR}/.. ABSOLUTE)
if(IS_DIRECTORY ${_site}/nvidia/cu13/lib)
  set_property(TARGET tessera::torch_cpu APPEND PROPERTY
    INTERFACE_LINK_OPTIONS "LINKER:-rpath-link,${_site}/nvidia/cu13/lib")
endif()
