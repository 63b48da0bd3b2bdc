// The CPU loops for the baseline of the target architecture; variants.cmake gives the compiler flags.
#define TESSERA_VECTOR_BYTES 16
#define TESSERA_CPU_VARIANT portable
#include "kernels/cpu/variant.inc.h"
