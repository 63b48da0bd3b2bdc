// Tokenizer: encode, offsets, batches, decode, and what it says to bad text and ids.
#include <gtest/gtest.h>

#include <thread>

#include "core/error.h"
#include "data/tokenizer.h"
#include "tiny_tokenizer.h"

namespace tessera {
namespace {

std::shared_ptr<const Tokenizer> tiny() {
  return Tokenizer::from_json(testing::tiny_tokenizer().dump(), testing::tiny_tokenizer_config().dump());
}

std::vector<int32_t> merged(const Tokenizer& tokenizer, std::initializer_list<const char*> tokens) {
  std::vector<int32_t> ids;
  for (const char* token : tokens) ids.push_back(tokenizer.token_to_id(token));
  return ids;
}

TEST(TokenizerEncode, MergesAndFindsSpecialTokens) {
  const auto tokenizer = tiny();
  EXPECT_EQ(tokenizer->encode("hello", false), merged(*tokenizer, {"hello"}));
  EXPECT_EQ(tokenizer->encode("<|im_start|>the\n\n<|im_end|>", false),
            merged(*tokenizer, {"<|im_start|>", "t", "he", "\xC4\x8A\xC4\x8A", "<|im_end|>"}));
  EXPECT_TRUE(tokenizer->encode("", false).empty());
}

TEST(TokenizerEncode, OffsetsCoverEveryByteOfTheText) {
  const auto tokenizer = tiny();
  const std::string text =
      "hello  world\n\n \xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB e\xCC\x81 <|im_end|>\n";
  const Encoding encoding = tokenizer->encode_with_offsets(text, false);
  EXPECT_EQ(encoding.ids, tokenizer->encode(text, false));
  ASSERT_EQ(encoding.offsets.size(), encoding.ids.size());
  int64_t covered = 0;
  for (const TextSpan& span : encoding.offsets) {
    EXPECT_LT(span.begin, span.end);
    EXPECT_LE(span.begin, covered) << "a gap in front of byte " << span.begin;
    covered = std::max(covered, span.end);
  }
  EXPECT_EQ(covered, static_cast<int64_t>(text.size()));
}

TEST(TokenizerEncode, DecodeGivesTheTextBack) {
  const auto tokenizer = tiny();
  std::string text = "hello the\tworld \r\n\x01\x7F";
  text += '\0';
  text += "\xE2\x80\xAE rtl \xEF\xBF\xBD \xF0\x9F\x87\xA9\xF0\x9F\x87\xAA\xC2\xA0";
  const auto ids = tokenizer->encode(text, false);
  EXPECT_EQ(tokenizer->decode(ids, false), text);
  const auto chat = tokenizer->encode("<|im_start|>a<|im_end|>", false);
  EXPECT_EQ(tokenizer->decode(chat, true), "a");
  EXPECT_EQ(tokenizer->decode(chat, false), "<|im_start|>a<|im_end|>");
  EXPECT_EQ(tokenizer->decode({}, false), "");
}

TEST(TokenizerEncode, RefusesTextThatIsNotUtf8) {
  const auto tokenizer = tiny();
  for (const std::string& bad : {std::string("ab\xFF"), std::string("ab\xC3"), std::string("ab\xED\xA0\x80"),
                                 std::string("ab\xF4\x90\x80\x80"), std::string("ab\xC0\x80")}) {
    try {
      tokenizer->encode(bad, false);
      ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::format);
      EXPECT_NE(std::string(e.what()).find("at offset 2"), std::string::npos) << e.what();
    }
  }
}

TEST(TokenizerEncode, ChecksIds) {
  const auto tokenizer = tiny();
  EXPECT_EQ(tokenizer->token_to_id("nothing like it"), -1);
  EXPECT_EQ(tokenizer->token_to_id("\xFF"), -1);
  EXPECT_EQ(tokenizer->id_to_token(2), "<|im_end|>");
  EXPECT_THROW(tokenizer->id_to_token(-1), Error);
  EXPECT_THROW(tokenizer->id_to_token(1 << 30), Error);
  EXPECT_THROW(tokenizer->decode(std::vector<int32_t>{-5}, false), Error);
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{1 << 30, 2}, false), "<|im_end|>");
}

TEST(TokenizerEncode, BatchesAreTheSameOnAnyNumberOfThreads) {
  const auto tokenizer = tiny();
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i) {
    std::string text;
    for (int k = 0; k <= i % 97; ++k) text += k % 3 ? " hello the" : "\nworld " + std::to_string(i * k);
    texts.push_back(text);
  }
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const auto batch = tokenizer->encode_batch(views, false, 4);
  ASSERT_EQ(batch.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(batch[i], tokenizer->encode(texts[i], false)) << i;
  EXPECT_EQ(tokenizer->encode_batch(views, false, 1), batch);
  EXPECT_EQ(tokenizer->encode_batch(views, false), batch);
  EXPECT_TRUE(tokenizer->encode_batch({}, false).empty());
}

TEST(TokenizerEncode, ABadTextInABatchIsNamed) {
  const auto tokenizer = tiny();
  std::vector<std::string> texts(100, "hello");
  texts[41] = texts[77] = "\xFF";
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  for (int threads : {1, 4}) {
    try {
      tokenizer->encode_batch(views, false, threads);
      ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()).rfind("text 41: ", 0), 0u) << e.what();
    }
  }
}

TEST(TokenizerEncode, ManyThreadsShareOneTokenizer) {
  const auto tokenizer = tiny();
  const auto expected = tokenizer->encode("hello the world", false);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 200; ++k) ASSERT_EQ(tokenizer->encode("hello the world", false), expected);
    });
  }
}

TEST(TokenizerEncode, AMegabyteWithoutABlankIsFine) {
  const auto tokenizer = tiny();
  EXPECT_EQ(tokenizer->encode(std::string(1 << 20, 'x'), false).size(), size_t{1} << 20);
  EXPECT_GT(tokenizer->encode(std::string(1 << 20, ' '), false).size(), 0u);
}

}  // namespace
}  // namespace tessera
