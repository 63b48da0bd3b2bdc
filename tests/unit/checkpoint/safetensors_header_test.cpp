// The parser of safetensors headers: what it accepts, and that each kind of damage has its own error.
#include <gtest/gtest.h>

#include "checkpoint_support.h"

namespace tessera {
namespace {

std::string rejected(const std::string& header, int64_t data_bytes = 0, Code expected = Code::format) {
  std::string message;
  const Code code = error_code([&] { parse_safetensors_header(header, data_bytes); }, &message);
  EXPECT_EQ(static_cast<int>(code), static_cast<int>(expected)) << header << "\n" << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
  return message;
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

TEST(SafetensorsHeader, ReadsEntriesInFileOrder) {
  const auto entries = parse_safetensors_header(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
      R"("a":{"data_offsets":[0,4],"shape":[],"dtype":"F32"}, "e":{"dtype":"I64","shape":[0,7],"data_offsets":[4,4]}}   )",
      16);
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].name, "a");
  EXPECT_EQ(entries[0].shape, std::vector<int64_t>{});
  EXPECT_EQ(entries[0].dtype, at::kFloat);
  EXPECT_EQ(entries[1].name, "e");
  EXPECT_EQ(entries[2].name, "b");
  EXPECT_EQ(entries[2].dtype, at::kBFloat16);
  EXPECT_EQ(entries[2].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(entries[2].begin, 4);
  EXPECT_EQ(entries[2].end, 16);
}

TEST(SafetensorsHeader, AcceptsAnEmptyFileAndUnknownFields) {
  EXPECT_TRUE(parse_safetensors_header("{}", 0).empty());
  const auto entries = parse_safetensors_header(
      R"({"w":{"x":{"y":[1,{"dtype":3}]},"dtype":"U8","shape":[1],"z":null,"data_offsets":[0,1]}})", 1);
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].dtype, at::kByte);
}

TEST(SafetensorsHeader, KnowsEveryDtypeThatLibTorchHolds) {
  for (const char* name : {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "U16", "U32", "U64",
                           "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "C64"}) {
    const auto dtype = dtype_from_safetensors(name);
    ASSERT_TRUE(dtype) << name;
    EXPECT_EQ(safetensors_dtype(*dtype), name);
  }
  EXPECT_EQ(error_code([] { safetensors_dtype(at::kComplexDouble); }), Code::unsupported);
  rejected(one(R"("F4")", "[2]", "[0,1]"), 1, Code::unsupported);
  rejected(one(R"("F6_E2M3")", "[4]", "[0,3]"), 3, Code::unsupported);
  EXPECT_NE(rejected(one(R"("F33")", "[1]", "[0,4]"), 4).find("'w' has an unknown dtype 'F33'"),
            std::string::npos);
}

TEST(SafetensorsHeader, RejectsTextThatIsNoObject) {
  for (const char* text : {"", " ", "[]", "1", "null", "\"x\"", "{", "{}{}", "{} x", "\xef\xbb\xbf{}",
                           "{\"a\"", "nul", "{\"a\":{}", "{\"\xff\":1}", "{'a':1}", "{\"a\":1,}", "{/**/}"}) {
    rejected(text);
  }
  rejected(std::string("{}\0{", 4));
}

TEST(SafetensorsHeader, RejectsWrongTypes) {
  rejected(R"({"w":1})");
  rejected(R"({"w":[]})");
  rejected(R"({"w":null})");
  rejected(R"({"w":{}})");
  rejected(one("1", "[]", "[0,4]"), 4);
  rejected(one("null", "[]", "[0,4]"), 4);
  rejected(one("[\"F32\"]", "[]", "[0,4]"), 4);
  rejected(one(R"("F32")", "1", "[0,4]"), 4);
  rejected(one(R"("F32")", "{}", "[0,4]"), 4);
  rejected(one(R"("F32")", "[[1]]", "[0,4]"), 4);
  rejected(one(R"("F32")", "[1.0]", "[0,4]"), 4);
  rejected(one(R"("F32")", "[\"1\"]", "[0,4]"), 4);
  rejected(one(R"("F32")", "[true]", "[0,4]"), 4);
  rejected(one(R"("F32")", "[]", "[0]"), 4);
  rejected(one(R"("F32")", "[]", "[0,4,4]"), 4);
  rejected(one(R"("F32")", "[]", "[]"), 4);
  rejected(one(R"("F32")", "[]", "4"), 4);
  rejected(R"({"__metadata__":{"a":1}})");
  rejected(R"({"__metadata__":{"a":{"b":"c"}}})");
  rejected(R"({"__metadata__":"a"})");
  rejected(R"({"__metadata__":[]})");
}

TEST(SafetensorsHeader, RejectsMissingAndRepeatedFields) {
  EXPECT_NE(rejected(R"({"w":{"shape":[],"data_offsets":[0,4]}})", 4).find("no dtype"), std::string::npos);
  EXPECT_NE(rejected(R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4).find("no shape"), std::string::npos);
  rejected(R"({"w":{"dtype":"F32","shape":[]}})", 4);
  rejected(R"({"w":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4);
  const std::string w = R"("w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_NE(rejected("{" + w + "," + w + "}").find("twice"), std::string::npos);
  rejected(R"({"__metadata__":{},"__metadata__":{}})");
  rejected(R"({"a\u0000b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})");
}

TEST(SafetensorsHeader, RejectsSizesThatLie) {
  EXPECT_NE(rejected(one(R"("F32")", "[2]", "[0,4]"), 4).find("need 8"), std::string::npos);
  rejected(one(R"("F32")", "[1]", "[4,0]"), 4);
  rejected(one(R"("F32")", "[-1]", "[0,4]"), 4);
  rejected(one(R"("F32")", "[1]", "[-4,0]"), 4);
  EXPECT_NE(rejected(one(R"("F32")", "[2]", "[0,8]"), 4).find("of 4 data bytes"), std::string::npos);
  EXPECT_NE(rejected(one(R"("U8")", "[4294967296,4294967296]", "[0,0]")).find("64 bits"), std::string::npos);
  rejected(one(R"("U8")", "[0,4294967296,4294967296]", "[0,0]"));
  rejected(one(R"("U8")", "[18446744073709551615]", "[0,0]"));
  rejected(one(R"("U8")", "[99999999999999999999999]", "[0,0]"));
  rejected(one(R"("U8")", "[1e999]", "[0,0]"));
  rejected(one(R"("F64")", "[2305843009213693952]", "[0,0]"));
  std::string dims = "[1";
  for (int i = 0; i < 100; ++i) dims += ",1";
  rejected(one(R"("U8")", dims + "]", "[0,1]"), 1);
}

TEST(SafetensorsHeader, RejectsOverlapHolesAndTrailingBytes) {
  const auto two = [](const char* a, const char* b) {
    return cat(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)", a,
               R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)", b, "}}");
  };
  EXPECT_EQ(parse_safetensors_header(two("[4,8]", "[0,4]"), 8).size(), 2u);
  EXPECT_NE(rejected(two("[0,4]", "[2,6]"), 8).find("overlap"), std::string::npos);
  EXPECT_NE(rejected(two("[0,4]", "[0,4]"), 8).find("overlap"), std::string::npos);
  EXPECT_NE(rejected(two("[0,4]", "[5,9]"), 9).find("hole"), std::string::npos);
  EXPECT_NE(rejected(two("[1,5]", "[5,9]"), 9).find("hole"), std::string::npos);
  EXPECT_NE(rejected(two("[0,4]", "[4,8]"), 9).find("cover 8 of 9"), std::string::npos);
  rejected("{}", 1);
}

TEST(SafetensorsHeader, DeepNestingIsAnErrorAndNotAStackOverflow) {
  constexpr int kDepth = 2'000'000;
  rejected(std::string("{\"a\":") + std::string(kDepth, '['));
  rejected(R"({"w":{"x":)" + std::string(kDepth, '[') + std::string(kDepth, ']') + "}}");
  std::string objects = R"({"w":{"x":)";
  for (int i = 0; i < 200'000; ++i) objects += R"({"a":)";
  rejected(objects);
}

TEST(SafetensorsHeader, ErrorsStayOneShortLine) {
  std::string name(100'000, 'x');
  name += "\\n";
  const std::string message =
      rejected("{\"\\n" + name + R"(":{"dtype":"??","shape":[],"data_offsets":[0,0]}})");
  EXPECT_LT(message.size(), 300u);
}

TEST(SafetensorsHeader, BuildsWhatItParses) {
  std::vector<TensorEntry> entries{{"a\"b\xc3\xa9\n", at::kHalf, {3, 2}, 0, 12},
                                   {"c", at::kBool, {}, 12, 13}};
  const std::string bytes = build_safetensors_header(entries, {{"format", "pt"}});
  EXPECT_EQ(bytes.size() % 8, 0u);
  EXPECT_EQ(static_cast<unsigned char>(bytes[0]), (bytes.size() - 8) & 0xff);
  const auto parsed = parse_safetensors_header(bytes.substr(8), 13);
  ASSERT_EQ(parsed.size(), 2u);
  EXPECT_EQ(parsed[0].name, entries[0].name);
  EXPECT_EQ(parsed[0].dtype, at::kHalf);
  EXPECT_EQ(parsed[0].shape, entries[0].shape);
  EXPECT_EQ(parsed[1].end, 13);
}

TEST(WeightMap, ReadsFilesByTensorAndIgnoresTheRest) {
  const auto map = parse_weight_map(
      R"({"metadata":{"total_size":3,"x":[{"weight_map":1}]},"weight_map":{"a":"f1.safetensors","b":"f2.safetensors"},"z":[]})");
  ASSERT_EQ(map.size(), 2u);
  EXPECT_EQ(map.at("a"), "f1.safetensors");
}

TEST(WeightMap, RejectsHostileText) {
  for (const char* text :
       {"[]", "{}", "{\"weight_map\":[]}", "{\"weight_map\":1}", "{\"weight_map\":null}",
        "{\"weight_map\":{\"a\":1}}", "{\"weight_map\":{\"a\":[]}}", "{\"weight_map\":{\"a\":{}}}",
        "{\"weight_map\":{\"a\":\"../x\"}}", "{\"weight_map\":{\"a\":\"/etc/passwd\"}}",
        "{\"weight_map\":{\"a\":\"\"}}", "{\"weight_map\":{\"a\":\"..\"}}",
        "{\"weight_map\":{\"a\":\"b\\\\c\"}}", "{\"weight_map\":{\"a\":\"b\\u0000c\"}}",
        "{\"weight_map\":{\"a\":\"b\",\"a\":\"c\"}}", "{\"weight_map\":{},\"weight_map\":{}}",
        "{\"weight_map\":{"}) {
    std::string message;
    EXPECT_EQ(error_code([&] { parse_weight_map(text); }, &message), Code::format) << text << "\n" << message;
  }
}

}  // namespace
}  // namespace tessera
