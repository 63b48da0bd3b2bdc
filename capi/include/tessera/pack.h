/*
 * pack.h - the packers alone: lengths of documents in, packs out. Datasets use them by themselves (data.packing).
 */
#ifndef TESSERA_PACK_H
#define TESSERA_PACK_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Puts documents into as few packs of `capacity` tokens as the packer finds. The result depends on the arguments alone.
 *  @param packer "next_fit", "first_fit", "ffd", "bfd", "wfd" or "optimal"; each document goes whole into one pack.
 *  @param lengths tokens of each document, from 1 to capacity.
 *  @param seed of "optimal".
 *  @param out_packs array of `n_lengths`: the pack of each document, from 0.
 *  @threading any  @blocking yes  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_pack_create(const char *packer, const int64_t *lengths, int64_t n_lengths,
                                               int64_t capacity, int64_t seed, int64_t *out_packs,
                                               int64_t *out_pack_count, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
