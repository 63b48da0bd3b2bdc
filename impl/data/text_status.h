// From the status of a text_ffi.h call to an Error. Private to tokenizer.cpp and chat.cpp.
#pragma once

#include <string>

#include "core/error.h"
#include "data/text_ffi.h"

namespace tessera {

/// Copies and frees bytes of the static library.
inline std::string take(TtxBytes bytes) {
  std::string text(reinterpret_cast<const char*>(bytes.data), bytes.len);
  ttx_bytes_free(bytes);
  return text;
}

/// Throws unless `status` is TTX_OK; `what` opens the message ("tokenizer.json: ...").
inline void check_text(int32_t status, TtxBytes& error, const std::string& what) {
  if (status == TTX_OK) return;
  if (status == TTX_MISSING) {
    throw Error(Code::unsupported,
                what + ": this library was built without tokenizers (TESSERA_TOKENIZERS=OFF)");
  }
  const std::string message = error.data ? take(error) : std::string("no reason given");
  error = {};
  const Code code = status == TTX_ARGUMENT   ? Code::argument
                    : status == TTX_INTERNAL ? Code::internal
                                             : Code::format;
  throw Error(code, what + ": " + message);
}

}  // namespace tessera
