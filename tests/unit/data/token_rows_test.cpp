// Token rows: what is accepted, and the reason given for everything that is not.
#include <gtest/gtest.h>

#include "core/error.h"
#include "data/token_rows.h"

namespace tessera {
namespace {

std::string reason(std::string_view text, int64_t vocab = 100) {
  try {
    parse_token_row(text, vocab);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::format);
    return error.what();
  }
  return "accepted";
}

using Ids = std::vector<int32_t>;

TEST(DataTokenRows, LabelsDefaultToTheTokens) {
  const TokenRow row = parse_token_row(R"({"input_ids":[1,2,3]})", 100);
  EXPECT_EQ(row.tokens, Ids({1, 2, 3}));
  EXPECT_EQ(row.labels, Ids({1, 2, 3}));
}

TEST(DataTokenRows, BothParsersAgree) {
  const TokenRow fast = parse_token_row(R"({"input_ids":[1,2,3],"labels":[-100,2,3]})", 100);
  const TokenRow full = parse_token_row(
      R"( {"id":{"a":[[1],{"input_ids":[9]}]}, "labels" : [ -100,2 , 3 ] ,"input_ids":[1,2,3], "x":"A"} )",
      100);
  EXPECT_EQ(fast.tokens, full.tokens);
  EXPECT_EQ(fast.labels, full.labels);
}

// Row k stays document k: a row whose answer was masked or cut off takes part and counts nothing.
TEST(DataTokenRows, RowsWithoutALabelAreDocumentsToo) {
  EXPECT_EQ(parse_token_row(R"({"input_ids":[1,2],"labels":[-100,-100]})", 100).labels.size(), 2U);
  EXPECT_EQ(parse_token_row(R"({"input_ids":[7]})", 100).tokens.size(), 1U);
}

TEST(DataTokenRows, EveryBadRowHasItsReason) {
  EXPECT_EQ(reason(R"({"labels":[1]})"), "input_ids is missing");
  EXPECT_EQ(reason(R"({"input_ids":[],"labels":[]})"), "input_ids is empty");
  EXPECT_EQ(reason(R"({"input_ids":[1,2],"labels":[1]})"), "labels has 1 entries, input_ids has 2");
  EXPECT_EQ(reason(R"({"input_ids":[1,100]})"), "input_ids[1]=100 is outside the vocabulary of 100");
  EXPECT_EQ(reason(R"({"input_ids":[1,-1]})"), "input_ids[1]=-1 is outside the vocabulary of 100");
  EXPECT_EQ(reason(R"({"input_ids":[1,2],"labels":[1,-5]})"),
            "labels[1]=-5 is neither -100 nor inside the vocabulary of 100");
  EXPECT_EQ(reason(R"({"input_ids":[1,2.5]})"), "input_ids[1]=2.5 is not an integer of 32 bits");
  EXPECT_EQ(reason(R"({"input_ids":[1,1e3]})"), "input_ids[1]=1e3 is not an integer of 32 bits");
  EXPECT_EQ(reason(R"({"input_ids":[1,"2"]})"), "input_ids[1]=\"2\" is not an integer of 32 bits");
  EXPECT_EQ(reason(R"({"input_ids":[1,[2]]})"), "input_ids[1]=an array is not an integer of 32 bits");
  EXPECT_EQ(reason(R"({"input_ids":[4294967296,1]})"), "input_ids[0]=4294967296 does not fit 32 bits");
  EXPECT_EQ(reason(R"({"input_ids":[-9223372036854775808,1]})"),
            "input_ids[0]=-9223372036854775808 does not fit 32 bits");
  EXPECT_EQ(reason(R"({"input_ids":[99999999999999999999999,1]})"),
            "input_ids[0]=99999999999999999999999 is not an integer of 32 bits");
  EXPECT_EQ(reason(R"({"input_ids":{"a":1}})"), "input_ids is not an array but an object");
  EXPECT_EQ(reason(R"({"input_ids":null})"), "input_ids is not an array but null");
  EXPECT_EQ(reason(R"({"input_ids":[1,2],"input_ids":[1,2]})"), "input_ids occurs twice");
  EXPECT_EQ(reason(R"([1,2])"), "the row is not a JSON object but an array");
  EXPECT_EQ(reason("12"), "the row is not a JSON object but 12");
  for (const char* broken :
       {"", "{", R"({"input_ids":[1,2})", R"({"input_ids":[1,02]})", R"({"input_ids":[1,2]} x)",
        R"({"input_ids":[1,,2]})", "{\"a\":\"\xff\",\"input_ids\":[1,2]}", "\xc3\x28"})
    EXPECT_EQ(reason(broken).substr(0, 16), "bad JSON at byte") << broken;
  EXPECT_EQ(reason(R"({"x":31e999,"input_ids":[1,2]})"),
            "bad JSON at byte 11: number overflow parsing '31e999'");
}

TEST(DataTokenRows, DeepNestingIsReadOverOrRefusedWithoutOverflow) {
  const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
  EXPECT_EQ(reason("{\"x\":" + deep + ",\"input_ids\":[1,2]}"), "accepted");
  EXPECT_EQ(reason("{\"input_ids\":[1," + deep + "]}"), "input_ids[1]=an array is not an integer of 32 bits");
}

TEST(DataTokenRows, WithoutAVocabularyAnyNonNegativeIdGoes) {
  EXPECT_EQ(reason(R"({"input_ids":[2147483647,1]})", 0), "accepted");
  EXPECT_EQ(reason(R"({"input_ids":[2147483648,1]})", 0), "input_ids[0]=2147483648 does not fit 32 bits");
}

}  // namespace
}  // namespace tessera
