/*
 * tokenizer.h - text to token ids and back, with the ids of transformers for the same checkpoint.
 */
#ifndef TESSERA_TOKENIZER_H
#define TESSERA_TOKENIZER_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Reads tokenizer.json (or a SentencePiece model) and its companions from a Hugging Face directory.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tokenizer_open(const char *directory, tessera_tokenizer *out_tokenizer,
                                                  tessera_error *err);

/** @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tokenizer_destroy(tessera_tokenizer tokenizer);

/** The number of tokens, added ones included.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tokenizer_count(tessera_tokenizer tokenizer, int64_t *out_count,
                                                   tessera_error *err);

/** Text to ids.
 *  @param text `bytes` bytes of UTF-8; NUL may be among them.
 *  @param add_special 1: with the begin and end tokens that the checkpoint asks for.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tokenizer_encode(tessera_tokenizer tokenizer, const char *text, size_t bytes,
                                                    int32_t add_special, int64_t *buf, size_t cap, size_t *out_len,
                                                    tessera_error *err);

/** Ids to text; ids that are no token are left out.
 *  @param skip_special 1: without special tokens.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tokenizer_decode(tessera_tokenizer tokenizer, const int64_t *ids, int64_t n_ids,
                                                    int32_t skip_special, char *buf, size_t cap, size_t *out_len,
                                                    tessera_error *err);

/** A conversation as the checkpoint's chat template prints it, special tokens included.
 *  @param conversation JSON: a list of messages {"role": .., "content": ..}, or an object with `messages` and optionally
 *         `tools` and `documents`.
 *  @param add_generation_prompt 1: ends with the opening of an assistant turn.
 *  @return TESSERA_E_NOT_FOUND when the checkpoint has no template; TESSERA_E_FORMAT names the message that is wrong.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tokenizer_get_chat_text(tessera_tokenizer tokenizer, const char *conversation,
                                                           int32_t add_generation_prompt, char *buf, size_t cap,
                                                           size_t *out_len, tessera_error *err);

/** A conversation as ids and labels, ready for tessera_dataset_push: what the assistant says is trained on.
 *  @param conversation as in tessera_tokenizer_get_chat_text.
 *  @param tokens, labels arrays of `cap` elements; labels are -100 where a token is not trained on.
 *  @param out_len receives the number of tokens, also with TESSERA_E_BUFFER.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tokenizer_encode_chat(tessera_tokenizer tokenizer, const char *conversation,
                                                         int64_t *tokens, int64_t *labels, size_t cap, size_t *out_len,
                                                         tessera_error *err);

/** Many texts to ids, on as many threads as there are cores.
 *  @param text the texts laid end to end, `bytes` bytes of UTF-8.
 *  @param text_ends where each text ends, in bytes from the start: `n_texts` numbers that do not fall; the last is `bytes`.
 *  @param out_ends receives, for each text, where its ids end in `buf`, also with TESSERA_E_BUFFER.
 *  @param add_special as in tessera_tokenizer_encode.
 *  @return TESSERA_E_FORMAT names the first text that is no UTF-8.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_tokenizer_encode_batch(tessera_tokenizer tokenizer, const char *text, size_t bytes,
                                                          const int64_t *text_ends, int64_t n_texts, int32_t add_special,
                                                          int64_t *out_ends, int64_t *buf, size_t cap, size_t *out_len,
                                                          tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
