// Turns a SentencePiece model file (tokenizer.model) into the tokenizer.json of the same tokenizer.
#pragma once

#include <string>
#include <string_view>

namespace tessera {

struct SentencePieceTokenizer {
  std::string tokenizer_json;
  std::string bos;  ///< pieces; empty when the model has none
  std::string eos;
  std::string unk;
  std::string pad;
};

/// `name` is what errors call the file. BPE and unigram models, with byte fallback and the model's own
/// normalisation table; Error(unsupported) for word and character models, Error(format) for a file that is no
/// model.
SentencePieceTokenizer convert_sentencepiece(std::string_view model, const std::string& name);

}  // namespace tessera
