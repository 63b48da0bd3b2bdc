// Fields of JSON rows, and conversations to token rows.
#include "data/row_parts.h"

#include <algorithm>

#include "core/error.h"
#include "core/json_depth.h"
#include "data/line_reader.h"
#include "data/packed_batch.h"

namespace tessera::rows {
namespace {

/// What the template reads beside the messages.
void copy_extras(const Json& row, Json& conversation) {
  for (const char* name : {"tools", "documents", "chat_template_kwargs"}) {
    const auto found = row.find(name);
    if (found == row.end() || found->is_null()) continue;
    conversation[name] = *found;
    // Datasets often hold the list of tools as JSON text.
    if (found->is_string()) {
      const auto text = found->get<std::string>();
      check_json_depth(text);
      conversation[name] = Json::parse(text, nullptr, false);
    }
    TESSERA_CHECK(!conversation[name].is_discarded(), format, "field ", name, " is text that is no JSON");
  }
}

TokenRow row_of(const ChatTokens& chat) {
  TokenRow row{chat.ids, chat.ids};
  for (size_t i = 0; i < row.labels.size(); ++i)
    if (chat.train[i] == 0) row.labels[i] = static_cast<int32_t>(kIgnoredLabel);
  return row;
}

}  // namespace

Json parse_object(std::string_view text) {
  check_json_depth(text);
  Json row;
  try {
    row = Json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    std::string reason = error.what();
    if (const size_t start = reason.find(": "); start != std::string::npos) reason = reason.substr(start + 2);
    throw Error(Code::format, cat("bad JSON at byte ", error.byte, ": ", printable(reason, 160)));
  } catch (const nlohmann::json::out_of_range&) {
    throw Error(Code::format, "bad JSON: a number is too large");
  }
  TESSERA_CHECK(row.is_object(), format, "the row is not a JSON object but ", row.type_name());
  return row;
}

std::string text_field(const Json& row, const std::string& name) {
  const auto found = row.find(name);
  TESSERA_CHECK(found != row.end(), format, "field ", name, " is missing");
  TESSERA_CHECK(found->is_string(), format, "field ", name, " is not text but ", found->type_name());
  return found->get<std::string>();
}

std::string optional_text(const Json& row, const std::string& name) {
  const auto found = row.find(name);
  return found == row.end() || found->is_null() ? std::string() : text_field(row, name);
}

Json message(const char* role, Json content) {
  return {{"role", role}, {"content", std::move(content)}};
}

void keep_from_training(Json& message) {
  if (!message.is_object() || message.value("role", Json()) != "assistant") return;
  for (const char* name : {"train", "training", "weight"})
    if (message.contains(name)) return;
  message["train"] = false;
}

std::vector<TokenRow> one(TokenRow row) {
  std::vector<TokenRow> rows;
  rows.push_back(std::move(row));
  return rows;
}

void check_learns(const TokenRow& row) {
  const bool learns = std::any_of(row.labels.begin() + 1, row.labels.end(),
                                  [](int32_t label) { return label != kIgnoredLabel; });
  TESSERA_CHECK(learns, format, "no label to learn from: all ", row.labels.size(), " tokens are masked");
}

std::shared_ptr<const Tokenizer> open_tokenizer(const DatasetOptions& options) {
  TESSERA_CHECK(!options.tokenizer.empty(), argument, "data.format=", options.format,
                " needs data.tokenizer");
  auto tokenizer = Tokenizer::open(options.tokenizer);
  TESSERA_CHECK(options.vocab_size == 0 || tokenizer->max_id() < options.vocab_size, argument,
                "data.tokenizer=", options.tokenizer, " has ids up to ", tokenizer->max_id(),
                ", the model's vocabulary is ", options.vocab_size);
  return tokenizer;
}

std::shared_ptr<const ChatTemplate> make_chat_template(const DatasetOptions& options,
                                                       std::shared_ptr<const Tokenizer> tokenizer) {
  ChatOptions chat;
  chat.chat_template = options.chat_template;
  chat.mask.train_roles = options.train_roles;
  chat.mask.last_turn_only = options.last_turn_only;
  chat.mask.eos = parse_eos_policy(options.train_on_eos);
  return std::make_shared<const ChatTemplate>(std::move(tokenizer), chat);
}

TokenRow conversation_row(const ChatTemplate& chat_template, const Json& row, Json messages, int64_t vocab) {
  Json conversation = Json::object();
  conversation["messages"] = std::move(messages);
  copy_extras(row, conversation);
  TokenRow tokens = row_of(chat_template.tokenize(conversation));
  check_token_row(tokens, vocab);
  check_learns(tokens);
  return tokens;
}

}  // namespace tessera::rows
