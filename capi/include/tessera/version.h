/*
 * version.h - which Tessera this is: the version compiled against (macros) and the one that runs (functions).
 */
#ifndef TESSERA_VERSION_H
#define TESSERA_VERSION_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TESSERA_VERSION_MAJOR 0
#define TESSERA_VERSION_MINOR 1
#define TESSERA_VERSION_PATCH 0
/* Libraries with the same number accept each other's programs. It is the number in the SONAME. */
#define TESSERA_ABI_VERSION 1

/** The version of the running library, such as "0.1.0".
 *  @return static text.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API const char *tessera_version_string(void);

/** The ABI number of the running library; compare it with TESSERA_ABI_VERSION.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API int32_t tessera_abi_version(void);

/** What the library was built with and runs on, one "name: value" a line: version, compiler, LibTorch built against
 *  and found at run time, engines, instruction set.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_build_info(char *buf, size_t cap, size_t *out_len, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
