// Tokenizer: reads the files of a checkpoint, and calls the tokenizers crate for the work.
#include "data/tokenizer.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/error.h"
#include "core/json_depth.h"
#include "data/parallel_for.h"
#include "data/sentencepiece.h"
#include "data/text_ffi.h"
#include "data/text_status.h"

namespace tessera {

namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

constexpr int64_t kLargestFile = int64_t{1} << 30;
constexpr const char* kNamedTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  TESSERA_CHECK(in, io, "cannot open ", path.string());
  const int64_t size = in.tellg();
  TESSERA_CHECK(size >= 0 && size <= kLargestFile, format, path.string(), " has ", size, " bytes, more than ",
                kLargestFile);
  std::string text(static_cast<size_t>(size), '\0');
  in.seekg(0);
  in.read(text.data(), size);
  TESSERA_CHECK(in.gcount() == size, io, "cannot read ", path.string());
  return text;
}

std::optional<std::string> read_if_there(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return std::nullopt;
  return read_file(path);
}

/// An object, or an empty one for a file that is not there.
Json parse_object(const std::optional<std::string>& text, const std::string& name) {
  if (!text || text->empty()) return Json::object();
  check_json_depth(*text, name);
  Json value = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  TESSERA_CHECK(value.is_object(), format, name,
                value.is_discarded() ? " is not json" : " is not a json object");
  return value;
}

Json read_object(const fs::path& path) {
  return parse_object(read_if_there(path), path.string());
}

/// The text of a special token, which is a string or {"content": ...}; empty for anything else.
std::string token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    return value["content"].get<std::string>();
  }
  return {};
}

/// A setting that may be absent, or null.
bool says_yes(const Json& config, const char* key) {
  const auto it = config.find(key);
  return it != config.end() && it->is_boolean() && it->get<bool>();
}

Json added_entry(const Json& value, bool special) {
  Json entry = value.is_object() ? value : Json{{"content", value}};
  if (!entry.contains("special")) entry["special"] = special;
  return entry;
}

}  // namespace

/// Of an added token, as in text_rs/src/tokenizer.rs.
constexpr size_t kLongestAdded = 512;

/// The texts a tokenizer is made from.
struct Tokenizer::Files {
  std::string tokenizer;     // tokenizer.json
  std::string name;          // what errors call it
  Json config;               // tokenizer_config.json
  Json special_tokens_map;   // special_tokens_map.json, older checkpoints
  Json added_tokens;         // added_tokens.json, older checkpoints
  Json generation;           // generation_config.json
  Json model;                // config.json
  bool set_bos_eos = false;  // the file says nothing of them: tokenizer.model
  std::map<std::string, std::string> template_files;

  /// Tokens that the configuration names and tokenizer.json may lack, in the order transformers adds them.
  Json tokens_to_add() const;
  /// tokenizer_config.json's value, else special_tokens_map.json's.
  std::string named_token(const std::string& key) const;
};

std::string Tokenizer::Files::named_token(const std::string& key) const {
  // transformers reads special_tokens_map.json only for checkpoints whose configuration has no
  // added_tokens_decoder.
  if (!config.contains("added_tokens_decoder") && special_tokens_map.contains(key)) {
    const std::string text = token_text(special_tokens_map[key]);
    if (!text.empty()) return text;
  }
  return config.contains(key) ? token_text(config[key]) : std::string();
}

Json Tokenizer::Files::tokens_to_add() const {
  std::map<int64_t, Json> by_id;
  if (auto it = config.find("added_tokens_decoder"); it != config.end() && it->is_object()) {
    for (const auto& [id, token] : it->items()) {
      TESSERA_CHECK(!id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos,
                    format, "tokenizer_config.json: added_tokens_decoder has the key '", id,
                    "', not a token id");
      if (!token_text(token).empty()) by_id[std::stoll(id)] = added_entry(token, false);
    }
  } else {
    for (const auto& [token, id] : added_tokens.items()) {
      TESSERA_CHECK(id.is_number_integer(), format, "added_tokens.json: the id of '", token,
                    "' is not an integer");
      by_id[id.get<int64_t>()] = Json{{"content", token}, {"special", false}};
    }
  }
  Json list = Json::array();
  for (auto& [id, token] : by_id) list.push_back(std::move(token));
  for (const char* key : kNamedTokens) {
    const std::string text = named_token(key);
    if (!text.empty()) list.push_back(Json{{"content", text}, {"special", true}});
  }
  for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
    for (const Json* source : {&config, &special_tokens_map}) {
      const auto it = source->find(key);
      if (it == source->end() || !(it->is_array() || it->is_object())) continue;
      for (const Json& token : *it) {
        if (!token_text(token).empty()) list.push_back(added_entry(token, true));
      }
    }
  }
  for (const Json& entry : list) {
    const std::string text = token_text(entry);
    TESSERA_CHECK(text.size() <= kLongestAdded, format,
                  "tokenizer_config.json, or a file that goes with it: token '", text.substr(0, 32),
                  "...' has ", text.size(), " bytes, the most are ", kLongestAdded);
  }
  return list;
}

std::shared_ptr<const Tokenizer> Tokenizer::open(const std::string& directory) {
  const fs::path root(directory);
  std::error_code ignored;
  TESSERA_CHECK(fs::is_directory(root, ignored), not_found, "tokenizer directory ", directory,
                " does not exist");
  Files files;
  files.config = read_object(root / "tokenizer_config.json");
  files.special_tokens_map = read_object(root / "special_tokens_map.json");
  files.added_tokens = read_object(root / "added_tokens.json");
  files.generation = read_object(root / "generation_config.json");
  files.model = read_object(root / "config.json");

  if (auto text = read_if_there(root / "chat_template.jinja"))
    files.template_files["default"] = std::move(*text);
  const fs::path more = root / "additional_chat_templates";
  if (fs::is_directory(more, ignored)) {
    for (const auto& entry : fs::directory_iterator(more, ignored)) {
      if (entry.path().extension() == ".jinja") {
        files.template_files[entry.path().stem().string()] = read_file(entry.path());
      }
    }
  }

  files.name = (root / "tokenizer.json").string();
  std::optional<std::string> text = read_if_there(root / "tokenizer.json");
  if (text) {
    files.tokenizer = std::move(*text);
  } else {
    files.name = (root / "tokenizer.model").string();
    text = read_if_there(root / "tokenizer.model");
    TESSERA_CHECK(text, not_found, "neither tokenizer.json nor tokenizer.model in ", directory);
    SentencePieceTokenizer converted = convert_sentencepiece(*text, files.name);
    files.tokenizer = std::move(converted.tokenizer_json);
    files.set_bos_eos = true;
    for (const auto& [key, piece] : {std::pair{"bos_token", &converted.bos},
                                     {"eos_token", &converted.eos},
                                     {"unk_token", &converted.unk},
                                     {"pad_token", &converted.pad}}) {
      if (!piece->empty() && files.named_token(key).empty()) files.config[key] = *piece;
    }
  }
  return std::shared_ptr<const Tokenizer>(new Tokenizer(files));
}

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json,
                                                      std::string_view config_json) {
  Files files;
  files.name = "tokenizer.json";
  files.tokenizer = std::string(tokenizer_json);
  files.config = parse_object(std::string(config_json), "tokenizer_config.json");
  return std::shared_ptr<const Tokenizer>(new Tokenizer(files));
}

Tokenizer::Tokenizer(const Files& files) {
  // dump() would throw on invalid UTF-8, which parse() has already refused.
  const std::string added = files.tokens_to_add().dump();
  std::string bos, eos;
  if (files.set_bos_eos) {
    if (says_yes(files.config, "add_bos_token")) bos = files.named_token("bos_token");
    if (says_yes(files.config, "add_eos_token")) eos = files.named_token("eos_token");
  }
  TtxBytes error{};
  const int32_t status =
      ttx_tokenizer_open(files.tokenizer.data(), files.tokenizer.size(), added.data(), added.size(),
                         files.set_bos_eos, bos.data(), bos.size(), eos.data(), eos.size(), &handle_, &error);
  // A panic while reading a file is that file's fault.
  check_text(status == TTX_INTERNAL ? int32_t{TTX_FORMAT} : status, error, files.name);
  try {
    describe();
    read_special_tokens(files);
    read_chat_templates(files);
  } catch (...) {
    ttx_tokenizer_free(handle_);
    throw;
  }
}

Tokenizer::~Tokenizer() {
  ttx_tokenizer_free(handle_);
}

void Tokenizer::describe() {
  TtxBytes out{}, error{};
  check_text(ttx_tokenizer_describe(handle_, &out, &error), error, "tokenizer");
  const Json facts = Json::parse(take(out));
  vocab_size_ = facts.at("size").get<int64_t>();
  const int64_t max_id = facts.at("max_id").get<int64_t>();
  TESSERA_CHECK(max_id <= INT32_MAX, format, "tokenizer.json has token id ", max_id, ", more than ",
                INT32_MAX);
  max_id_ = static_cast<int32_t>(max_id);
  for (const Json& token : facts.at("added")) {
    added_[token.at("id").get<int32_t>()] = token.at("special").get<bool>();
  }
}

void Tokenizer::read_special_tokens(const Files& files) {
  for (const auto& [key, value] : files.config.items()) {
    if (!key.ends_with("_token") || key.starts_with("add_")) continue;
    const std::string text = token_text(value);
    if (!text.empty()) special_tokens_[key] = text;
  }
  for (const char* key : kNamedTokens) {
    const std::string text = files.named_token(key);
    if (!text.empty()) special_tokens_[key] = text;
  }
  for (const auto& [key, text] : special_tokens_) {
    const int32_t id = token_to_id(text);
    if (id >= 0) special_ids_[key] = id;
  }
  // Checkpoints without a tokenizer_config.json still give the ids in their other configurations.
  const auto ids_of = [&](const char* key) {
    std::vector<int32_t> ids;
    for (const Json* source : {&files.generation, &files.model}) {
      if (!source->is_object() || !source->contains(key)) continue;
      const Json& value = (*source)[key];
      for (const Json& id : value.is_array() ? value : Json::array({value})) {
        if (!id.is_number_integer()) continue;
        const int64_t number = id.get<int64_t>();
        if (number >= 0 && number <= max_id_) ids.push_back(static_cast<int32_t>(number));
      }
      if (!ids.empty()) break;
    }
    return ids;
  };
  for (const char* key : {"bos_token", "eos_token", "pad_token"}) {
    const std::vector<int32_t> ids = ids_of(cat(key, "_id").c_str());
    if (!special_ids_.count(key) && !ids.empty()) special_ids_[key] = ids.front();
  }
  if (eos_id() >= 0) eos_ids_.push_back(eos_id());
  for (int32_t id : ids_of("eos_token_id")) {
    if (std::find(eos_ids_.begin(), eos_ids_.end(), id) == eos_ids_.end()) eos_ids_.push_back(id);
  }
}

void Tokenizer::read_chat_templates(const Files& files) {
  chat_templates_ = files.template_files;
  if (!chat_templates_.empty()) return;  // files beside the configuration take the place of what it says
  const auto it = files.config.find("chat_template");
  if (it == files.config.end() || it->is_null()) return;
  if (it->is_string()) {
    chat_templates_["default"] = it->get<std::string>();
    return;
  }
  TESSERA_CHECK(it->is_array() || it->is_object(), format,
                "tokenizer_config.json: chat_template is neither text nor a list of templates");
  for (const auto& [key, entry] : it->items()) {
    if (entry.is_string() && it->is_object()) {
      chat_templates_[key] = entry.get<std::string>();
      continue;
    }
    TESSERA_CHECK(entry.is_object() && entry.contains("name") && entry["name"].is_string() &&
                      entry.contains("template") && entry["template"].is_string(),
                  format, "tokenizer_config.json: chat_template entry ", key, " has no name and template");
    chat_templates_[entry["name"].get<std::string>()] = entry["template"].get<std::string>();
  }
}

int32_t Tokenizer::special_id(const char* name) const {
  const auto it = special_ids_.find(name);
  return it == special_ids_.end() ? -1 : it->second;
}

bool Tokenizer::is_special(int32_t id) const {
  const auto it = added_.find(id);
  return it != added_.end() && it->second;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special) const {
  TtxEncoding out{};
  TtxBytes error{};
  check_text(ttx_tokenizer_encode(handle_, text.data(), text.size(), add_special, false, &out, &error), error,
             "encode");
  const std::unique_ptr<TtxEncoding, void (*)(TtxEncoding*)> owner(
      &out, [](TtxEncoding* e) { ttx_encoding_free(*e); });
  return {out.ids, out.ids + out.len};
}

Encoding Tokenizer::encode_with_offsets(std::string_view text, bool add_special) const {
  TtxEncoding out{};
  TtxBytes error{};
  check_text(ttx_tokenizer_encode(handle_, text.data(), text.size(), add_special, true, &out, &error), error,
             "encode");
  const std::unique_ptr<TtxEncoding, void (*)(TtxEncoding*)> owner(
      &out, [](TtxEncoding* e) { ttx_encoding_free(*e); });
  Encoding result;
  result.ids.assign(out.ids, out.ids + out.len);
  result.offsets.resize(out.len);
  for (size_t i = 0; i < out.len; ++i) {
    result.offsets[i] = {static_cast<int64_t>(out.offsets[2 * i]),
                         static_cast<int64_t>(out.offsets[2 * i + 1])};
  }
  return result;
}

std::vector<std::vector<int32_t>> Tokenizer::encode_batch(std::span<const std::string_view> texts,
                                                          bool add_special, int threads) const {
  TESSERA_CHECK(threads >= 0, argument, "threads=", threads, " is negative");
  std::vector<std::vector<int32_t>> results(texts.size());
  std::mutex failure_mutex;
  std::atomic<size_t> failed{texts.size()};  // the first text that cannot be encoded
  std::exception_ptr failure;
  const size_t workers =
      threads > 0 ? static_cast<size_t>(threads) : std::max(1u, std::thread::hardware_concurrency());
  parallel_for(texts.size(), workers, [&](size_t i) {
    if (i > failed) return;
    try {
      results[i] = encode(texts[i], add_special);
    } catch (...) {
      const std::lock_guard lock(failure_mutex);
      if (i < failed) {
        failed = i;
        failure = std::current_exception();
      }
    }
  });
  if (failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const Error& e) {
      throw Error(e.code(), cat("text ", failed.load(), ": ", e.what()));
    }
  }
  return results;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  for (size_t i = 0; i < ids.size(); ++i)
    TESSERA_CHECK(ids[i] >= 0, argument, "ids[", i, "]=", ids[i], " is negative");
  TtxBytes out{}, error{};
  check_text(ttx_tokenizer_decode(handle_, reinterpret_cast<const uint32_t*>(ids.data()), ids.size(),
                                  skip_special, &out, &error),
             error, "decode");
  return take(out);
}

int32_t Tokenizer::token_to_id(std::string_view token) const {
  int64_t id = -1;
  TtxBytes error{};
  check_text(ttx_tokenizer_token_to_id(handle_, token.data(), token.size(), &id, &error), error,
             "token_to_id");
  return static_cast<int32_t>(id);
}

std::string Tokenizer::id_to_token(int32_t id) const {
  TESSERA_CHECK(id >= 0, argument, "id=", id, " is negative");
  TtxBytes out{}, error{};
  check_text(ttx_tokenizer_id_to_token(handle_, static_cast<uint32_t>(id), &out, &error), error,
             "id_to_token");
  return take(out);
}

}  // namespace tessera
