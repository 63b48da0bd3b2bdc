// The CPU loops for AVX-512 (F, BW, VL, DQ); variants.cmake gives the compiler flags.
#if defined(__x86_64__)
#define TESSERA_VECTOR_BYTES 64
#define TESSERA_CPU_VARIANT avx512
#include "kernels/cpu/variant.inc.h"
#endif
