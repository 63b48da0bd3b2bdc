// Rows of conversations, instructions and text, turned into tokens with labels.
#include "data/row_formats.h"

#include <map>
#include <memory>

#include "core/error.h"
#include "data/line_reader.h"
#include "data/preference_rows.h"
#include "data/row_parts.h"

namespace tessera {
namespace {

using namespace rows;  // NOLINT: the vocabulary of this file

Json chat_messages(const Json& row, const DatasetOptions& options) {
  const auto found = row.find(options.column_messages);
  TESSERA_CHECK(found != row.end(), format, "field ", options.column_messages, " is missing");
  TESSERA_CHECK(found->is_array() && !found->empty(), format, "field ", options.column_messages,
                " is not a list of messages");
  return *found;
}

const char* sharegpt_role(const std::string& from, size_t index) {
  static const std::map<std::string, const char*> roles = {
      {"human", "user"},    {"user", "user"},         {"gpt", "assistant"},   {"assistant", "assistant"},
      {"bot", "assistant"}, {"chatgpt", "assistant"}, {"model", "assistant"}, {"system", "system"},
      {"tool", "tool"},     {"observation", "tool"},  {"function", "tool"},   {"function_response", "tool"}};
  const auto found = roles.find(from);
  TESSERA_CHECK(found != roles.end(), format, "conversations[", index, "].from=", printable(from, 30),
                " is an unknown role");
  return found->second;
}

Json sharegpt_messages(const Json& row) {
  const auto found = row.find("conversations");
  TESSERA_CHECK(found != row.end(), format, "field conversations is missing");
  TESSERA_CHECK(found->is_array() && !found->empty(), format, "field conversations is not a list of turns");
  Json messages = Json::array();
  if (const std::string system = optional_text(row, "system"); !system.empty())
    messages.push_back(message("system", system));
  for (size_t i = 0; i < found->size(); ++i) {
    const Json& turn = (*found)[i];
    TESSERA_CHECK(turn.is_object() && turn.contains("from") && turn["from"].is_string(), format,
                  "conversations[", i, "] has no text field from");
    TESSERA_CHECK(turn.contains("value") && turn["value"].is_string(), format, "conversations[", i,
                  "] has no text field value");
    Json entry = message(sharegpt_role(turn["from"].get<std::string>(), i), turn["value"]);
    for (const char* name : {"weight", "train"})
      if (turn.contains(name)) entry[name] = turn[name];
    messages.push_back(std::move(entry));
  }
  return messages;
}

Json alpaca_messages(const Json& row) {
  Json messages = Json::array();
  if (const std::string system = optional_text(row, "system"); !system.empty())
    messages.push_back(message("system", system));
  if (const auto history = row.find("history"); history != row.end() && !history->is_null()) {
    TESSERA_CHECK(history->is_array(), format, "field history is not a list of pairs");
    for (const Json& pair : *history) {
      TESSERA_CHECK(pair.is_array() && pair.size() == 2 && pair[0].is_string() && pair[1].is_string(), format,
                    "field history is not a list of pairs of texts");
      messages.push_back(message("user", pair[0]));
      messages.push_back(message("assistant", pair[1]));
    }
  }
  std::string instruction = text_field(row, "instruction");
  if (const std::string input = optional_text(row, "input"); !input.empty()) instruction += "\n\n" + input;
  messages.push_back(message("user", instruction));
  messages.push_back(message("assistant", text_field(row, "output")));
  return messages;
}

/// A text becomes one message; a list of messages is taken as it is.
void append_side(Json& messages, const Json& row, const std::string& column, const char* role) {
  const auto found = row.find(column);
  if (found != row.end() && found->is_array()) {
    for (const Json& entry : *found) messages.push_back(entry);
  } else {
    messages.push_back(message(role, text_field(row, column)));
  }
}

Json prompt_messages(const Json& row, const DatasetOptions& options) {
  Json messages = Json::array();
  if (const std::string system = optional_text(row, "system"); !system.empty())
    messages.push_back(message("system", system));
  append_side(messages, row, options.column_prompt, "user");
  for (Json& entry : messages) keep_from_training(entry);
  append_side(messages, row, options.column_completion, "assistant");
  return messages;
}

RowFormat token_format(const DatasetOptions& options) {
  const int64_t vocab = options.vocab_size;
  RowFormat format;
  format.row = [vocab](std::string_view text) { return one(parse_token_row(text, vocab)); };
  return format;
}

RowFormat text_format(const DatasetOptions& options) {
  const auto tokenizer = open_tokenizer(options);
  const std::vector<int32_t> special = tokenizer->encode("", true);
  const bool has_bos = !special.empty() && special.front() == tokenizer->bos_id();
  RowFormat format;
  format.text_begin = has_bos ? tokenizer->bos_id() : -1;
  format.text_end = options.append_eos ? tokenizer->eos_id() : -1;
  // SentencePiece puts a blank before each text it is given, so its texts cannot be cut.
  std::vector<int32_t> parts = tokenizer->encode("a b\n", false);
  for (const int32_t id : tokenizer->encode("a b", false)) parts.push_back(id);
  format.text_parts = parts == tokenizer->encode("a b\na b", false);
  format.plain_text = [tokenizer](std::string_view text) {
    std::vector<int32_t> ids = tokenizer->encode(text, false);
    return one({ids, ids});
  };
  const std::string column = options.column_text;
  const int64_t vocab = options.vocab_size;
  format.row = [tokenizer, column, vocab, end = format.text_end](std::string_view text) {
    std::vector<int32_t> ids = tokenizer->encode(text_field(parse_object(text), column), true);
    if (end >= 0 && (ids.empty() || ids.back() != end)) ids.push_back(end);
    TokenRow row{ids, ids};
    check_token_row(row, vocab);
    return one(std::move(row));
  };
  return format;
}

RowFormat conversation_format(const DatasetOptions& options) {
  const auto chat_template = make_chat_template(options, open_tokenizer(options));
  const auto shared = std::make_shared<const DatasetOptions>(options);
  RowFormat out;
  out.row = [chat_template, shared](std::string_view text) {
    const Json row = parse_object(text);
    const std::string& format = shared->format;
    Json messages = format == "chat"       ? chat_messages(row, *shared)
                    : format == "sharegpt" ? sharegpt_messages(row)
                    : format == "alpaca"   ? alpaca_messages(row)
                                           : prompt_messages(row, *shared);
    return one(conversation_row(*chat_template, row, std::move(messages), shared->vocab_size));
  };
  return out;
}

}  // namespace

RowFormat make_row_format(const DatasetOptions& options) {
  if (options.format == "tokens") return token_format(options);
  if (options.format == "text") return text_format(options);
  for (const char* name : {"chat", "sharegpt", "alpaca", "prompt"})
    if (options.format == name) return conversation_format(options);
  if (options.format == "preference") return preference_format(options);
  throw Error(Code::argument, cat("data.format=", options.format,
                                  " must be tokens, text, chat, sharegpt, alpaca, prompt or preference"));
}

}  // namespace tessera
