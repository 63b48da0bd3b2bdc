/*
 * dataset.h - where batches come from: files, or documents that the host pushes. The same documents come in the same
 * order on every mesh, and the position is saved with a checkpoint.
 */
#ifndef TESSERA_DATASET_H
#define TESSERA_DATASET_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Opens the files of the keys data.* and train.{seed,micro_batch,global_batch}.
 *  @param mesh says which part of each step this rank reads; {0}: all of it.
 *  @param model gives the tokenizer when data.tokenizer and model.path are not set, and bounds token ids; {0}: none.
 *  @nullable mesh, model
 *  @threading any  @blocking yes  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_open(tessera_config config, tessera_mesh mesh, tessera_model model,
                                                tessera_dataset *out_dataset, tessera_error *err);

/** A dataset without files: documents are pushed, then ended, then used like those of a file (epochs, shuffling and
 *  packing included). Every rank pushes the same documents in the same order. For data that does not fit into memory
 *  push micro-batches into a tessera_batch instead.
 *  @nullable mesh, model
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_create(tessera_config config, tessera_mesh mesh, tessera_model model,
                                                  tessera_dataset *out_dataset, tessera_error *err);

/** @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_destroy(tessera_dataset dataset);

/** Appends one document; the arrays are copied. Under data.group=n each n documents that follow one another stay in one row
 *  under every packer (2: preference pairs), and data.long_documents decides on all of them together.
 *  @param labels as in tessera_batch_push; NULL: the tokens themselves.
 *  @nullable labels
 *  @threading one-at-a-time  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_push(tessera_dataset dataset, const int64_t *tokens, const int64_t *labels,
                                                int64_t count, tessera_error *err);

/** Says that no more documents will be pushed; batches can be taken from here on.
 *  @threading one-at-a-time  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_push_end(tessera_dataset dataset, tessera_error *err);

/** This rank's share of the next step.
 *  @return TESSERA_E_END when the data is used up; TESSERA_E_STATE before tessera_dataset_push_end.
 *  @threading one-at-a-time  @blocking yes  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_next(tessera_dataset dataset, tessera_batch *out_batch, tessera_error *err);

/** The position in the data, as text for tessera_dataset_set_state. With data.streaming and no data.epochs it is that
 *  of what this rank reads; tessera_checkpoint_save joins those of all ranks.
 *  @threading one-at-a-time  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_get_state(tessera_dataset dataset, char *buf, size_t cap, size_t *out_len,
                                                     tessera_error *err);

/** Goes to a position that get_state returned, on this or another mesh.
 *  @threading one-at-a-time  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_set_state(tessera_dataset dataset, const char *state, tessera_error *err);

/** Steps in one pass over the data; -1 when that is not known.
 *  @threading one-at-a-time  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_count_steps(tessera_dataset dataset, int64_t *out_steps, tessera_error *err);

/** What a dataset holds, over all ranks, as one JSON object: documents, tokens, label_tokens (that are learnt), rows (packs of
 *  the current epoch, or documents without packing), lower_bound (no packing without splitting has fewer rows), efficiency
 *  (tokens / tokens with padding), pack_seconds, bad_rows, dropped, truncated, split, unlabelled (pieces of split documents
 *  left out because nothing in them is learnt), and sources, a list of objects with name, documents, tokens and draws.
 *  TESSERA_E_STATE before tessera_dataset_push_end.
 *  @threading one-at-a-time  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_get_report(tessera_dataset dataset, char *buf, size_t cap, size_t *out_len,
                                                      tessera_error *err);

/** Tokens of each document, in the order of the data: what tessera_pack_create takes. TESSERA_E_UNSUPPORTED for streams.
 *  @param out_len receives the number of documents, also with TESSERA_E_BUFFER.
 *  @threading one-at-a-time  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_get_lengths(tessera_dataset dataset, int64_t *buf, size_t cap, size_t *out_len,
                                                       tessera_error *err);

/** Appends the rows of an Arrow record batch, all of them or, when one is bad, none.
 *  @param schema address of a struct ArrowSchema, @param array of a struct ArrowArray, of the Arrow C data interface: a struct
 *         with a column input_ids, a list or large list of int32 or int64, and perhaps labels, as in tessera_batch_push, of
 *         the same kind. Both are taken over when `dataset` is one: they are released before the call returns, whatever it
 *         returns. Their buffers must be as long as their lengths and offsets say.
 *  @threading one-at-a-time  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_dataset_push_arrow(tessera_dataset dataset, void *schema, void *array,
                                                      tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
