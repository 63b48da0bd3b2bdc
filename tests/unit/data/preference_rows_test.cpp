// Preference pairs: every shape that datasets have them in, whose labels are learnt, and pairs that stay
// together.
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "core/error.h"
#include "data/dataset.h"
#include "data/document_store.h"
#include "data/row_formats.h"
#include "data/tokenizer.h"
#include "data_directory.h"
#include "tiny_tokenizer.h"

namespace tessera {
namespace {

using V = std::vector<int64_t>;

constexpr const char* kTemplate =
    "{% for m in messages %}[{{ m.role[0] }}]{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}";

class Preference : public ::testing::Test {
 protected:
  Preference() {
    directory_.write("tokenizer.json", testing::tiny_tokenizer().dump());
    write_config(kTemplate);
    tokenizer_ = Tokenizer::open(directory_.path(""));
  }
  void write_config(const std::string& chat_template) {
    nlohmann::json config = {{"eos_token", "<|im_end|>"}};
    if (!chat_template.empty()) config["chat_template"] = chat_template;
    directory_.write("tokenizer_config.json", config.dump());
  }
  DatasetOptions options() const {
    DatasetOptions out;
    out.format = "preference";
    out.tokenizer = directory_.path("");
    return out;
  }
  /// Both documents as text, what is learnt in braces, with a line between them.
  std::string convert(const DatasetOptions& options, const std::string& row) const {
    std::string out;
    for (const TokenRow& document : make_row_format(options).row(row)) {
      if (!out.empty()) out += "\n";
      bool learnt = false;
      for (size_t i = 0; i < document.tokens.size(); ++i) {
        if ((document.labels[i] != kIgnoredLabel) != learnt) out += learnt ? "}" : "{";
        learnt = document.labels[i] != kIgnoredLabel;
        if (learnt) {
          EXPECT_EQ(document.labels[i], document.tokens[i]);
        }
        out += tokenizer_->decode(std::vector<int32_t>{document.tokens[i]}, false);
      }
      if (learnt) out += "}";
    }
    for (size_t at; (at = out.find("<|im_end|>")) != std::string::npos;) out.replace(at, 10, ".");
    return out;
  }
  std::string reason(const std::string& row) const {
    try {
      make_row_format(options()).row(row);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::format) << error.what();
      return error.what();
    }
    return "accepted";
  }

  DataDirectory directory_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_F(Preference, AllShapesMeanTheSamePair) {
  const std::string user = R"({"role":"user","content":"q"})";
  const auto said = [](const char* text) { return cat(R"({"role":"assistant","content":")", text, "\"}"); };
  const std::vector<std::string> shapes = {
      R"({"prompt":"q","chosen":"good","rejected":"bad"})",
      cat("{\"prompt\":[", user, "],\"chosen\":[", said("good"), "],\"rejected\":[", said("bad"), "]}"),
      cat("{\"chosen\":[", user, ",", said("good"), "],\"rejected\":[", user, ",", said("bad"), "]}"),
      // The prompt as text, and once more in each answer.
      cat("{\"prompt\":\"q\",\"chosen\":[", user, ",", said("good"), "],\"rejected\":[", user, ",",
          said("bad"), "]}"),
      cat("{\"prompt\":[", user, "],\"chosen\":[", user, ",", said("good"), "],\"rejected\":[", user, ",",
          said("bad"), "]}"),
      cat("{\"prompt\":\"q\",\"chosen\":[", said("good"), "],\"rejected\":[", said("bad"), "]}")};
  DatasetOptions both = options();
  both.preference = "both";
  for (const std::string& shape : shapes) {
    SCOPED_TRACE(shape);
    EXPECT_EQ(convert(options(), shape), "[u]q.[a]{good.}\n[u]q.[a]bad.");
    EXPECT_EQ(convert(both, shape), "[u]q.[a]{good.}\n[u]q.[a]{bad.}");
  }
}

TEST_F(Preference, WhatBothBeginWithIsTheirPrompt) {
  DatasetOptions both = options();
  both.preference = "both";
  EXPECT_EQ(convert(both, R"({"chosen":"say: yes","rejected":"say: no"})"), "say: {yes.}\nsay: {no.}");
  const std::string turns =
      R"({"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},)";
  EXPECT_EQ(convert(both, cat("{\"chosen\":[", turns, R"({"role":"assistant","content":"d"}],"rejected":[)",
                              turns, R"({"role":"assistant","content":"e"}]})")),
            "[u]a.[a]b.[u]c.[a]{d.}\n[u]a.[a]b.[u]c.[a]{e.}");
  EXPECT_EQ(convert(both, R"({"system":"s","prompt":"q","chosen":"d","rejected":"e"})"),
            "[s]s.[u]q.[a]{d.}\n[s]s.[u]q.[a]{e.}");
  DatasetOptions named = both;
  named.column_prompt = "question";
  named.column_chosen = "win";
  named.column_rejected = "lose";
  EXPECT_EQ(convert(named, R"({"question":"q","win":"d","lose":"e"})"), "[u]q.[a]{d.}\n[u]q.[a]{e.}");
}

TEST_F(Preference, TextsNeedNoTemplate) {
  write_config("");
  EXPECT_EQ(convert(options(), R"({"chosen":"x yes","rejected":"x no"})"), "x {yes.}\nx no.");
  try {
    make_row_format(options()).row(R"({"prompt":"q","chosen":"yes","rejected":"no"})");
    ADD_FAILURE() << "a conversation without a template";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::not_found) << error.what();
  }
}

TEST_F(Preference, BadRowsHaveTheirReason) {
  EXPECT_EQ(reason(R"({"prompt":"q","chosen":"a"})"), "field rejected is missing");
  EXPECT_EQ(reason(R"({"prompt":"q","rejected":"a"})"), "field chosen is missing");
  EXPECT_EQ(reason(R"({"prompt":"q","chosen":7,"rejected":"a"})"),
            "field chosen is neither text nor a list of messages");
  EXPECT_EQ(reason(R"({"prompt":"q","chosen":[],"rejected":[]})"),
            "field chosen is neither text nor a list of messages");
  EXPECT_EQ(reason(R"({"prompt":"q","chosen":"a","rejected":[{"role":"assistant","content":"b"}]})"),
            "of chosen and rejected one is text, the other a list");
  EXPECT_EQ(reason(R"({"prompt":7,"chosen":"a","rejected":"b"})"), "field prompt is not text but number");
  EXPECT_NE(reason(R"({"chosen":"same","rejected":"same"})").find("no label to learn from"),
            std::string::npos);
  EXPECT_NE(reason(R"({"chosen":["x"],"rejected":["y"]})"), "accepted");
  EXPECT_NE(
      reason(R"({"chosen":[{"role":"alien","content":"x"}],"rejected":[{"role":"alien","content":"y"}]})"),
      "accepted");
}

/// Pairs of lengths that differ; document 2k and 2k+1 hold tokens of that value only.
std::string pair_rows(int pairs, int longest) {
  std::string text;
  for (int k = 0; k < 2 * pairs; ++k) {
    text += cat("{\"input_ids\":[", k);
    for (int i = 1; i < 2 + k * 37 % longest; ++i) text += cat(",", k);
    text += "]}\n";
  }
  return text;
}

/// The rows of one epoch: of each the documents, by value and length.
std::vector<std::vector<std::pair<int64_t, int64_t>>> rows_of(const DatasetOptions& options) {
  std::vector<std::vector<std::pair<int64_t, int64_t>>> rows;
  auto dataset = open_dataset(options);
  for (std::vector<PackedBatch> step; dataset->next(step);) {
    for (const PackedBatch& batch : step) {
      const auto* real = batch.cu_seqlens.const_data_ptr<int32_t>();
      const auto* padded = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
      rows.emplace_back();
      if (batch.label_count == 0) continue;
      for (int64_t i = 0; i < batch.documents(); ++i)
        rows.back().emplace_back(batch.tokens.const_data_ptr<int64_t>()[padded[i]], real[i + 1] - real[i]);
    }
  }
  return rows;
}

TEST_F(Preference, PairsShareARowUnderEveryPackerAndFollowTheRuleForLongDocuments) {
  DatasetOptions options;
  options.paths = {directory_.write("pairs.jsonl", pair_rows(60, 50))};
  options.group = 2;
  options.seq_len = 64;
  options.epochs = 1;
  options.packing_effort = 10000;
  for (const char* packer : {"none", "next_fit", "first_fit", "ffd", "bfd", "wfd", "optimal"}) {
    for (const bool streaming : {false, true}) {
      for (const char* rule : {"truncate", "drop"}) {
        SCOPED_TRACE(cat(packer, " ", rule, streaming ? " stream" : ""));
        options.packing = packer;
        options.streaming = streaming;
        options.long_documents = rule;
        int64_t documents = 0;
        int64_t cut = 0;
        for (const auto& row : rows_of(options)) {
          ASSERT_EQ(row.size() % 2, 0u);
          int64_t tokens = 0;
          for (size_t i = 0; i < row.size(); i += 2) {
            EXPECT_EQ(row[i].first % 2, 0);
            EXPECT_EQ(row[i].first + 1, row[i + 1].first);
            const int64_t lengths[] = {2 + row[i].first * 37 % 50, 2 + row[i + 1].first * 37 % 50};
            const int64_t kept = row[i].second + row[i + 1].second;
            EXPECT_EQ(kept, std::min<int64_t>(64, lengths[0] + lengths[1]));
            cut += kept < lengths[0] + lengths[1];
            tokens += kept;
            documents += 2;
          }
          EXPECT_LE(tokens, 64);
        }
        EXPECT_EQ(cut > 0, std::string(rule) == "truncate");
        EXPECT_EQ(documents == 120, std::string(rule) == "truncate");
        EXPECT_GT(documents, 60);
      }
    }
  }
}

TEST_F(Preference, PairsOutOfFilesAreOneRowEach) {
  std::string text;
  for (int k = 0; k < 20; ++k)
    text += cat(R"({"prompt":"q)", k, R"(","chosen":")", std::string(1 + k % 7, 'c'), R"(","rejected":")",
                std::string(1 + k % 5, 'r'), "\"}\n");
  text += "{\"prompt\":\"q\"}\n";
  DatasetOptions options = this->options();
  options.paths = {directory_.write("pairs.jsonl", text)};
  options.packing = "bfd";
  options.seq_len = 60;
  options.epochs = 1;
  options.on_error = "skip";
  for (const bool streaming : {false, true}) {
    options.streaming = streaming;
    auto dataset = open_dataset(options);
    int64_t documents = 0;
    int64_t labels = 0;
    for (std::vector<PackedBatch> step; dataset->next(step);) {
      for (const PackedBatch& batch : step) {
        EXPECT_EQ(batch.documents() % 2, 0);
        documents += batch.documents();
        labels += batch.label_count;
      }
    }
    EXPECT_EQ(documents, 40);
    EXPECT_EQ(dataset->report().bad_rows, 1);
    int64_t expected = 0;
    for (int k = 0; k < 20; ++k) expected += 1 + k % 7 + 1;
    EXPECT_EQ(labels, expected) << "the rejected answers are there, but not learnt";
  }
}

TEST(DocumentGroups, CutTheLongerOnesToOneLength) {
  EXPECT_EQ(cut_to_fit(V{10, 90}, 50, 1), (V{10, 40}));
  EXPECT_EQ(cut_to_fit(V{90, 10}, 50, 1), (V{40, 10}));
  EXPECT_EQ(cut_to_fit(V{90, 90}, 50, 1), (V{25, 25}));
  EXPECT_EQ(cut_to_fit(V{5, 90, 90, 7}, 48, 8), (V{5, 16, 16, 7}));
  EXPECT_EQ(cut_to_fit(V{int64_t{1} << 62, int64_t{1} << 62}, 8, 1), (V{4, 4}));
  EXPECT_THROW(cut_to_fit(V{5, 5, 5}, 16, 8), Error);
  EXPECT_TRUE(fit_together(V{8, 8}, 16, 8));
  EXPECT_FALSE(fit_together(V{9, 8}, 23, 8));
  EXPECT_FALSE(fit_together(V{int64_t{1} << 62, int64_t{1} << 62, 2}, 23, 8));
}

TEST(DocumentGroups, ABadRowTakesItsGroupWithIt) {
  const std::vector<int32_t> two = {1, 2}, nine(9, 1);
  DocumentStoreBuilder builder(10, LongDocuments::drop, {}, {2, 1, 1});
  builder.add(two, two);
  builder.add_bad_row();
  builder.add(two, two);
  builder.add(two, two);
  builder.add(two, two);
  builder.add(nine, nine);
  EXPECT_THROW(
      {
        builder.add(two, two);
        builder.check_complete();
      },
      Error);
  builder.add(two, two);
  const auto store = builder.finish();
  EXPECT_EQ(store->size(), 4);
  EXPECT_EQ(store->counts().bad_rows, 1);
  EXPECT_EQ(store->counts().dropped, 1 + 2);
  EXPECT_EQ(store->counts().rows, 8);
}

TEST(DocumentGroups, UnderTheRuleErrorTheLastRowIsTheBadOne) {
  const std::vector<int32_t> two = {1, 2}, nine(9, 1);
  for (const int64_t per_row : {1, 2}) {
    DocumentStoreBuilder builder(10, LongDocuments::error, {}, {2, per_row, 1});
    builder.add(two, two);
    EXPECT_THROW(builder.add(nine, nine), Error);
    builder.add_bad_row();
    builder.add(two, two);
    builder.add(two, two);
    const auto store = builder.finish();
    EXPECT_EQ(store->size(), 2);
    EXPECT_EQ(store->counts().bad_rows, 1);
    EXPECT_EQ(store->counts().rows, 4 / per_row);
  }
}

}  // namespace
}  // namespace tessera
