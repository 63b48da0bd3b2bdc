// config.json becomes a ModelConfig, or an error that names the key and the value; nothing in it can crash
// the reader.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "models/model.h"

namespace tessera {
namespace {

using nlohmann::json;

json llama() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"vocab_size", 100},
          {"hidden_size", 72},
          {"intermediate_size", 96},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 6},
          {"num_key_value_heads", 2}};
}

json with(json config, const std::string& key, const json& value) {
  config[key] = value;
  return config;
}

json without(json config, const std::string& key) {
  config.erase(key);
  return config;
}

/// The error of parsing `text`, as "code: message"; empty when there is none.
std::string error_of(const std::string& text) {
  try {
    parse_model_config(text);
  } catch (const Error& error) {
    return cat(static_cast<int>(error.code()), ": ", error.what());
  }
  return "";
}
std::string error_of(const json& config) {
  return error_of(config.dump());
}

const std::string kFormat = "12: ";
const std::string kUnsupported = "14: ";

TEST(ModelConfigTest, LlamaDefaultsAreThoseOfTransformers) {
  const ModelConfig config = parse_model_config(llama().dump());
  EXPECT_EQ(config.architecture, "LlamaForCausalLM");
  EXPECT_EQ(config.head_dim, 12);
  EXPECT_EQ(config.max_positions, 2048);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::none);
  EXPECT_FALSE(config.tie_embeddings);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_EQ(config.sliding_window, std::vector<int64_t>({0, 0, 0}));
  EXPECT_EQ(config.dtype, "float32");
  EXPECT_EQ(config.raw, llama().dump());
  EXPECT_EQ(parse_model_config(with(llama(), "num_key_value_heads", nullptr).dump()).num_kv_heads, 6);
}

TEST(ModelConfigTest, BothStylesOfRopeParametersAreRead) {
  json old_style = llama();
  old_style["rope_theta"] = 500000.0;
  old_style["rope_scaling"] = {{"type", "llama3"},
                               {"factor", 8.0},
                               {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0},
                               {"original_max_position_embeddings", 64}};
  json new_style = llama();
  new_style["rope_parameters"] = old_style["rope_scaling"];
  new_style["rope_parameters"]["rope_theta"] = 500000.0;
  new_style["rope_parameters"]["rope_type"] = "llama3";
  for (const json& style : {old_style, new_style}) {
    const ModelConfig config = parse_model_config(style.dump());
    EXPECT_EQ(config.rope_theta, 500000.0);
    EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::llama3);
    EXPECT_EQ(config.rope_scaling.factor, 8.0);
    EXPECT_EQ(config.rope_scaling.original_max_positions, 64);
  }
  const ModelConfig linear =
      parse_model_config(with(llama(), "rope_scaling", {{"rope_type", "linear"}, {"factor", 2}}).dump());
  EXPECT_EQ(linear.rope_scaling.kind, RopeScaling::Kind::linear);
  EXPECT_EQ(linear.rope_scaling.factor, 2.0);
}

TEST(ModelConfigTest, TheDtypeIsReadUnderBothNames) {
  EXPECT_EQ(parse_model_config(with(llama(), "dtype", "bfloat16").dump()).dtype, "bfloat16");
  EXPECT_EQ(parse_model_config(with(llama(), "torch_dtype", "float16").dump()).dtype, "float16");
  EXPECT_EQ(error_of(with(llama(), "dtype", "int8")),
            kUnsupported + "dtype=\"int8\" is not supported: float32, bfloat16, float16 and float64 are");
}

TEST(ModelConfigTest, MistralWindowIsItsDefaultNullOrANumber) {
  json config = with(llama(), "architectures", {"MistralForCausalLM"});
  EXPECT_EQ(parse_model_config(config.dump()).sliding_window, std::vector<int64_t>(3, 4096));
  EXPECT_EQ(parse_model_config(with(config, "sliding_window", nullptr).dump()).sliding_window,
            std::vector<int64_t>(3, 0));
  EXPECT_EQ(parse_model_config(with(config, "sliding_window", 7).dump()).sliding_window,
            std::vector<int64_t>(3, 7));
}

TEST(ModelConfigTest, Qwen2WindowFollowsTheSwitchAndTheLayers) {
  json config = with(llama(), "architectures", {"Qwen2ForCausalLM"});
  config["sliding_window"] = 5;
  config["max_window_layers"] = 1;
  EXPECT_TRUE(parse_model_config(config.dump()).qkv_bias);
  EXPECT_FALSE(parse_model_config(config.dump()).attention_bias);
  EXPECT_EQ(parse_model_config(config.dump()).sliding_window, std::vector<int64_t>(3, 0));
  config["use_sliding_window"] = true;
  EXPECT_EQ(parse_model_config(config.dump()).sliding_window, std::vector<int64_t>({0, 5, 5}));
  config["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention"};
  EXPECT_EQ(parse_model_config(config.dump()).sliding_window, std::vector<int64_t>({5, 0, 5}));
  EXPECT_EQ(error_of(with(config, "layer_types", {"full_attention"})),
            kFormat + "layer_types has 1 entries for num_hidden_layers=3");
  EXPECT_EQ(
      error_of(with(config, "use_sliding_window", false)),
      kFormat + "layer_types[0]=\"sliding_attention\" needs use_sliding_window=true and a sliding_window");
}

TEST(ModelConfigTest, Qwen3HasNormsOnTheHeadsAndItsOwnHeadDim) {
  const json config = with(llama(), "architectures", {"Qwen3ForCausalLM"});
  EXPECT_TRUE(parse_model_config(config.dump()).qk_norm);
  EXPECT_EQ(parse_model_config(config.dump()).head_dim, 128);
  EXPECT_EQ(parse_model_config(with(config, "head_dim", 20).dump()).head_dim, 20);
}

TEST(ModelConfigTest, WithoutArchitecturesTheModelTypeDecides) {
  EXPECT_EQ(parse_model_config(without(llama(), "architectures").dump()).architecture, "LlamaForCausalLM");
}

TEST(ModelConfigTest, MissingAndWrongValuesAreNamed) {
  EXPECT_EQ(error_of(without(llama(), "hidden_size")), kFormat + "config.json lacks hidden_size");
  EXPECT_EQ(error_of(with(llama(), "hidden_size", "72")), kFormat + "hidden_size=\"72\" is not an integer");
  EXPECT_EQ(error_of(with(llama(), "hidden_size", 72.0)), kFormat + "hidden_size=72.0 is not an integer");
  EXPECT_EQ(error_of(with(llama(), "num_hidden_layers", -1)),
            kFormat + "num_hidden_layers=-1 is not in 1..4096");
  EXPECT_EQ(error_of(with(llama(), "num_hidden_layers", 18446744073709551615U)),
            kFormat + "num_hidden_layers=18446744073709551615 is not in 1..4096");
  EXPECT_EQ(error_of(with(llama(), "num_key_value_heads", 4)),
            kFormat + "num_key_value_heads=4 does not divide num_attention_heads=6");
  EXPECT_EQ(error_of(with(llama(), "num_attention_heads", 10)),
            kFormat + "num_attention_heads=10 does not divide hidden_size=72 and head_dim is not given");
  EXPECT_EQ(error_of(with(llama(), "tie_word_embeddings", 1)),
            kFormat + "tie_word_embeddings=1 is not true or false");
  EXPECT_EQ(error_of(with(llama(), "rope_theta", 0)).rfind(kFormat + "rope_theta=0 is not in", 0), 0U);
  EXPECT_EQ(error_of(with(llama(), "head_dim", 11)),
            kUnsupported + "head_dim=11 is odd, rotary embedding needs an even one");
}

TEST(ModelConfigTest, WhatIsNotSupportedSaysSo) {
  std::string known;
  for (const std::string& name : known_architectures()) known += (known.empty() ? "" : ", ") + name;
  EXPECT_EQ(error_of(with(llama(), "architectures", {"GPT2LMHeadModel"})),
            kUnsupported + "architectures=\"GPT2LMHeadModel\" is not supported: " + known + " are");
  EXPECT_EQ(error_of(with(llama(), "hidden_act", "gelu")),
            kUnsupported + "hidden_act=\"gelu\" is not supported: silu is");
  EXPECT_EQ(
      error_of(with(llama(), "rope_scaling", {{"rope_type", "yarn"}, {"factor", 2.0}})),
      kUnsupported + "rope_scaling.rope_type=\"yarn\" is not supported: default, linear and llama3 are");
  EXPECT_EQ(error_of(with(llama(), "attention_dropout", 0.1)),
            kUnsupported + "attention_dropout=0.1 is not supported: 0 is");
  EXPECT_EQ(error_of(with(llama(), "quantization_config", json::object())).rfind(kUnsupported, 0), 0U);
}

TEST(ModelConfigTest, HostileTextsAreFormatErrors) {
  std::string deep = "{\"a\":";
  for (int i = 0; i < 200000; ++i) deep += "[";
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("{"), std::string("null"), std::string("{\"a\":1e999}"),
        std::string("\xff\xfe{}"), deep, std::string("{\"architectures\":[[[]]]}"),
        std::string("{\"architectures\":[]}"), std::string("{\"architectures\":7}"),
        std::string("{\"a\":\"\\ud800\"}")}) {
    EXPECT_EQ(error_of(text).rfind(kFormat, 0), 0U) << error_of(text);
  }
}

/// Every key takes every kind of wrong value: an error or an acceptance, never anything else.
TEST(ModelConfigTest, NoValueOfNoKeyEscapesAsAnotherException) {
  json full = llama();
  full["rope_parameters"] = {{"rope_type", "llama3"},
                             {"factor", 8.0},
                             {"low_freq_factor", 1.0},
                             {"high_freq_factor", 4.0},
                             {"original_max_position_embeddings", 64}};
  for (const char* key :
       {"max_position_embeddings", "rms_norm_eps", "rope_theta", "tie_word_embeddings", "attention_bias",
        "mlp_bias", "head_dim", "sliding_window", "use_sliding_window", "max_window_layers", "layer_types",
        "initializer_range", "bos_token_id", "eos_token_id", "hidden_act", "dtype", "rope_scaling",
        "partial_rotary_factor", "attention_dropout"}) {
    full[key] = nullptr;
  }
  const std::vector<json> values = {nullptr,
                                    true,
                                    -1,
                                    0,
                                    1,
                                    3,
                                    4611686018427387904LL,
                                    18446744073709551615U,
                                    -1e308,
                                    0.5,
                                    1e308,
                                    "",
                                    "x",
                                    json::array(),
                                    json::object(),
                                    json::array({1, "a"}),
                                    json::object({{"rope_type", 3}}),
                                    json::array({nullptr})};
  int accepted = 0;
  for (const char* architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    full["architectures"] = {architecture};
    for (const auto& [key, original] : full.items()) {
      for (const json& value : values) accepted += error_of(with(full, key, value)).empty();
      if (key != "rope_parameters") continue;
      for (const auto& [inner, unused] : original.items()) {
        for (const json& value : values)
          accepted += error_of(with(full, key, with(original, inner, value))).empty();
      }
    }
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace tessera
