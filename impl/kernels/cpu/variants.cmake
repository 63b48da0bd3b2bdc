# Compiler flags of the CPU loops: one source, compiled once per instruction set (see table.h). Included by
# impl/CMakeLists.txt after tessera_impl is defined.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set_source_files_properties(kernels/cpu/variant_avx2.cpp PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma")
  set_source_files_properties(kernels/cpu/variant_avx512.cpp PROPERTIES COMPILE_OPTIONS
    "-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mavx2;-mfma;-mprefer-vector-width=512;-Wno-maybe-uninitialized")
endif()
# The loops pass wide vectors between inlined functions only, so the ABI warning about them does not apply.
foreach(_variant portable avx2 avx512)
  set_property(SOURCE kernels/cpu/variant_${_variant}.cpp APPEND PROPERTY COMPILE_OPTIONS -Wno-psabi -fno-math-errno)
endforeach()

# at::parallel_for is inline and splits work only in sources compiled with OpenMP. LibTorch brings GNU's runtime;
# another compiler's runtime beside it would not share its threads, so such builds run the loops on the calling thread.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(tessera_impl PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
  # By name and not through FindOpenMP: the copy beside LibTorch, found by the run path, is the one to use.
  target_link_libraries(tessera_impl PUBLIC gomp)
endif()
