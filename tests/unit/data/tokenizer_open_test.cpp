// Tokenizer::open and from_json: which files count, what they set, and what a broken one is told.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "core/error.h"
#include "data/tokenizer.h"
#include "support/errors.h"
#include "tiny_tokenizer.h"

namespace tessera {
namespace {

using testing::error_of;

namespace fs = std::filesystem;
using Json = nlohmann::json;

class Directory {
 public:
  Directory() {
    path_ = fs::temp_directory_path() / ("tessera_tokenizer_" + std::to_string(std::random_device{}()));
    fs::create_directories(path_);
  }
  ~Directory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

TEST(TokenizerOpen, ReadsSpecialTokensAndTemplates) {
  Directory dir;
  dir.write("tokenizer.json", testing::tiny_tokenizer().dump());
  Json config = testing::tiny_tokenizer_config();
  config["chat_template"] = "in config";
  dir.write("tokenizer_config.json", config.dump());
  dir.write("generation_config.json", R"({"eos_token_id": [2, 0]})");
  auto tokenizer = Tokenizer::open(dir.path());
  EXPECT_EQ(tokenizer->vocab_size(), 4 + 256 + 9);
  EXPECT_EQ(tokenizer->max_id(), 4 + 256 + 9 - 1);
  EXPECT_EQ(tokenizer->bos_id(), 0);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->pad_id(), 3);
  EXPECT_EQ(tokenizer->unk_id(), -1);
  EXPECT_EQ(tokenizer->eos_ids(), (std::vector<int32_t>{2, 0}));
  EXPECT_EQ(tokenizer->special_tokens().at("bos_token"), "<|endoftext|>");
  EXPECT_EQ(tokenizer->chat_templates().at("default"), "in config");
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_FALSE(tokenizer->is_special(5));

  dir.write("chat_template.jinja", "in a file");
  dir.write("additional_chat_templates/rag.jinja", "another");
  tokenizer = Tokenizer::open(dir.path());
  EXPECT_EQ(tokenizer->chat_templates().at("default"), "in a file");
  EXPECT_EQ(tokenizer->chat_templates().at("rag"), "another");
}

TEST(TokenizerOpen, TakesIdsFromOtherConfigurationsWhenItsOwnIsMissing) {
  Directory dir;
  dir.write("tokenizer.json", testing::tiny_tokenizer().dump());
  dir.write("config.json", R"({"bos_token_id": 0, "eos_token_id": 2})");
  const auto tokenizer = Tokenizer::open(dir.path());
  EXPECT_EQ(tokenizer->bos_id(), 0);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->pad_id(), -1);
  EXPECT_TRUE(tokenizer->special_tokens().empty());
}

TEST(TokenizerOpen, AddsTokensThatOnlyTheConfigurationNames) {
  Json config = testing::tiny_tokenizer_config();
  config["added_tokens_decoder"]["269"] = {{"content", "<tool>"}, {"special", false}, {"normalized", false}};
  config["extra_special_tokens"] = Json::array({"<|extra|>"});
  const auto tokenizer = Tokenizer::from_json(testing::tiny_tokenizer().dump(), config.dump());
  EXPECT_EQ(tokenizer->token_to_id("<tool>"), 269);
  EXPECT_FALSE(tokenizer->is_special(269));
  EXPECT_TRUE(tokenizer->is_added(269));
  EXPECT_EQ(tokenizer->token_to_id("<|extra|>"), 270);
  EXPECT_TRUE(tokenizer->is_special(270));
  EXPECT_EQ(tokenizer->encode("a<tool>", false), (std::vector<int32_t>{4 + 'a', 269}));
}

TEST(TokenizerOpen, SwitchesOffTruncationPaddingAndDropout) {
  Json document = testing::tiny_tokenizer();
  document["truncation"] = {
      {"direction", "Right"}, {"max_length", 2}, {"strategy", "LongestFirst"}, {"stride", 0}};
  document["padding"] = {{"strategy", {{"Fixed", 64}}},
                         {"direction", "Right"},
                         {"pad_to_multiple_of", nullptr},
                         {"pad_id", 3},
                         {"pad_type_id", 0},
                         {"pad_token", "<|pad|>"}};
  document["model"]["dropout"] = 0.5;
  const auto tokenizer = Tokenizer::from_json(document.dump());
  const auto plain = Tokenizer::from_json(testing::tiny_tokenizer().dump());
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(tokenizer->encode("hello the world", true), plain->encode("hello the world", true));
  }
}

TEST(TokenizerOpen, NamesWhatIsMissing) {
  EXPECT_EQ(error_of([] { Tokenizer::open("/no/such/folder"); }).code(), Code::not_found);
  Directory dir;
  const Error e = error_of([&] { Tokenizer::open(dir.path()); });
  EXPECT_EQ(e.code(), Code::not_found);
  EXPECT_NE(std::string(e.what()).find("tokenizer.json"), std::string::npos);
}

TEST(TokenizerOpen, RefusesBrokenFilesWithTheirName) {
  const std::string good = testing::tiny_tokenizer().dump();
  // A normaliser whose trie is said to have 4 GB.
  nlohmann::json huge_trie = testing::tiny_tokenizer();
  huge_trie["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "/P///wAAAAA="}};
  // Finding a token of a megabyte in texts would take hours to prepare.
  nlohmann::json long_token = testing::tiny_tokenizer();
  long_token["added_tokens"][0]["content"] = std::string(1 << 20, 'a');
  for (const std::string& bad :
       {long_token.dump(), std::string(), std::string("{"), std::string("[]"), std::string("null"),
        std::string("{}"), std::string(R"({"model":{"type":"BPE","vocab":{},"merges":["a b"]}})"),
        std::string(R"({"model":{"type":"Nothing"}})"), good.substr(0, good.size() / 2),
        std::string(100000, '['), std::string("{\"a\":\xff}"), huge_trie.dump()}) {
    const Error e = error_of([&] { Tokenizer::from_json(bad); });
    EXPECT_EQ(e.code(), Code::format) << bad.substr(0, 40);
    EXPECT_EQ(std::string(e.what()).rfind("tokenizer.json", 0), 0u) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
  }
  const std::string deep = R"({"added_tokens_decoder": {"5": {"content": "x", "y": )" +
                           std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}}}";
  for (const std::string& bad : {std::string("{"), std::string("[]"), std::string(R"({"chat_template": 3})"),
                                 std::string(R"({"chat_template": [{"name": "a"}]})"), deep,
                                 R"({"pad_token": ")" + std::string(1 << 20, 'a') + "\"}",
                                 std::string(R"({"added_tokens_decoder": {"x": {"content": "y"}}})")}) {
    const Error e = error_of([&] { Tokenizer::from_json(good, bad); });
    EXPECT_EQ(e.code(), Code::format) << bad.substr(0, 60);
    EXPECT_NE(std::string(e.what()).find("tokenizer_config.json"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace tessera
