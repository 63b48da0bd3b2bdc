/*
 * batch.h - one rank's share of a step: a list of micro-batches, each of which is some documents laid end to end.
 * Attention never crosses the border of a document.
 */
#ifndef TESSERA_BATCH_H
#define TESSERA_BATCH_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The arrays of a micro-batch of T tokens in n documents, for tessera_batch_get_array. */
enum tessera_batch_array {
    TESSERA_BATCH_TOKENS = 0,           /* [T] */
    TESSERA_BATCH_LABELS = 1,           /* [T] shifted: the token that should follow; -100 is not trained on */
    TESSERA_BATCH_POSITIONS = 2,        /* [T] from 0 in each document */
    TESSERA_BATCH_CU_SEQLENS = 3,       /* [n+1] sums of the documents' lengths */
    TESSERA_BATCH_CU_SEQLENS_PADDED = 4 /* [n+1] where documents start, with padding; the last is T */
};

/** A batch without micro-batches.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_batch_create(tessera_batch *out_batch, tessera_error *err);

/** @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_batch_destroy(tessera_batch batch);

/** Appends one micro-batch.
 *  @param tokens `n_tokens` token ids, document after document.
 *  @param labels `n_tokens` labels in the positions of tokens, as in transformers: the library shifts them inside
 *         each document; -100 is not trained on. NULL: the tokens themselves.
 *  @param lengths the length of each document; their sum is n_tokens.
 *  @nullable labels
 *  @threading one-at-a-time  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_batch_push(tessera_batch batch, const int64_t *tokens, const int64_t *labels,
                                              int64_t n_tokens, const int64_t *lengths, int64_t n_lengths,
                                              tessera_error *err);

/** The number of micro-batches.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_batch_count(tessera_batch batch, int64_t *out_count, tessera_error *err);

/** The number of tokens and of labels that are trained on, over all micro-batches.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_batch_count_tokens(tessera_batch batch, int64_t *out_tokens, int64_t *out_labels,
                                                      tessera_error *err);

/** Copies one array of a micro-batch out.
 *  @param index the micro-batch, from 0.
 *  @param array a tessera_batch_array.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_batch_get_array(tessera_batch batch, int64_t index, int32_t array, int64_t *buf,
                                                   size_t cap, size_t *out_len, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
