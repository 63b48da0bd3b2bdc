// Settings and content hashes that make the key of a token cache.
#include "data/cache_key.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/content_hash.h"
#include "core/error.h"
#include "data/dataset_options.h"
#include "data/parallel_for.h"
#include "data/row_reader.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// Raised whenever the same files and settings give other tokens than before.
constexpr int kTokenisation = 2;

/// How the name decides on the reading of a file.
const char* kind_of(const std::string& path) {
  if (!is_json_name(path)) return "text";
  fs::path name = fs::path(path).filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  return name.extension() == ".json" ? "json" : "lines";
}

/// Everything that a tokenizer and its templates may be read from.
nlohmann::json tokenizer_files(const std::string& directory) {
  nlohmann::json out = nlohmann::json::object();
  const auto add = [&](const fs::path& folder, const std::string& prefix) {
    std::error_code code;
    for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
      const std::string extension = it->path().extension().string();
      const bool reads = extension == ".json" || extension == ".jinja" || extension == ".model";
      if (!reads || !it->is_regular_file(code)) continue;
      out[prefix + it->path().filename().string()] = hash_file(it->path().string());
    }
  };
  add(directory, "");
  add(fs::path(directory) / "additional_chat_templates", "additional_chat_templates/");
  return out;
}

}  // namespace

std::string cache_key(const std::vector<std::string>& files, const DatasetOptions& o) {
  nlohmann::json key = {{"tokenisation", kTokenisation},
                        {"format", o.format},
                        {"vocab_size", o.vocab_size},
                        {"seq_len", o.seq_len},
                        {"long_documents", static_cast<int>(long_documents_rule(o))},
                        {"on_error", o.on_error},
                        {"max_line_bytes", o.max_line_bytes}};
  if (o.group > 1) {
    const DocumentGroups groups = document_groups(o);
    key["groups"] = {groups.documents, groups.alignment};
  }
  if (o.format != "tokens") {
    key["tokenizer"] = tokenizer_files(o.tokenizer);
    key["columns"] = {o.column_prompt,   o.column_completion, o.column_text,
                      o.column_messages, o.column_chosen,     o.column_rejected};
    key["preference"] = o.preference;
    key["chat_template"] = o.chat_template;
    key["train_roles"] = o.train_roles;
    key["last_turn_only"] = o.last_turn_only;
    key["train_on_eos"] = o.train_on_eos;
    key["append_eos"] = o.append_eos;
  }
  std::vector<std::string> hashes(files.size());
  const size_t threads =
      o.workers > 0 ? static_cast<size_t>(o.workers) : std::max(1u, std::thread::hardware_concurrency());
  parallel_for(files.size(), threads,
               [&](size_t i) { hashes[i] = cat(kind_of(files[i]), " ", hash_file(files[i])); });
  key["files"] = hashes;
  return key.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace tessera
