// Tokenizer: the text-to-ids map of a Hugging Face checkpoint, with the same ids as transformers.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct TtxTokenizer;

namespace tessera {

/// Half-open byte range [begin, end) of a text.
struct TextSpan {
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const TextSpan&) const = default;
};

struct Encoding {
  std::vector<int32_t> ids;
  /// The bytes of the text each token stands for; [b, b) for a token that stands for none (an added bos).
  /// Blanks that a token carries belong to it. The tokens of one split character all have that character's
  /// range.
  std::vector<TextSpan> offsets;
};

/// Immutable once open; every method may be called from any number of threads at once.
///
/// Text is UTF-8 and may hold any character, NUL included; invalid UTF-8 is Error(format) with the offset of
/// the bad byte: replacing it silently would train on text nobody wrote.
class Tokenizer {
 public:
  /// Reads tokenizer.json, or else tokenizer.model (SentencePiece: ids as transformers gives for Llama), with tokenizer_config.json,
  /// special_tokens_map.json, added_tokens.json, generation_config.json and the chat template files beside
  /// it. Truncation, padding and BPE dropout that a tokenizer.json asks for are switched off. Error:
  /// not_found (no tokenizer), io, format (names the file).
  static std::shared_ptr<const Tokenizer> open(const std::string& directory);
  /// The same from the texts of tokenizer.json and, when not empty, tokenizer_config.json.
  static std::shared_ptr<const Tokenizer> from_json(std::string_view tokenizer_json,
                                                    std::string_view config_json = "");

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// `add_special`: put bos and eos where the checkpoint says so (transformers' add_special_tokens). Special
  /// tokens spelled out in the text are found either way.
  std::vector<int32_t> encode(std::string_view text, bool add_special) const;
  Encoding encode_with_offsets(std::string_view text, bool add_special) const;
  /// Results in the order of `texts`. `threads` 0: one per core. The first bad text (lowest index) throws,
  /// named.
  std::vector<std::vector<int32_t>> encode_batch(std::span<const std::string_view> texts, bool add_special,
                                                 int threads = 0) const;
  /// Ids of no token are left out, as transformers does; negative ids are Error(argument).
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;

  int32_t token_to_id(std::string_view token) const;  ///< -1 when there is no such token
  std::string id_to_token(int32_t id) const;          ///< Error(argument) when there is no such id
  int64_t vocab_size() const {
    return vocab_size_;
  }                                           ///< tokens, added ones included: len(tokenizer) in transformers
  int32_t max_id() const { return max_id_; }  ///< larger than vocab_size - 1 when ids have holes
  bool is_added(int32_t id) const { return added_.count(id) != 0; }
  bool is_special(int32_t id) const;

  int32_t bos_id() const { return special_id("bos_token"); }  ///< these are -1 when the checkpoint has none
  int32_t eos_id() const { return special_id("eos_token"); }
  int32_t pad_id() const { return special_id("pad_token"); }
  int32_t unk_id() const { return special_id("unk_token"); }
  /// eos_token and every eos_token_id of generation_config.json: the ids that may end a turn.
  const std::vector<int32_t>& eos_ids() const { return eos_ids_; }
  /// "bos_token" -> "<s>" and so on, what transformers hands to a chat template.
  const std::map<std::string, std::string>& special_tokens() const { return special_tokens_; }

  /// The checkpoint's chat templates by name; a single one is "default".
  const std::map<std::string, std::string>& chat_templates() const { return chat_templates_; }

 private:
  struct Files;
  explicit Tokenizer(const Files& files);
  int32_t special_id(const char* name) const;
  void read_special_tokens(const Files& files);
  void read_chat_templates(const Files& files);
  void describe();

  TtxTokenizer* handle_ = nullptr;
  int64_t vocab_size_ = 0;
  int32_t max_id_ = -1;
  std::map<int32_t, bool> added_;  // id -> is special
  std::map<std::string, std::string> special_tokens_;
  std::map<std::string, int32_t> special_ids_;
  std::vector<int32_t> eos_ids_;
  std::map<std::string, std::string> chat_templates_;
};

}  // namespace tessera
