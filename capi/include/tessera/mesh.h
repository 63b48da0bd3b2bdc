/*
 * mesh.h - the ranks of a world laid out on the axes pp, dp_replicate, dp_shard, cp and tp (tp fastest: its ranks are
 * neighbours). Where a function takes the name of an axis, it also takes a sub-mesh: "dp" (who reads different data),
 * "dp_shard_cp" (who shares the weights), "dp_cp" (who sees different tokens), "model" (pp, cp and tp: who
 * works on the same data), "world" (all).
 */
#ifndef TESSERA_MESH_H
#define TESSERA_MESH_H

#include "tessera/config.h"
#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Degrees; 0 means 1, but for dp_shard -1. One axis may be -1: inferred from the size of the world. */
typedef struct tessera_mesh_options {
    size_t struct_size;
    int64_t pp;           /* pipeline stages */
    int64_t dp_replicate; /* replicas of the sharded model */
    int64_t dp_shard;     /* ranks that share one copy of the weights */
    int64_t cp;           /* ranks that split each sequence */
    int64_t tp;           /* ranks that split each matrix */
    int64_t ep;           /* ranks that split the experts; makes no ranks of its own */
} tessera_mesh_options;

/** Fills options with defaults.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_options_init(tessera_mesh_options *options, size_t struct_size);

/** Fills options from the keys parallel.* of a configuration.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_options_load(tessera_mesh_options *options, tessera_config config,
                                                     tessera_error *err);

/** Lays the ranks out and connects those that will talk to each other.
 *  @return TESSERA_E_ARGUMENT when the degrees do not fit: "world 8 is not divisible by tp*cp=3".
 *  @nullable options
 *  @threading one-at-a-time  @blocking yes  @collective world  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_create(tessera_world world, const tessera_mesh_options *options,
                                               tessera_mesh *out_mesh, tessera_error *err);

/** @see tessera_mesh_create  The result is taken by tessera_future_get_mesh.
 *  @nullable options
 *  @threading one-at-a-time  @blocking no  @collective world  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_create_async(tessera_world world, const tessera_mesh_options *options,
                                                     tessera_future *out_future, tessera_error *err);

/** @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_destroy(tessera_mesh mesh);

/** The number of ranks along an axis.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_get_size(tessera_mesh mesh, const char *axis, int64_t *out_size,
                                                 tessera_error *err);

/** This rank's position along an axis.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_get_index(tessera_mesh mesh, const char *axis, int64_t *out_index,
                                                  tessera_error *err);

/** The world ranks along an axis through this rank, in order.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_get_ranks(tessera_mesh mesh, const char *axis, int32_t *buf, size_t cap,
                                                  size_t *out_len, tessera_error *err);

/** The mesh in words: "pp=1 dp_replicate=1 dp_shard=4 cp=1 tp=1".
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_mesh_get_text(tessera_mesh mesh, char *buf, size_t cap, size_t *out_len,
                                                 tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
