// SentencePiece model files: BPE merges by score, byte fallback, blanks, and files that are none.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "data/sentencepiece.h"
#include "data/tokenizer.h"

namespace tessera {
namespace {

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}

std::string bytes_field(int field, const std::string& bytes) {
  return varint(field << 3 | 2) + varint(bytes.size()) + bytes;
}

std::string number_field(int field, uint64_t value) {
  return varint(field << 3) + varint(value);
}

std::string piece(const std::string& text, float score, int type) {
  std::string real(sizeof score, '\0');
  std::memcpy(real.data(), &score, sizeof score);
  return bytes_field(1, bytes_field(1, text) + varint(2 << 3 | 5) + real + number_field(3, type));
}

/// A model in Llama's manner: byte fallback, no normalisation, blanks kept.
std::string llama_like(int model_type = 2) {
  std::string model = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3);
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", b);
    model += piece(name, 0, 6);
  }
  float score = 0;
  for (const char* text : {"ab",
                           "\xE2\x96\x81"
                           "ab",
                           "abc", "bc", "a", "b", "c", "\xE2\x96\x81"}) {
    model += piece(text, score--, 1);
  }
  model += bytes_field(2, number_field(3, model_type) + number_field(35, 1) +
                              number_field(43, static_cast<uint64_t>(int64_t{-1})));
  return model + bytes_field(3, number_field(3, 1) + number_field(4, 0));
}

std::vector<std::string> tokens_of(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<std::string> out;
  for (int32_t id : tokenizer.encode(text, false)) out.push_back(tokenizer.id_to_token(id));
  return out;
}

TEST(TokenizerSentencePiece, MergesByScoreAndFallsBackToBytes) {
  const SentencePieceTokenizer converted = convert_sentencepiece(llama_like(), "tokenizer.model");
  EXPECT_EQ(converted.bos, "<s>");
  EXPECT_EQ(converted.eos, "</s>");
  EXPECT_EQ(converted.unk, "<unk>");
  EXPECT_EQ(converted.pad, "");
  const auto tokenizer = Tokenizer::from_json(converted.tokenizer_json);
  const std::string blank = "\xE2\x96\x81";
  EXPECT_EQ(tokens_of(*tokenizer, "abc"), (std::vector<std::string>{blank + "ab", "c"}));
  EXPECT_EQ(tokens_of(*tokenizer, "cabc"), (std::vector<std::string>{blank, "c", "abc"}));
  EXPECT_EQ(tokens_of(*tokenizer, "a\xC3\xA9"), (std::vector<std::string>{blank, "a", "<0xC3>", "<0xA9>"}));
  EXPECT_EQ(tokens_of(*tokenizer, "<s>ab"), (std::vector<std::string>{"<s>", "ab"}));
  for (const std::string text : {"abc  ab", "c\xC3\xA9\n", "\xF0\x9F\x98\x80 a"}) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, false), false), text);
  }
}

// transformers writes null for settings that were never made.
TEST(TokenizerSentencePiece, SettingsThatAreNullAreNone) {
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "null_settings";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "tokenizer.model", std::ios::binary) << llama_like();
  std::ofstream(folder / "tokenizer_config.json")
      << R"({"add_bos_token": null, "add_eos_token": true, "bos_token": "<s>", "eos_token": "</s>"})";
  const auto tokenizer = Tokenizer::open(folder.string());
  const std::vector<int32_t> ids = tokenizer->encode("abc", true);
  EXPECT_NE(ids.front(), tokenizer->token_to_id("<s>"));
  EXPECT_EQ(ids.back(), tokenizer->token_to_id("</s>"));
  std::filesystem::remove_all(folder);
}

TEST(TokenizerSentencePiece, ReadsUnigramModels) {
  const auto tokenizer =
      Tokenizer::from_json(convert_sentencepiece(llama_like(1), "tokenizer.model").tokenizer_json);
  EXPECT_EQ(tokenizer->vocab_size(), 3 + 256 + 8);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("abc ab", false), false), "abc ab");
}

/// A model as the trainer makes it by default: blanks removed, a symbol of the user's.
std::string trained(int model_type, bool add_dummy_prefix = true, bool remove_extra_blanks = true) {
  std::string model = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + piece("<x.y>", 0, 4);
  float score = -1;
  for (const char* text : {"\xE2\x96\x81", "a", "b", "ab", "\n", "<", "x", ".", "y", ">", "<x"}) {
    model += piece(text, score--, 1);
  }
  model += bytes_field(2, number_field(3, model_type));
  return model + bytes_field(3, number_field(3, add_dummy_prefix) + number_field(4, remove_extra_blanks));
}

std::vector<std::string> pieces_of(const std::string& model, const std::string& text) {
  return tokens_of(*Tokenizer::from_json(convert_sentencepiece(model, "tokenizer.model").tokenizer_json),
                   text);
}

TEST(TokenizerSentencePiece, RemovesBlanksButNoNewlines) {
  const std::string blank = "\xE2\x96\x81";
  using Pieces = std::vector<std::string>;
  for (const int type : {1, 2}) {
    SCOPED_TRACE(type);
    EXPECT_EQ(pieces_of(trained(type), "  ab   a \n"), (Pieces{blank, "ab", blank, "a", blank, "\n"}));
    EXPECT_EQ(pieces_of(trained(type), "\n"), (Pieces{blank, "\n"}));
    EXPECT_EQ(pieces_of(trained(type), " \n a" + blank + "  "), (Pieces{blank, "\n", blank, "a"}));
    EXPECT_EQ(pieces_of(trained(type), "  "), Pieces{});
    EXPECT_EQ(pieces_of(trained(type), blank), Pieces{});
    EXPECT_EQ(pieces_of(trained(type, false, false), " a "), (Pieces{blank, "a", blank}));
  }
  EXPECT_EQ(pieces_of(trained(1, true, false), " a"), (Pieces{blank, blank, "a"}));
}

TEST(TokenizerSentencePiece, KeepsSymbolsOfTheUserWhole) {
  const std::string blank = "\xE2\x96\x81";
  using Pieces = std::vector<std::string>;
  for (const int type : {1, 2}) {
    SCOPED_TRACE(type);
    EXPECT_EQ(pieces_of(trained(type), "<x.y>a<x.y><x"), (Pieces{blank, "<x.y>", "a", "<x.y>", "<x"}));
    EXPECT_EQ(pieces_of(trained(type), "<xxy>"),
              (Pieces{blank, "<x", "x", "y", ">"}));  // the point is no wildcard
  }
}

TEST(TokenizerSentencePiece, ReadsNoBytesFromText) {
  std::string model = trained(1) + piece("<0x61>", 0, 6);
  for (const char* digit : {"0", "6", "1"}) model += piece(digit, -20, 1);
  EXPECT_EQ(pieces_of(model, "<0x61>"),
            (std::vector<std::string>{"\xE2\x96\x81", "<", "0", "x", "6", "1", ">"}));
}

TEST(TokenizerSentencePiece, RefusesFilesThatAreNoModel) {
  const std::string good = llama_like();
  for (const std::string& bad :
       {std::string(), std::string("hello"), std::string(100, '\xFF'), good.substr(0, 1000),
        std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11),
        piece("a", 0, 1) + piece("a", 0, 1) + bytes_field(2, number_field(3, 2)),
        piece("a", 0, 1) + bytes_field(2, number_field(40, 7)), piece("\xFF", 0, 1),
        piece(std::string(5000, 'a'), 0, 1)}) {
    try {
      convert_sentencepiece(bad, "tokenizer.model");
      ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::format);
      EXPECT_EQ(std::string(e.what()).rfind("tokenizer.model", 0), 0u) << e.what();
    }
  }
  EXPECT_THROW(convert_sentencepiece(llama_like(4), "tokenizer.model"), Error);
}

}  // namespace
}  // namespace tessera
