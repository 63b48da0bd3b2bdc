/*
 * types.h - what every header of Tessera shares: status codes, handles, dtypes, and the rules of the interface.
 *
 * Errors.    A function that can fail returns a tessera_status and takes a `tessera_error *err` last, which may be
 *            NULL and is filled in the same call. On error no output is written (but see Text out) and there is
 *            nothing to release.
 * Handles.   Small structs passed by value; {0} is the null handle. A null, stale, wrong-kind or invented handle
 *            gives a status, never a crash. `tessera_<noun>_destroy` may be called in any order and on any thread,
 *            never blocks and never talks to other ranks, and does nothing for {0}; what a child or a running call
 *            still uses lives until they end.
 * Structs.   Those with `struct_size` first are filled by their `_init` function, called with sizeof; they grow only
 *            at the end. An older caller's smaller struct is accepted, a newer caller's larger one when the unknown
 *            rest is zero. In options 0 means the default.
 * Text in.   UTF-8, NUL-terminated, copied before the call returns.
 * Text out.  `char *buf, size_t cap, size_t *out_len`: `*out_len` receives the length without the NUL. When `cap` is
 *            not greater than that, the call returns TESSERA_E_BUFFER with `*out_len` set and `buf` untouched; buf
 *            may be NULL when cap is 0. Arrays out work alike, with `cap` and `*out_len` counted in elements.
 * Threads.   @threading any: any thread at any time. @threading one-at-a-time: any thread, but not two calls at once
 *            on one object; the second gets TESSERA_E_BUSY. Work on tensors runs on a thread that each world owns,
 *            so it does not matter which thread of the host calls.
 * Ranks.     @collective world (or mesh): every rank of the world (of the mesh) must make the same call, in the same
 *            order; otherwise all get an error when the world's timeout ends.
 * Waiting.   Each collective function that may wait for others has an `_async` twin that returns a tessera_future at
 *            once. One thread of the host can so drive all ranks of a process.
 */
#ifndef TESSERA_TYPES_H
#define TESSERA_TYPES_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define TESSERA_API __attribute__((visibility("default")))
#else
#define TESSERA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Result of a call: a value of tessera_status_code. Codes are never renumbered; new ones may be added. */
typedef int32_t tessera_status;

enum tessera_status_code {
    TESSERA_OK = 0,
    TESSERA_E_ARGUMENT = 1,     /* a value that the call cannot accept */
    TESSERA_E_HANDLE_NULL = 2,  /* a handle is {0} */
    TESSERA_E_HANDLE_STALE = 3, /* a handle was destroyed, or never existed */
    TESSERA_E_HANDLE_TYPE = 4,  /* a handle of another kind */
    TESSERA_E_BUFFER = 5,       /* the caller's buffer is too small; the needed length is reported */
    TESSERA_E_BUSY = 6,         /* another call on this one-at-a-time object is running */
    TESSERA_E_TIMEOUT = 7,
    TESSERA_E_CANCELLED = 8,
    TESSERA_E_PEER_FAILED = 9,          /* another rank died, left or failed; err->rank says which */
    TESSERA_E_COLLECTIVE_MISMATCH = 10, /* ranks called different collectives */
    TESSERA_E_IO = 11,
    TESSERA_E_FORMAT = 12, /* a file or text that breaks its format */
    TESSERA_E_NOT_FOUND = 13,
    TESSERA_E_UNSUPPORTED = 14,
    TESSERA_E_OUT_OF_MEMORY = 15,
    TESSERA_E_NUMERIC = 16, /* NaN or infinity where a finite number is needed */
    TESSERA_E_END = 17,     /* no more data */
    TESSERA_E_STATE = 18,   /* the object is not in a state that allows the call */
    TESSERA_E_FORKED = 19,  /* the handle was made before fork() */
    TESSERA_E_DEVICE = 20,
    TESSERA_E_INTERNAL = 21 /* a defect of the library */
};

/* clang-format off */
/* Handles: what the bits of `id` mean is not part of the interface. */
typedef struct tessera_config { uint64_t id; } tessera_config;
typedef struct tessera_world { uint64_t id; } tessera_world;
typedef struct tessera_mesh { uint64_t id; } tessera_mesh;
typedef struct tessera_tensor { uint64_t id; } tessera_tensor;
typedef struct tessera_model { uint64_t id; } tessera_model;
typedef struct tessera_batch { uint64_t id; } tessera_batch;
typedef struct tessera_dataset { uint64_t id; } tessera_dataset;
typedef struct tessera_trainer { uint64_t id; } tessera_trainer;
typedef struct tessera_future { uint64_t id; } tessera_future;
typedef struct tessera_events { uint64_t id; } tessera_events;
typedef struct tessera_tokenizer { uint64_t id; } tessera_tokenizer;
/* clang-format on */

/* The kinds of handles, for tessera_handle_count. */
enum tessera_kind {
    TESSERA_KIND_ANY = 0,
    TESSERA_KIND_CONFIG = 1,
    TESSERA_KIND_WORLD = 2,
    TESSERA_KIND_MESH = 3,
    TESSERA_KIND_TENSOR = 4,
    TESSERA_KIND_MODEL = 5,
    TESSERA_KIND_BATCH = 6,
    TESSERA_KIND_DATASET = 7,
    TESSERA_KIND_TRAINER = 8,
    TESSERA_KIND_FUTURE = 9,
    TESSERA_KIND_EVENTS = 10,
    TESSERA_KIND_TOKENIZER = 11
};

/* Element types of tensors. */
enum tessera_dtype {
    TESSERA_DTYPE_F32 = 1,
    TESSERA_DTYPE_F64 = 2,
    TESSERA_DTYPE_F16 = 3,
    TESSERA_DTYPE_BF16 = 4,
    TESSERA_DTYPE_I64 = 5,
    TESSERA_DTYPE_I32 = 6,
    TESSERA_DTYPE_U8 = 7
};

#ifdef __cplusplus
}
#endif

#endif
