# Warnings, sanitizers and defaults shared by every target of the project, as the interface target tessera::options.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(tessera_options INTERFACE)
add_library(tessera::options ALIAS tessera_options)
target_compile_options(tessera_options INTERFACE
  $<$<COMPILE_LANGUAGE:C,CXX>:-Wall -Wextra -Wno-unused-parameter>
  $<$<COMPILE_LANGUAGE:CXX>:-Wno-missing-field-initializers>)

if(TESSERA_SANITIZE STREQUAL "address")
  target_compile_options(tessera_options INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer)
  target_link_options(tessera_options INTERFACE -fsanitize=address,undefined)
elseif(TESSERA_SANITIZE STREQUAL "thread")
  target_compile_options(tessera_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(tessera_options INTERFACE -fsanitize=thread)
elseif(TESSERA_SANITIZE)
  message(FATAL_ERROR "TESSERA_SANITIZE=${TESSERA_SANITIZE}: expected address, thread or nothing")
endif()
