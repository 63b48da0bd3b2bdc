// The CPU loops for AVX2 and FMA; variants.cmake gives the compiler flags.
#if defined(__x86_64__)
#define TESSERA_VECTOR_BYTES 32
#define TESSERA_CPU_VARIANT avx2
#include "kernels/cpu/variant.inc.h"
#endif
