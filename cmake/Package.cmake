# Debian packages by CPack: cpack -G DEB in the build folder.
#
#   libtessera0.1       the library, with the symbols file that other packages' dependencies are computed from
#   libtessera-dev      headers, pkg-config and CMake files
#   tessera             the program
#   libtessera-torch    LibTorch (450 MB), in a folder of libtessera's own, since no Debian release has the version it needs
include(GNUInstallDirs)

set(TESSERA_ABI_SUFFIX ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME tessera)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGE_CONTACT "Tessera developers <tessera@localhost>" CACHE STRING "Maintainer of the Debian packages")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL runtime development program torch)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE zstd)  # LibTorch takes seconds, not minutes
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
file(GLOB _nvidia ${TESSERA_TORCH_DIR}/../nvidia/*/lib)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/lib ${TESSERA_TORCH_DIR}/lib ${_nvidia})

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libtessera${TESSERA_ABI_SUFFIX})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION "The library. Tessera trains transformer language models
 over many devices behind a C interface.")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS "libtessera-torch (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libtessera-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "Headers for C and C++, pkg-config and CMake files of Tessera.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libtessera${TESSERA_ABI_SUFFIX} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME tessera)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PROGRAM_DESCRIPTION "The program tessera, which plans, runs and evaluates
 training from recipe files.")
set(CPACK_DEBIAN_PROGRAM_PACKAGE_DEPENDS "libtessera${TESSERA_ABI_SUFFIX} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_TORCH_PACKAGE_NAME libtessera-torch)
set(CPACK_DEBIAN_TORCH_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_TORCH_DESCRIPTION "The CPU libraries of LibTorch ${TESSERA_TORCH_VERSION}
 that libtessera uses, in a folder of its own.")

# The symbols file is made from the headers; CPack wants both under these very names. CPack's own shlibs would also offer the
# private libraries of libtessera-torch to other packages.
configure_file(capi/libtessera.symbols ${PROJECT_BINARY_DIR}/debian/symbols COPYONLY)
file(WRITE ${PROJECT_BINARY_DIR}/debian/shlibs
  "libtessera ${TESSERA_ABI_SUFFIX} libtessera${TESSERA_ABI_SUFFIX} (>= ${PROJECT_VERSION})\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/debian/symbols ${PROJECT_BINARY_DIR}/debian/shlibs)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

# LibTorch keeps its folders' places to each other, which its run paths go by.
set(_private ${CMAKE_INSTALL_LIBDIR}/tessera)
foreach(_library libtorch_cpu.so libc10.so libgomp.so.1)
  if(EXISTS ${TESSERA_TORCH_DIR}/lib/${_library})
    install(PROGRAMS ${TESSERA_TORCH_DIR}/lib/${_library} DESTINATION ${_private}/torch/lib COMPONENT torch EXCLUDE_FROM_ALL)
  endif()
endforeach()
foreach(_library libcudart.so.13 libcupti.so.13)
  file(GLOB _found ${TESSERA_TORCH_DIR}/../nvidia/cu13/lib/${_library})
  if(_found)
    install(PROGRAMS ${_found} DESTINATION ${_private}/nvidia/cu13/lib COMPONENT torch EXCLUDE_FROM_ALL)
  endif()
endforeach()

# Packages name no folder of the machine that built them.
configure_file(cmake/package_paths.cmake.in ${PROJECT_BINARY_DIR}/package_paths.cmake @ONLY)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_BINARY_DIR}/package_paths.cmake)
include(CPack)
