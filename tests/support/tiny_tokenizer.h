// A byte-level BPE tokenizer.json small enough to read, made in the test: ChatML special tokens, the 256
// bytes and a few merges.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tessera::testing {

inline std::string utf8(uint32_t code) {
  std::string out;
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
  return out;
}

/// GPT-2's printable stand-in for a byte: itself where it is printable, else the next free code point from
/// 256 on.
inline std::vector<std::string> byte_alphabet() {
  std::vector<std::string> letters(256);
  uint32_t next = 256;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    letters[b] = utf8(printable ? b : next++);
  }
  return letters;
}

/// Ids: 0 <|endoftext|>, 1 <|im_start|>, 2 <|im_end|>, 3 <|pad|>, 4 + b the byte b, then the merges in order.
inline nlohmann::json tiny_tokenizer() {
  using Json = nlohmann::json;
  const std::vector<std::string> letters = byte_alphabet();
  const std::vector<std::string> special = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"};
  const std::vector<std::pair<std::string, std::string>> merges = {
      {"h", "e"},    {"l", "l"},          {"he", "ll"},
      {"hell", "o"}, {letters[' '], "w"}, {"o", "r"},
      {"t", "h"},    {"th", "e"},         {letters['\n'], letters['\n']}};
  Json vocab = Json::object(), added = Json::array(), merge_list = Json::array();
  int id = 0;
  for (const std::string& token : special) {
    added.push_back({{"id", id},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    vocab[token] = id++;
  }
  for (const std::string& letter : letters) vocab[letter] = id++;
  for (const auto& [left, right] : merges) {
    merge_list.push_back(Json::array({left, right}));
    vocab[left + right] = id++;
  }
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", byte_level},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", merge_list}}}};
}

inline nlohmann::json tiny_tokenizer_config() {
  return {{"bos_token", "<|endoftext|>"}, {"eos_token", "<|im_end|>"}, {"pad_token", "<|pad|>"}};
}

}  // namespace tessera::testing
