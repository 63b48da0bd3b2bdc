// Reads a Hugging Face config.json into a ModelConfig. The file may be hostile: all values are bounded.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "models/family.h"

namespace tessera {

namespace {

void check_quantization(const ConfigReader& json, const Family& family) {
  if (!json.has("quantization_config")) return;
  const char* supported =
      family.reads_mxfp4 ? "mxfp4 and unquantized weights are" : "unquantized weights are";
  TESSERA_CHECK(json.has_object("quantization_config"), unsupported, json.show("quantization_config"),
                " is not supported: ", supported);
  const ConfigReader quantization = json.object("quantization_config");
  TESSERA_CHECK(family.reads_mxfp4 && quantization.text_or("quant_method", "") == "mxfp4", unsupported,
                quantization.show("quant_method"), " is not supported for ", family.architecture, ": ",
                supported);
}

void refuse_what_changes_the_computation(const ConfigReader& json) {
  const double dropout = json.number_or("attention_dropout", 0.0, 0.0, 1.0);
  TESSERA_CHECK(dropout == 0.0, unsupported, json.show("attention_dropout"), " is not supported: 0 is");
}

// Families with another activation have read it themselves.
void check_silu(const ConfigReader& json) {
  const std::string act = json.text_or("hidden_act", "silu");
  TESSERA_CHECK(act == "silu" || act == "swish", unsupported, json.show("hidden_act"),
                " is not supported: silu is");
}

std::string read_dtype(const ConfigReader& json) {
  const std::string key = json.has("dtype") ? "dtype" : "torch_dtype";
  std::string dtype = json.text_or(key, "float32");
  if (dtype.rfind("torch.", 0) == 0) dtype = dtype.substr(6);
  TESSERA_CHECK(dtype == "float32" || dtype == "bfloat16" || dtype == "float16" || dtype == "float64",
                unsupported, json.show(key), " is not supported: float32, bfloat16, float16 and float64 are");
  return dtype;
}

const Family& find_family(const ConfigReader& json, const std::vector<const Family*>& plugin) {
  std::vector<const Family*> all = plugin;
  all.insert(all.end(), families().begin(), families().end());
  std::string known;
  for (const Family* family : all) known += (known.empty() ? "" : ", ") + std::string(family->architecture);
  const std::vector<std::string> architectures = json.texts("architectures", 64);
  if (architectures.empty()) {
    TESSERA_CHECK(json.has("model_type"), format, "config.json lacks architectures and model_type");
    const std::string type = json.text_or("model_type", "");
    for (const Family* family : all) {
      if (type == family->model_type) return *family;
    }
    throw Error(Code::unsupported, cat(json.show("model_type"), " is not supported: ", known, " are"));
  }
  for (const Family* family : all) {
    if (architectures[0] == family->architecture) return *family;
  }
  throw Error(Code::unsupported,
              cat("architectures=", quoted(architectures[0]), " is not supported: ", known, " are"));
}

void check_heads(const ModelConfig& config) {
  TESSERA_CHECK(config.num_heads % config.num_kv_heads == 0, format,
                "num_key_value_heads=", config.num_kv_heads,
                " does not divide num_attention_heads=", config.num_heads);
  TESSERA_CHECK(config.head_dim % 2 == 0, unsupported, "head_dim=", config.head_dim,
                " is odd, rotary embedding needs an even one");
  TESSERA_CHECK(config.num_heads * config.head_dim <= (int64_t{1} << 24), format,
                "num_attention_heads=", config.num_heads, " times head_dim=", config.head_dim, " is above ",
                int64_t{1} << 24);
}

}  // namespace

ModelConfig parse_model_config(const std::string& json_text, const std::vector<const Family*>& plugin) {
  const nlohmann::json root = parse_config_json(json_text);
  const ConfigReader json(root);
  const Family& family = find_family(json, plugin);
  check_quantization(json, family);
  refuse_what_changes_the_computation(json);

  ModelConfig config;
  config.architecture = family.architecture;
  if (std::find(plugin.begin(), plugin.end(), &family) != plugin.end()) config.family = &family;
  config.model_type = family.model_type;
  config.dtype = read_dtype(json);
  config.vocab_size = json.integer("vocab_size", 1, kMaxVocab);
  config.hidden_size = json.integer("hidden_size", 1, kMaxHidden);
  config.intermediate_size = json.integer("intermediate_size", 1, kMaxHidden * 16);
  config.num_layers = json.integer("num_hidden_layers", 1, kMaxLayers);
  config.num_heads = json.integer("num_attention_heads", 1, kMaxHeads);
  config.head_dim = json.integer_or("head_dim", 0, 1, kMaxHeadDim);
  config.rms_norm_eps = json.number_or("rms_norm_eps", 1e-6, 0.0, 1.0);
  config.initializer_range = json.number_or("initializer_range", 0.02, 0.0, 1e3);
  config.tie_embeddings = json.flag_or("tie_word_embeddings", false);
  config.bos_token = json.integer_or("bos_token_id", -1, -1, kMaxVocab);
  config.eos_tokens = json.integers("eos_token_id", 1024, -1, kMaxVocab);
  config.sliding_window.assign(config.num_layers, 0);
  family.configure(json, config);
  if (config.activation == Activation::silu) check_silu(json);

  if (config.head_dim == 0) {
    TESSERA_CHECK(config.hidden_size % config.num_heads == 0, format,
                  "num_attention_heads=", config.num_heads,
                  " does not divide hidden_size=", config.hidden_size, " and head_dim is not given");
    config.head_dim = config.hidden_size / config.num_heads;
  }
  check_heads(config);
  family.read_rope(json, config);
  config.raw = json_text;
  return config;
}

ModelConfig load_model_config(const std::string& directory, const std::vector<const Family*>& plugin) {
  const std::string path = directory + "/config.json";
  std::error_code no_status;  // opening what is not a file (a pipe) could block for ever
  TESSERA_CHECK(std::filesystem::is_regular_file(path, no_status), not_found, "model directory \"", directory,
                "\" has no config.json");
  std::ifstream file(path, std::ios::binary);
  TESSERA_CHECK(file, io, "model directory \"", directory, "\" has a config.json that cannot be read");
  // One byte over the limit is enough for parse_config_json to refuse it; the rest is not read.
  constexpr size_t kReadLimit = (size_t{16} << 20) + 1;
  std::string text;
  char buffer[4096];
  while (text.size() < kReadLimit && (file.read(buffer, sizeof buffer), file.gcount() > 0)) {
    text.append(buffer, static_cast<size_t>(file.gcount()));
  }
  TESSERA_CHECK(!file.bad(), io, "reading ", path, " failed");
  try {
    return parse_model_config(text, plugin);
  } catch (const Error& error) {
    throw Error(error.code(), cat(path, ": ", error.what()));
  }
}

}  // namespace tessera
