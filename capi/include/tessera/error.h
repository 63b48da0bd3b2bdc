/*
 * error.h - what went wrong, in the caller's memory, and the names of status codes.
 */
#ifndef TESSERA_ERROR_H
#define TESSERA_ERROR_H

#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where `native_code` comes from. */
enum tessera_domain {
    TESSERA_DOMAIN_NONE = 0,
    TESSERA_DOMAIN_OS = 1,   /* errno */
    TESSERA_DOMAIN_CUDA = 2, /* cudaError_t */
    TESSERA_DOMAIN_NCCL = 3, /* ncclResult_t */
    TESSERA_DOMAIN_TORCH = 4 /* an error of LibTorch; no code */
};

/* 256 bytes, frozen. A successful call sets code to TESSERA_OK and message to "". */
typedef struct tessera_error {
    int32_t code;        /* a tessera_status */
    int32_t domain;      /* a tessera_domain */
    int32_t native_code; /* meaning as domain says, else 0 */
    int32_t rank;        /* the rank that failed first, or -1 when it is this one or unknown */
    char message[240];   /* UTF-8, NUL-terminated, one line: "tp=3 does not divide n_heads=32" */
} tessera_error;

/** The name of a status without its prefix, such as "E_ARGUMENT"; "E_UNKNOWN" for a number that has none.
 *  @return static text.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API const char *tessera_status_name(tessera_status status);

/** One line in plain words for a status, such as "a value that the call cannot accept".
 *  @return static text.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API const char *tessera_status_string(tessera_status status);

/** The number of live handles of a kind, to find leaks: created and not yet destroyed.
 *  @param kind a tessera_kind; TESSERA_KIND_ANY counts all.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_handle_count(int32_t kind, int64_t *out_count, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
