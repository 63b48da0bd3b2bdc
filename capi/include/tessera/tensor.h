/*
 * tensor.h - tensors that cross the interface: weights and gradients out and in, and data for collectives. By copy,
 * as a view of the host's memory, or by DLPack. There are no operators on them.
 */
#ifndef TESSERA_TENSOR_H
#define TESSERA_TENSOR_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* DLPack 1.x, from dlpack/dlpack.h (github.com/dmlc/dlpack); this header does not need it. */
struct DLManagedTensorVersioned;

/** A tensor in row-major order on the CPU, holding a copy of `data`, or zeros.
 *  @param dtype a tessera_dtype.
 *  @param dims sizes, outermost first; may be NULL when n_dims is 0 (a scalar).
 *  @param data `bytes` bytes, or NULL for zeros.
 *  @param bytes size of data: product of dims * element size; ignored when data is NULL.
 *  @nullable dims, data
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tensor_create(int32_t dtype, const int64_t *dims, int64_t n_dims, const void *data,
                                                 size_t bytes, tessera_tensor *out_tensor, tessera_error *err);

/** A tensor that is a view of the host's own CPU memory: collectives read and write it in place. The memory must
 *  stay where it is until the tensor is destroyed and every call that got it has ended.
 *  @nullable dims
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tensor_create_view(int32_t dtype, const int64_t *dims, int64_t n_dims, void *data,
                                                      size_t bytes, tessera_tensor *out_tensor, tessera_error *err);

/** Takes over a DLPack tensor (1.x, any device that the library was built for) without a copy; its deleter is called
 *  when the last user is gone. On error the caller keeps it. Read-only tensors are copied.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tensor_create_dlpack(struct DLManagedTensorVersioned *dlpack,
                                                        tessera_tensor *out_tensor, tessera_error *err);

/** @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tensor_destroy(tessera_tensor tensor);

/** The element type, a tessera_dtype.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tensor_get_dtype(tessera_tensor tensor, int32_t *out_dtype, tessera_error *err);

/** The sizes, outermost first.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tensor_get_dims(tessera_tensor tensor, int64_t *buf, size_t cap, size_t *out_len,
                                                   tessera_error *err);

/** Copies the elements out in row-major order; `cap` and `*out_len` count bytes.
 *  @threading any  @blocking yes  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tensor_get_data(tessera_tensor tensor, void *buf, size_t cap, size_t *out_len,
                                                   tessera_error *err);

/** Overwrites the elements from row-major memory of exactly the tensor's size.
 *  @threading any  @blocking yes  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tensor_set_data(tessera_tensor tensor, const void *data, size_t bytes,
                                                   tessera_error *err);

/** Exports the tensor's memory without a copy as DLPack 1.x. The caller releases it by its deleter; it keeps the
 *  memory alive on its own.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tensor_get_dlpack(tessera_tensor tensor,
                                                     struct DLManagedTensorVersioned **out_dlpack, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
