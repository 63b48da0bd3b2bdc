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
    TESSERA_BATCH_TOKENS = 0,            /* [T] */
    TESSERA_BATCH_LABELS = 1,            /* [T] shifted: the token that should follow; -100 is not trained on */
    TESSERA_BATCH_POSITIONS = 2,         /* [T] from 0 in each document */
    TESSERA_BATCH_CU_SEQLENS = 3,        /* [n+1] sums of the documents' lengths */
    TESSERA_BATCH_CU_SEQLENS_PADDED = 4, /* [n+1] where documents start, with padding; the last is T */
    TESSERA_BATCH_SEGMENTS = 5           /* [T] 1 for the first document, 2 for the next ...; 0 on padding */
};

/* Forms in which other programs hold packed documents, for tessera_batch_push_form: what `index` says of them. */
enum tessera_batch_form {
    TESSERA_BATCH_FORM_LENGTHS = 0,   /* tokens end to end; index [n]: the documents' lengths. The library pads. */
    TESSERA_BATCH_FORM_ROWS = 1,      /* padded rows [B, S] (BSHD); index [B]: real tokens at the start of each row */
    TESSERA_BATCH_FORM_POSITIONS = 2, /* index [T]: position ids, 0 where a document starts */
    TESSERA_BATCH_FORM_SEGMENTS = 3,  /* index [T] or [B, S]: equal numbers on a document's tokens, 0 on padding */
    TESSERA_BATCH_FORM_CU_SEQLENS = 4 /* index [n+1] or [2, n+1]: cu_seqlens, and cu_seqlens_padded behind it (THD) */
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

/** Appends one micro-batch from another form of packed documents. Everything is copied.
 *  @param layout {0}: documents as they are. Else a config whose data.pad_multiple, and parallel.cp under data.pad_cp, ask
 *         each document to start at a multiple of lcm(2*cp, multiple). FORM_LENGTHS is laid out so, as one row that
 *         is padded to data.seq_len where data.pad_rows (or, if auto, a data.packing) says so; of the other forms, which
 *         have their padding, it is required.
 *  @param form a tessera_batch_form: how the documents are told.
 *  @param tokens `n_tokens` token ids, T or B*S; what stands on padding is not looked at by any document.
 *  @param labels `n_tokens` labels; -100 is not trained on. NULL: the tokens themselves.
 *  @param labels_shifted 0: in the positions of tokens, as in transformers; 1: labels[t] is the token that should follow
 *         tokens[t], as in Megatron and TESSERA_BATCH_LABELS.
 *  @param index, n_index the array that the form names, and its length.
 *  @param extent FORM_SEGMENTS: S, each row being apart from the next; FORM_POSITIONS: real tokens, behind which all is
 *         padding (it is told because a last document of one token looks like padding). 0: T; other forms take 0 alone.
 *  @return TESSERA_E_ARGUMENT names what is no such form: a length or border that does not fit, a position that does not
 *          continue, a row that begins with padding, a capacity or a document's place that is no multiple.
 *  @nullable layout, labels
 *  @threading one-at-a-time  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_batch_push_form(tessera_batch batch, tessera_config layout, int32_t form,
                                                   const int64_t *tokens, const int64_t *labels, int64_t n_tokens,
                                                   int32_t labels_shifted, const int64_t *index, int64_t n_index,
                                                   int64_t extent, tessera_error *err);

/** Copies a micro-batch out as padded rows (BSHD), one for each document, as transformers takes them.
 *  @param index the micro-batch, from 0.
 *  @param row_length S; 0: the longest document.
 *  @param pad_token the id on padding.
 *  @param buf receives four arrays [B, S], one behind the other: tokens; labels in the positions of tokens, -100 where
 *         nothing is trained; position ids, 0 on padding; and the attention mask, 1 on real tokens.
 *  @param out_len receives 4*B*S, also with TESSERA_E_BUFFER.
 *  @return TESSERA_E_ARGUMENT for a document longer than row_length, and for one cut out of a longer one whose last token
 *          has a label, which has no position to go to.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_batch_get_rows(tessera_batch batch, int64_t index, int64_t row_length,
                                                  int64_t pad_token, int64_t *buf, size_t cap, size_t *out_len,
                                                  tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
