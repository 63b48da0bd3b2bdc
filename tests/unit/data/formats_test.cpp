// Each data.format gives the tokens and labels its rows mean, and says what is wrong with bad ones.
#include <gtest/gtest.h>

#include "core/error.h"
#include "data/dataset.h"
#include "data/row_formats.h"
#include "data/row_reader.h"
#include "data/tokenizer.h"
#include "data_directory.h"

namespace tessera {
namespace {

using Ids = std::vector<int32_t>;

// One token per lower-case letter, blank and newline, "<eos>", and the roles' names.
constexpr const char* kTemplate =
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<eos>"
    "{% endgeneration %}{% else %}{{ m.content }}<eos>{% endif %}{% endfor %}";

class DataFormats : public ::testing::Test {
 protected:
  DataFormats() {
    std::string vocab;
    int id = 0;
    for (const char* extra : {" ", "\\n"}) vocab += cat("\"", extra, "\":", id++, ",");
    for (char c = 'a'; c <= 'z'; ++c) vocab += cat(c == 'a' ? "\"" : ",\"", c, "\":", id++);
    std::string added;
    for (const char* token : {"<eos>", "<user>", "<assistant>", "<system>", "<tool>"})
      added += cat(added.empty() ? "" : ",", "{\"id\":", id++, ",\"content\":\"", token,
                   "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
                   "\"special\":true}");
    directory_.write(
        "tokenizer.json",
        cat("{\"version\":\"1.0\",\"added_tokens\":[", added,
            "],\"normalizer\":null,\"pre_tokenizer\":null,\"post_processor\":null,\"decoder\":null,"
            "\"model\":{\"type\":\"BPE\",\"vocab\":{",
            vocab, "},\"merges\":[]}}"));
    directory_.write("tokenizer_config.json",
                     cat("{\"eos_token\":\"<eos>\",\"chat_template\":\"", kTemplate, "\"}"));
    tokenizer_ = Tokenizer::open(directory_.path(""));
  }

  DatasetOptions options(const std::string& format) const {
    DatasetOptions out;
    out.format = format;
    out.tokenizer = directory_.path("");
    return out;
  }
  /// "tokens|labels", with '.' where a label is ignored.
  std::string convert(const DatasetOptions& options, const std::string& row) const {
    const std::vector<TokenRow> rows = make_row_format(options).row(row);
    EXPECT_EQ(rows.size(), 1u);
    std::string labels;
    for (const int32_t id : rows[0].labels) labels += id == -100 ? "." : tokenizer_->id_to_token(id);
    std::string tokens;
    for (const int32_t id : rows[0].tokens) tokens += tokenizer_->id_to_token(id);
    return tokens + "|" + labels;
  }
  std::string reason(const DatasetOptions& options, const std::string& row) const {
    try {
      make_row_format(options).row(row);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::format) << error.what();
      return error.what();
    }
    return "accepted";
  }

  DataDirectory directory_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_F(DataFormats, FourShapesOfTheSameConversation) {
  const std::string expected = "<user>hi<eos><assistant>yo<eos>|.....yo<eos>";
  EXPECT_EQ(convert(options("chat"),
                    R"({"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"yo"}]})"),
            expected);
  EXPECT_EQ(convert(options("sharegpt"),
                    R"({"conversations":[{"from":"human","value":"hi"},{"from":"gpt","value":"yo"}]})"),
            expected);
  EXPECT_EQ(convert(options("alpaca"), R"({"instruction":"hi","input":"","output":"yo"})"), expected);
  DatasetOptions prompt = options("prompt");
  prompt.column_prompt = "question";
  prompt.column_completion = "answer";
  EXPECT_EQ(convert(prompt, R"({"question":"hi","answer":"yo"})"), expected);
  EXPECT_EQ(convert(prompt, R"({"question":[{"role":"user","content":"hi"}],"answer":"yo"})"), expected);
}

TEST_F(DataFormats, APromptOfSeveralTurnsIsNotTrainedOn) {
  const std::string turns =
      R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}])";
  EXPECT_EQ(convert(options("prompt"), cat("{\"prompt\":", turns, ",\"completion\":\"d\"}")),
            "<user>a<eos><assistant>b<eos><user>c<eos><assistant>d<eos>|..........d<eos>");
  const std::string asked =
      R"([{"role":"user","content":"a"},{"role":"assistant","content":"b","train":true},{"role":"user","content":"c"}])";
  EXPECT_EQ(convert(options("prompt"), cat("{\"prompt\":", asked, ",\"completion\":\"d\"}")),
            "<user>a<eos><assistant>b<eos><user>c<eos><assistant>d<eos>|....b<eos>....d<eos>")
      << "unless a message says so itself";
}

TEST_F(DataFormats, SystemTextInputAndHistoryHaveTheirPlaces) {
  EXPECT_EQ(convert(options("alpaca"),
                    R"({"system":"s","instruction":"c","input":"d","output":"e","history":[["a","b"]]})"),
            "<system>s<eos><user>a<eos><assistant>b<eos><user>c\n\nd<eos><assistant>e<eos>"
            "|.......b<eos>.......e<eos>");
  DatasetOptions last = options("alpaca");
  last.last_turn_only = true;
  EXPECT_EQ(convert(last, R"({"instruction":"c","output":"e","history":[["a","b"]]})"),
            "<user>a<eos><assistant>b<eos><user>c<eos><assistant>e<eos>|..........e<eos>");
}

TEST_F(DataFormats, TextRowsEndWithEos) {
  EXPECT_EQ(convert(options("text"), R"({"text":"ab"})"), "ab<eos>|ab<eos>");
  DatasetOptions bare = options("text");
  bare.append_eos = false;
  bare.column_text = "body";
  EXPECT_EQ(convert(bare, R"({"body":"ab"})"), "ab|ab");
}

TEST_F(DataFormats, BadRowsHaveTheirReason) {
  EXPECT_EQ(reason(options("chat"), R"({"text":"x"})"), "field messages is missing");
  EXPECT_EQ(reason(options("chat"), R"({"messages":"x"})"), "field messages is not a list of messages");
  EXPECT_EQ(reason(options("chat"), R"({"messages":[]})"), "field messages is not a list of messages");
  EXPECT_NE(reason(options("chat"), R"({"messages":[{"role":"wizard","content":"x"}]})").find("wizard"),
            std::string::npos);
  EXPECT_EQ(reason(options("chat"), R"({"messages":[{"role":"user","content":"x"}]})").substr(0, 22),
            "no label to learn from");
  EXPECT_EQ(reason(options("sharegpt"), R"({"conversations":[{"from":"alien","value":"x"}]})"),
            "conversations[0].from=alien is an unknown role");
  EXPECT_EQ(reason(options("sharegpt"), R"({"conversations":[{"from":"human"}]})"),
            "conversations[0] has no text field value");
  EXPECT_EQ(reason(options("alpaca"), R"({"instruction":"x"})"), "field output is missing");
  EXPECT_EQ(reason(options("alpaca"), R"({"instruction":3,"output":"x"})"),
            "field instruction is not text but number");
  EXPECT_EQ(reason(options("prompt"), R"({"prompt":"x","completion":null})"),
            "field completion is not text but null");
  EXPECT_EQ(reason(options("text"), R"(["x"])"), "the row is not a JSON object but array");
  EXPECT_EQ(reason(options("text"), "{").substr(0, 16), "bad JSON at byte");
  EXPECT_EQ(reason(options("text"), "{\"text\":\"\xff\"}").substr(0, 16), "bad JSON at byte");
}

TEST_F(DataFormats, PlainTextIsOneDocumentCutIntoPieces) {
  DatasetOptions text = options("text");
  std::string content;
  for (int i = 0; i < 100000; ++i) content += "line of text\n";
  text.paths = {directory_.write("book.txt", content)};
  text.seq_len = 1000;
  auto dataset = open_dataset(text);
  const auto tokens = static_cast<int64_t>(content.size()) + 1;
  EXPECT_EQ(dataset->report().labels, tokens - 1) << "only the first token of the text is never predicted";
  EXPECT_EQ(dataset->report().documents, tokens / 1000) << "the last token alone has nothing to predict";
}

TEST_F(DataFormats, AJsonArrayHasARowInEachElement) {
  DatasetOptions alpaca = options("alpaca");
  alpaca.paths = {directory_.write("rows.json",
                                   "\n[\n {\"instruction\":\"a\",\"output\":\"],}\\\"\"},\n "
                                   "{\"instruction\":\"b\",\n\"output\":\"c\"}\n]\n")};
  alpaca.paths = {directory_.write("good.json",
                                   "\n[\n {\"instruction\":\"a\",\"output\":\"x],}\\\"[\"},\n "
                                   "{\"instruction\":\"b\",\n\"output\":\"c\"}\n]\n")};
  EXPECT_EQ(open_dataset(alpaca)->report().documents, 2);
  alpaca.paths = {
      directory_.write("bad.json", "[\n{\"instruction\":\"a\",\"output\":\"x\"},\n{\"instruction\":4}]")};
  try {
    open_dataset(alpaca);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), alpaca.paths[0] + ":3: field instruction is not text but number");
  }
  alpaca.paths = {directory_.write("cut.json", "[\n{\"instruction\":\"a\",")};
  EXPECT_THROW(open_dataset(alpaca), Error);
  alpaca.paths = {directory_.write("empty.json", " [ ] ")};
  EXPECT_THROW(open_dataset(alpaca), Error);
}

TEST_F(DataFormats, HostileRowsAreBadRowsWithTheirLine) {
  const std::string good =
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"x":)";
  const std::string open(2'000'000, '['), close(2'000'000, ']');
  const std::pair<std::string, const char*> cases[] = {
      {"{\"messages\":" + open + close + "}", "nested deeper than 100"},
      {good + "1,\"tools\":" + open + close + "}", "nested deeper than 100"},
      {good + "1,\"tools\":\"" + open + close + "\"}", "nested deeper than 100"},
      {good + "1e999}", "a number is too large"},
      {R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":2}]})",
       "message 1: weight=2 is neither 0 nor 1"},
  };
  DatasetOptions chat = options("chat");
  for (const auto& [row, reason] : cases) {
    chat.paths = {directory_.write("rows.jsonl", good + "1}\n" + row + "\n")};
    chat.on_error = "fail";
    try {
      open_dataset(chat);
      ADD_FAILURE() << reason;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::format);
      EXPECT_NE(std::string(error.what()).find(chat.paths[0] + ":2: "), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
    }
    chat.on_error = "skip";
    EXPECT_EQ(open_dataset(chat)->report().bad_rows, 1) << reason;
  }
}

TEST_F(DataFormats, OptionsAreChecked) {
  DatasetOptions chat = options("chat");
  chat.vocab_size = 3;
  EXPECT_THROW(make_row_format(chat), Error);
  chat = options("chat");
  chat.tokenizer = "";
  EXPECT_THROW(make_row_format(chat), Error);
  EXPECT_THROW(make_row_format(options("parquet")), Error);
}

TEST_F(DataFormats, AStreamOfAPlainTextHasTheTokensOfTheTextHeldWhole) {
  std::string text;
  for (int line = 0; line < 30000; ++line)
    text += cat("line ", std::string(1 + line % 40, 'a' + line % 26), "\n");
  DatasetOptions stream = options("text");
  stream.paths = {directory_.write("long.txt", text)};
  stream.seq_len = 997;  // no piece of one token, which would have no label and be left out
  stream.epochs = 1;
  const auto tokens = [](const DatasetOptions& options) {
    std::vector<int64_t> out;
    auto dataset = open_dataset(options);
    std::vector<PackedBatch> microbatches;
    while (dataset->next(microbatches)) {
      const PackedBatch& batch = microbatches.at(0);
      const int64_t* ids = batch.tokens.const_data_ptr<int64_t>();
      out.insert(out.end(), ids, ids + batch.tokens_count());
    }
    return out;
  };
  const std::vector<int64_t> whole = tokens(stream);
  ASSERT_GT(whole.size(), 600'000u) << "more than one part";
  stream.streaming = true;
  EXPECT_EQ(tokens(stream), whole);
}

}  // namespace
}  // namespace tessera
