/*
 * collective.h - collectives of the host along a mesh axis, beside those of training. Tensors are contiguous, on the
 * world's device, and equal in dtype and size on all ranks of the axis.
 */
#ifndef TESSERA_COLLECTIVE_H
#define TESSERA_COLLECTIVE_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum tessera_reduce {
    TESSERA_REDUCE_SUM = 0,
    TESSERA_REDUCE_AVG = 1,
    TESSERA_REDUCE_MAX = 2,
    TESSERA_REDUCE_MIN = 3
};

/** Returns when every rank of the axis has called.
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_barrier(tessera_mesh mesh, const char *axis, tessera_error *err);

/** @see tessera_mesh_barrier
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_barrier_async(tessera_mesh mesh, const char *axis, tessera_future *out_future,
                                                      tessera_error *err);

/** Reduces `tensor` over the axis, in place.
 *  @param reduce a tessera_reduce.
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_all_reduce(tessera_mesh mesh, const char *axis, tessera_tensor tensor,
                                                   int32_t reduce, tessera_error *err);

/** @see tessera_mesh_all_reduce
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_all_reduce_async(tessera_mesh mesh, const char *axis, tessera_tensor tensor,
                                                         int32_t reduce, tessera_future *out_future,
                                                         tessera_error *err);

/** Joins the inputs of all ranks along the axis, in their order.
 *  @param output size of the axis times as many elements as `input`, of the same dtype.
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_all_gather(tessera_mesh mesh, const char *axis, tessera_tensor input,
                                                   tessera_tensor output, tessera_error *err);

/** @see tessera_mesh_all_gather
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_all_gather_async(tessera_mesh mesh, const char *axis, tessera_tensor input,
                                                         tessera_tensor output, tessera_future *out_future,
                                                         tessera_error *err);

/** Reduces the inputs over the axis and leaves each rank its part.
 *  @param input size of the axis times as many elements as `output`.
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_reduce_scatter(tessera_mesh mesh, const char *axis, tessera_tensor input,
                                                       tessera_tensor output, int32_t reduce, tessera_error *err);

/** @see tessera_mesh_reduce_scatter
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_reduce_scatter_async(tessera_mesh mesh, const char *axis, tessera_tensor input,
                                                             tessera_tensor output, int32_t reduce,
                                                             tessera_future *out_future, tessera_error *err);

/** Part i of the input goes to position i of the axis; part j of the output came from position j. Equal parts.
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_all_to_all(tessera_mesh mesh, const char *axis, tessera_tensor input,
                                                   tessera_tensor output, tessera_error *err);

/** @see tessera_mesh_all_to_all
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_all_to_all_async(tessera_mesh mesh, const char *axis, tessera_tensor input,
                                                         tessera_tensor output, tessera_future *out_future,
                                                         tessera_error *err);

/** Copies the tensor of position `root` of the axis to all others, in place.
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_broadcast(tessera_mesh mesh, const char *axis, tessera_tensor tensor,
                                                  int64_t root, tessera_error *err);

/** @see tessera_mesh_broadcast
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_broadcast_async(tessera_mesh mesh, const char *axis, tessera_tensor tensor,
                                                        int64_t root, tessera_future *out_future, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
