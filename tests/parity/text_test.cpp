// Tokenizers and chat templates against transformers, and sentencepiece for its models: the same ids for
// texts that are easy to get wrong, the same text, ids and assistant mask for conversations
// (text_reference.py writes what transformers makes of them).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/chat.h"
#include "data/tokenizer.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string reference() {
  const char* other = std::getenv("TESSERA_TEXT_REFERENCE");
  return other ? other : TESSERA_TEXT_REFERENCE;
}

#define SKIP_WITHOUT_REFERENCE()                                                  \
  if (!fs::exists(fs::path(reference()) / "chat.jsonl")) {                        \
    GTEST_SKIP() << "no reference in " << reference()                             \
                 << ": tests/support/make_venv.sh and make_reference.sh make it"; \
  }

Json read_json(const fs::path& path) {
  std::ifstream in(path);
  return Json::parse(in);
}

TEST(TextParity, TokenizersGiveTheIdsOfTransformersAndSentencePiece) {
  SKIP_WITHOUT_REFERENCE();
  int tokenizers = 0;
  for (const auto& entry : fs::directory_iterator(reference())) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().filename();
    SCOPED_TRACE(name);
    const auto tokenizer = Tokenizer::open(entry.path());
    const Json truth = read_json(fs::path(reference()) / (name + ".ids.json"));
    const auto expect_id = [&](const char* key, int32_t id) {
      EXPECT_EQ(truth["facts"][key].is_null() ? -1 : truth["facts"][key].get<int32_t>(), id) << key;
    };
    EXPECT_EQ(tokenizer->vocab_size(), truth["facts"]["size"].get<int64_t>());
    expect_id("bos", tokenizer->bos_id());
    expect_id("eos", tokenizer->eos_id());
    expect_id("pad", tokenizer->pad_id());
    expect_id("unk", tokenizer->unk_id());
    for (size_t i = 0; i < truth["rows"].size(); ++i) {
      const Json& row = truth["rows"][i];
      SCOPED_TRACE(i);
      const std::string text = row["text"].get<std::string>();
      const auto special = row["special"].get<std::vector<int32_t>>();
      EXPECT_EQ(tokenizer->encode(text, false), row["plain"].get<std::vector<int32_t>>());
      EXPECT_EQ(tokenizer->encode(text, true), special);
      EXPECT_EQ(tokenizer->encode_with_offsets(text, true).ids, special);
      EXPECT_EQ(tokenizer->decode(special, false), row["decoded"].get<std::string>());
      if (row.contains("skipped")) {
        EXPECT_EQ(tokenizer->decode(special, true), row["skipped"].get<std::string>());
      }
    }
    ++tokenizers;
  }
  EXPECT_GE(tokenizers, 8);
}

/// The places at which two masks differ, for messages.
std::string differences(const ChatTokens& tokens, const std::vector<uint8_t>& truth) {
  std::string out;
  for (size_t i = 0; i < truth.size() && i < tokens.train.size(); ++i) {
    if (tokens.train[i] != truth[i]) out += cat(i, ": ", int{tokens.train[i]}, " not ", int{truth[i]}, "; ");
  }
  return out;
}

TEST(TextParity, ChatTemplatesGiveTheTextAndMaskOfTransformers) {
  SKIP_WITHOUT_REFERENCE();
  std::map<std::string, std::shared_ptr<const Tokenizer>> tokenizers;
  std::ifstream in(fs::path(reference()) / "chat.jsonl");
  int compared = 0, refused = 0, masks = 0;
  for (std::string line; std::getline(in, line);) {
    const Json row = Json::parse(line);
    const std::string name = row["tokenizer"].get<std::string>();
    SCOPED_TRACE(
        cat(row["template"].get<std::string>(), ", ", name, ", conversation ", row["row"].get<int>()));
    auto& tokenizer = tokenizers[name];
    if (!tokenizer) tokenizer = Tokenizer::open(fs::path(reference()) / name);
    ChatOptions options;
    options.chat_template = row["source"].get<std::string>();
    options.mask.eos = EosPolicy::as_tagged;
    if (row.contains("error")) {
      EXPECT_THROW(
          {
            const ChatTemplate chat(tokenizer, options);
            chat.render(row["conversation"], true);
            chat.render(row["conversation"]);
          },
          Error)
          << row["error"];
      ++refused;
      continue;
    }
    try {
      const ChatTemplate chat(tokenizer, options);
      EXPECT_EQ(chat.render(row["conversation"], true), row["prompt"].get<std::string>());
      EXPECT_EQ(chat.render(row["conversation"]), row["text"].get<std::string>());
      ++compared;
      const ChatTokens tokens = chat.tokenize(row["conversation"]);
      EXPECT_EQ(tokens.ids, row["ids"].get<std::vector<int32_t>>());
      // Without tags transformers has no mask to compare with.
      if (!chat.has_generation_tags()) continue;
      const auto mask = row["mask"].get<std::vector<uint8_t>>();
      EXPECT_EQ(tokens.train, mask) << differences(tokens, mask) << "\n" << tokens.text;
      ++masks;
    } catch (const Error& e) {
      ADD_FAILURE() << e.what();
    }
  }
  std::printf("%d texts and %d masks equal, %d conversations refused by both\n", compared, masks, refused);
  EXPECT_GT(masks, 100);
  EXPECT_GT(refused, 5);
}

}  // namespace
}  // namespace tessera
