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

/** The rows that a dataset with these keys makes of documents of these lengths: over-long ones as data.long_documents says,
 *  each aligned, packed by data.packing (all packers, "next_fit_split" and "none" too) with its options, the documents of a
 *  data.group in one row, the rows in the order of data.shuffle, data.order and data.balance for steps of
 *  train.global_batch. Under data.streaming each data.stream_buffer documents are packed apart; a host whose lengths do not
 *  fit into memory calls it for one such window after the other. Equal on every rank for equal arguments, and whatever
 *  data.workers is.
 *  @param config data.seq_len is the capacity; files, tokenizer and formats are not looked at.
 *  @param lengths tokens of each document, from 1 to 2^40.
 *  @param buf receives four numbers for each piece of a document, row after row: the row, from 0; the document, from 0; the
 *         first token of the piece in the document, and its tokens. A dropped document has no piece.
 *  @param out_len receives the count of numbers, also with TESSERA_E_BUFFER.
 *  @return TESSERA_E_ARGUMENT names a length or option that does not fit.
 *  @threading any  @blocking yes  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_pack_get_pieces(tessera_config config, const int64_t *lengths, int64_t n_lengths,
                                                   int64_t *buf, size_t cap, size_t *out_len, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
