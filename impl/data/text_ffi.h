// The C functions of the static library in impl/data/text_rs: tokenizers and chat templates. Only
// tokenizer.cpp and chat.cpp call them.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

/// Status codes; text_rs/src/ffi.rs has the same list.
enum TtxStatus : int32_t {
  TTX_OK = 0,
  TTX_ARGUMENT = 1,
  TTX_FORMAT = 2,
  TTX_LIMIT = 3,     ///< a template used up its steps, depth or output size
  TTX_INTERNAL = 4,  ///< a panic, caught at the boundary
  TTX_MISSING = 5,   ///< built without TESSERA_TOKENIZERS
};

struct TtxBytes {
  uint8_t* data;
  size_t len;
};
void ttx_bytes_free(TtxBytes bytes);

struct TtxTokenizer;
struct TtxEncoding {
  uint32_t* ids;
  uint64_t* offsets;  ///< begin and end of each token, interleaved; null when not asked for
  size_t len;
};

int32_t ttx_tokenizer_open(const char* json, size_t json_len, const char* added, size_t added_len,
                           bool set_bos_eos, const char* bos, size_t bos_len, const char* eos, size_t eos_len,
                           TtxTokenizer** out, TtxBytes* error);
void ttx_tokenizer_free(TtxTokenizer* tokenizer);
int32_t ttx_tokenizer_encode(const TtxTokenizer* tokenizer, const char* text, size_t len, bool add_special,
                             bool with_offsets, TtxEncoding* out, TtxBytes* error);
void ttx_encoding_free(TtxEncoding encoding);
int32_t ttx_tokenizer_decode(const TtxTokenizer* tokenizer, const uint32_t* ids, size_t len,
                             bool skip_special, TtxBytes* out, TtxBytes* error);
int32_t ttx_tokenizer_token_to_id(const TtxTokenizer* tokenizer, const char* token, size_t len, int64_t* out,
                                  TtxBytes* error);
int32_t ttx_tokenizer_id_to_token(const TtxTokenizer* tokenizer, uint32_t id, TtxBytes* out, TtxBytes* error);
int32_t ttx_tokenizer_describe(const TtxTokenizer* tokenizer, TtxBytes* out, TtxBytes* error);

/// A compiled chat template.
struct TtxTemplate;
int32_t ttx_template_open(const char* source, size_t len, TtxTemplate** out, bool* has_generation, TtxBytes* error);
void ttx_template_free(TtxTemplate* chat_template);
/// `context`: a JSON object with the template's variables, `messages` among them. `events` gets int64 quadruples
/// (kind, loop or flag, message, byte of the text): kind 0 opens (flag 1) or closes (0) a generation block, 1 starts
/// the turn of a message in a loop, 2 ends a loop.
int32_t ttx_template_render(const TtxTemplate* chat_template, const char* context, size_t len, TtxBytes* text,
                            TtxBytes* events, TtxBytes* error);

}  // extern "C"
