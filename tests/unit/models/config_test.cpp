// config.json becomes a ModelConfig, or an error that names the key and the value; nothing in it can crash
// the reader.
#include <gtest/gtest.h>

#include <cmath>
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

std::string all_architectures() {
  std::string text;
  for (const std::string& name : known_architectures()) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// For four frequencies.
json longrope() {
  return {{"rope_type", "longrope"}, {"short_factor", {1, 1.5, 2, 4}}, {"long_factor", {1, 3, 8, 20}}};
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

json phi3() {
  json config = with(llama(), "architectures", {"Phi3ForCausalLM"});
  config["head_dim"] = 8;
  config["max_position_embeddings"] = 64;
  config["original_max_position_embeddings"] = 16;
  return config;
}

TEST(ModelConfigTest, Phi3ReadsLongropeUnderAllItsNames) {
  const ModelConfig plain = parse_model_config(phi3().dump());
  EXPECT_EQ(plain.fused_qkv, "qkv_proj");
  EXPECT_EQ(plain.fused_gate_up, "gate_up_proj");
  EXPECT_EQ(plain.rms_norm_eps, 1e-5);
  EXPECT_EQ(plain.rotary_dim, 0);
  EXPECT_EQ(plain.sliding_window, std::vector<int64_t>(3, 0));
  EXPECT_EQ(plain.eos_tokens, std::vector<int64_t>{32000});
  for (const char* type : {"longrope", "su", "yarn"}) {
    const json old_style = with(phi3(), "rope_scaling", with(without(longrope(), "rope_type"), "type", type));
    const ModelConfig config = parse_model_config(old_style.dump());
    EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::longrope);
    EXPECT_EQ(config.rope_scaling.original_max_positions, 16);
    EXPECT_EQ(config.rope_scaling.long_factor, (std::vector<double>{1, 3, 8, 20}));
    EXPECT_DOUBLE_EQ(config.rope_scaling.attention_factor, std::sqrt(1 + std::log(4.0) / std::log(16.0)));
  }
  json half = with(phi3(), "rope_parameters", longrope());
  half["rope_parameters"]["partial_rotary_factor"] = 0.5;
  EXPECT_EQ(error_of(half), kFormat + "rope_parameters.short_factor=[...] has 4 entries for 2 frequencies");
  EXPECT_EQ(parse_model_config(with(phi3(), "partial_rotary_factor", 0.8).dump()).rotary_dim, 6);
  EXPECT_EQ(error_of(with(phi3(), "partial_rotary_factor", 0.4)),
            kUnsupported +
                "partial_rotary_factor=0.4 rotates 3 elements of head_dim=8: an even number above 0 is "
                "needed");
  EXPECT_EQ(error_of(with(llama(), "partial_rotary_factor", 0.5)),
            kUnsupported + "partial_rotary_factor=0.5 is not supported");
  EXPECT_EQ(error_of(with(phi3(), "rope_scaling", {{"type", "linear"}, {"factor", 2.0}})),
            kUnsupported + "rope_scaling.rope_type=\"linear\" is not supported: default and longrope are");
  EXPECT_EQ(error_of(with(phi3(), "resid_pdrop", 0.1)),
            kUnsupported + "resid_pdrop=0.1 is not supported: 0 is");
}

TEST(ModelConfigTest, Gemma2DefaultsAreThoseOfTransformers) {
  json gemma = with(llama(), "architectures", {"Gemma2ForCausalLM"});
  gemma["hidden_act"] = "whatever";  // not read
  const ModelConfig config = parse_model_config(gemma.dump());
  EXPECT_TRUE(config.tie_embeddings && config.sandwich_norms && !config.qk_norm);
  EXPECT_EQ(config.norm_gain, kernels::NormGain::one_plus_weight);
  EXPECT_EQ(config.activation, Activation::gelu_tanh);
  EXPECT_EQ(config.head_dim, 256);
  EXPECT_EQ(config.sliding_window, std::vector<int64_t>({4096, 0, 4096}));
  EXPECT_DOUBLE_EQ(config.embedding_scale, std::sqrt(72.0));
  EXPECT_DOUBLE_EQ(config.attention_scale, 1.0 / 16);
  EXPECT_EQ(config.attention_soft_cap, 50);
  EXPECT_EQ(config.logit_soft_cap, 30);
  EXPECT_EQ(parse_model_config(with(gemma, "attn_logit_softcapping", nullptr).dump()).attention_soft_cap, 0);
  EXPECT_EQ(parse_model_config(with(gemma, "final_logit_softcapping", nullptr).dump()).logit_soft_cap, 0);
  EXPECT_EQ(error_of(with(gemma, "hidden_activation", "gelu")),
            kUnsupported + "hidden_activation=\"gelu\" is not supported: gelu_pytorch_tanh is");
  EXPECT_EQ(error_of(with(gemma, "use_bidirectional_attention", true)),
            kUnsupported + "use_bidirectional_attention=true is not supported: causal attention is");
  EXPECT_EQ(error_of(with(gemma, "sliding_window", nullptr)),
            kFormat + "layer_types[0]=\"sliding_attention\" needs a sliding_window");
  EXPECT_EQ(error_of(with(gemma, "layer_types", {"chunked_attention", "full_attention", "full_attention"})),
            kUnsupported +
                "layer_types[0]=\"chunked_attention\" is not supported: full_attention and "
                "sliding_attention are");
}

TEST(ModelConfigTest, Gemma3HasARotaryBaseForEachKindOfLayer) {
  json gemma = with(llama(), "architectures", {"Gemma3ForCausalLM"});
  gemma["sliding_window_pattern"] = 3;
  const ModelConfig plain = parse_model_config(gemma.dump());
  EXPECT_TRUE(plain.qk_norm && plain.sandwich_norms && plain.tie_embeddings);
  EXPECT_EQ(plain.sliding_window, std::vector<int64_t>({4096, 4096, 0}));
  EXPECT_EQ(plain.rope_theta, 1e6);
  EXPECT_EQ(plain.local_rope_theta, 1e4);
  EXPECT_EQ(plain.attention_soft_cap, 0);
  EXPECT_EQ(plain.logit_soft_cap, 0);
  json old_style = gemma;
  old_style["rope_theta"] = 2e6;
  old_style["rope_local_base_freq"] = 3e4;
  old_style["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  json new_style = gemma;
  new_style["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 2e6}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 3e4}}}};
  for (const json& style : {old_style, new_style}) {
    const ModelConfig config = parse_model_config(style.dump());
    EXPECT_EQ(config.rope_theta, 2e6);
    EXPECT_EQ(config.local_rope_theta, 3e4);
    EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::linear);
    EXPECT_EQ(config.rope_scaling.factor, 8);
  }
  EXPECT_EQ(error_of(with(gemma, "rope_parameters", {{"rope_type", "default"}})),
            kFormat + "rope_parameters has neither full_attention nor sliding_attention");
  EXPECT_EQ(error_of(with(gemma, "attn_logit_softcapping", 50.0)),
            kUnsupported + "attn_logit_softcapping=50.0 is not supported: null is");
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
  EXPECT_EQ(
      error_of(with(llama(), "architectures", {"GPT2LMHeadModel"})),
      kUnsupported + "architectures=\"GPT2LMHeadModel\" is not supported: " + all_architectures() + " are");
  EXPECT_EQ(error_of(with(llama(), "hidden_act", "gelu")),
            kUnsupported + "hidden_act=\"gelu\" is not supported: silu is");
  EXPECT_EQ(error_of(with(llama(), "rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}})),
            kUnsupported +
                "rope_scaling.rope_type=\"dynamic\" is not supported: default, linear, llama3, longrope and "
                "yarn are");
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
  for (const char* key : {"max_position_embeddings",
                          "rms_norm_eps",
                          "rope_theta",
                          "tie_word_embeddings",
                          "attention_bias",
                          "mlp_bias",
                          "head_dim",
                          "sliding_window",
                          "use_sliding_window",
                          "max_window_layers",
                          "layer_types",
                          "initializer_range",
                          "bos_token_id",
                          "eos_token_id",
                          "hidden_act",
                          "dtype",
                          "rope_scaling",
                          "partial_rotary_factor",
                          "attention_dropout",
                          "original_max_position_embeddings",
                          "rope_local_base_freq",
                          "sliding_window_pattern",
                          "query_pre_attn_scalar",
                          "attn_logit_softcapping",
                          "final_logit_softcapping",
                          "hidden_activation",
                          "use_bidirectional_attention",
                          "resid_pdrop"}) {
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
  for (const std::string& architecture : known_architectures()) {
    full["architectures"] = {architecture};
    if (architecture == "Phi3ForCausalLM") full["rope_parameters"] = longrope();
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
