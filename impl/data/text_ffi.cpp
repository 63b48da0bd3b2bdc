// Stand-ins for the static library of impl/data/text_rs in builds without TESSERA_TOKENIZERS: each call
// reports that.
#include "data/text_ffi.h"

#if !TESSERA_TOKENIZERS

extern "C" {

void ttx_bytes_free(TtxBytes) {}
int32_t ttx_tokenizer_open(const char*, size_t, const char*, size_t, bool, const char*, size_t, const char*,
                           size_t, TtxTokenizer**, TtxBytes*) {
  return TTX_MISSING;
}
void ttx_tokenizer_free(TtxTokenizer*) {}
int32_t ttx_tokenizer_encode(const TtxTokenizer*, const char*, size_t, bool, bool, TtxEncoding*, TtxBytes*) {
  return TTX_MISSING;
}
void ttx_encoding_free(TtxEncoding) {}
int32_t ttx_tokenizer_decode(const TtxTokenizer*, const uint32_t*, size_t, bool, TtxBytes*, TtxBytes*) {
  return TTX_MISSING;
}
int32_t ttx_tokenizer_token_to_id(const TtxTokenizer*, const char*, size_t, int64_t*, TtxBytes*) {
  return TTX_MISSING;
}
int32_t ttx_tokenizer_id_to_token(const TtxTokenizer*, uint32_t, TtxBytes*, TtxBytes*) {
  return TTX_MISSING;
}
int32_t ttx_tokenizer_describe(const TtxTokenizer*, TtxBytes*, TtxBytes*) {
  return TTX_MISSING;
}
int32_t ttx_template_open(const char*, size_t, TtxTemplate**, bool*, TtxBytes*) { return TTX_MISSING; }
void ttx_template_free(TtxTemplate*) {}
int32_t ttx_template_render(const TtxTemplate*, const char*, size_t, TtxBytes*, TtxBytes*, TtxBytes*) {
  return TTX_MISSING;
}

}  // extern "C"

#endif  // !TESSERA_TOKENIZERS
