// Preference pairs as two conversations, or two texts.
#include "data/preference_rows.h"

#include <algorithm>

#include "core/error.h"
#include "data/packed_batch.h"
#include "data/row_parts.h"

namespace tessera {
namespace {

using namespace rows;  // NOLINT: the vocabulary of this file

constexpr int32_t kIgnored = static_cast<int32_t>(kIgnoredLabel);

bool same_message(const Json& a, const Json& b) {
  const auto part = [](const Json& message, const char* name) {
    return message.is_object() && message.contains(name) ? message[name] : Json();
  };
  return part(a, "role") == part(b, "role") && part(a, "content") == part(b, "content");
}

/// How many messages two lists begin with in common.
size_t shared_messages(const Json& a, const Json& b) {
  size_t count = 0;
  while (count < std::min(a.size(), b.size()) && same_message(a[count], b[count])) ++count;
  return count;
}

class Pairs {
 public:
  explicit Pairs(const DatasetOptions& options) : options_(options), tokenizer_(open_tokenizer(options)) {
    // Texts without a prompt need no template, so its absence is an error of the first row that does.
    try {
      template_ = make_chat_template(options_, tokenizer_);
    } catch (const Error& error) {
      if (error.code() != Code::not_found) throw;
      no_template_ = error.what();
    }
  }

  std::vector<TokenRow> convert(std::string_view text) const {
    const Json row = parse_object(text);
    const bool plain = kind(row, options_.column_chosen) == Json::value_t::string && !has_prompt(row);
    std::vector<TokenRow> pair = plain ? texts(row) : conversations(row);
    for (const TokenRow& document : pair) check_learns(document);
    if (options_.preference == "chosen") std::fill(pair[1].labels.begin(), pair[1].labels.end(), kIgnored);
    return pair;
  }

 private:
  bool has_prompt(const Json& row) const {
    const auto found = row.find(options_.column_prompt);
    return found != row.end() && !found->is_null();
  }

  /// Texts or lists, and both answers alike.
  Json::value_t kind(const Json& row, const std::string& column) const {
    for (const std::string& name : {options_.column_chosen, options_.column_rejected}) {
      const auto found = row.find(name);
      TESSERA_CHECK(found != row.end(), format, "field ", name, " is missing");
      TESSERA_CHECK(found->is_string() || (found->is_array() && !found->empty()), format, "field ", name,
                    " is neither text nor a list of messages");
    }
    TESSERA_CHECK(row[options_.column_chosen].type() == row[options_.column_rejected].type(), format, "of ",
                  options_.column_chosen, " and ", options_.column_rejected,
                  " one is text, the other a list");
    return row[column].type();
  }

  /// The prompt's messages; those of a text are one of the user's, with the row's system text before it.
  Json prompt(const Json& row) const {
    if (!has_prompt(row)) return Json::array();
    const Json& given = row[options_.column_prompt];
    if (given.is_array()) return given;
    Json messages = Json::array();
    if (const std::string system = optional_text(row, "system"); !system.empty())
      messages.push_back(message("system", system));
    messages.push_back(message("user", text_field(row, options_.column_prompt)));
    return messages;
  }

  /// Some data sets repeat the prompt at the beginning of each answer.
  static Json joined(const Json& prompt, const Json& answer) {
    if (answer.is_string()) {
      Json messages = prompt;
      messages.push_back(message("assistant", answer));
      return messages;
    }
    const auto speaks = std::find_if(answer.begin(), answer.end(), [](const Json& entry) {
      return entry.is_object() && entry.value("role", Json()) != "system";
    });
    const bool repeats = prompt.empty() || shared_messages(prompt, answer) == prompt.size() ||
                         (speaks != answer.end() &&
                          shared_messages(Json::array({prompt.back()}), Json::array({*speaks})) == 1);
    if (repeats) return answer;
    Json messages = prompt;
    for (const Json& entry : answer) messages.push_back(entry);
    return messages;
  }

  std::vector<TokenRow> conversations(const Json& row) const {
    if (template_ == nullptr) throw Error(Code::not_found, no_template_);
    Json chosen = joined(prompt(row), row[options_.column_chosen]);
    Json rejected = joined(prompt(row), row[options_.column_rejected]);
    const size_t shared =
        std::min({shared_messages(chosen, rejected), chosen.size() - 1, rejected.size() - 1});
    for (size_t i = 0; i < shared; ++i) {
      keep_from_training(chosen[i]);
      keep_from_training(rejected[i]);
    }
    return {conversation_row(*template_, row, std::move(chosen), options_.vocab_size),
            conversation_row(*template_, row, std::move(rejected), options_.vocab_size)};
  }

  /// Whole texts: the tokens that both begin with are the prompt.
  std::vector<TokenRow> texts(const Json& row) const {
    std::vector<TokenRow> pair;
    for (const std::string& name : {options_.column_chosen, options_.column_rejected}) {
      std::vector<int32_t> ids = tokenizer_->encode(text_field(row, name), true);
      const int32_t end = options_.append_eos ? tokenizer_->eos_id() : -1;
      if (end >= 0 && (ids.empty() || ids.back() != end)) ids.push_back(end);
      pair.push_back({ids, ids});
      check_token_row(pair.back(), options_.vocab_size);
    }
    const auto [chosen, rejected] = std::mismatch(pair[0].tokens.begin(), pair[0].tokens.end(),
                                                  pair[1].tokens.begin(), pair[1].tokens.end());
    const auto shared = static_cast<size_t>(chosen - pair[0].tokens.begin());
    for (TokenRow& document : pair)
      std::fill(document.labels.begin(), document.labels.begin() + static_cast<ptrdiff_t>(shared), kIgnored);
    return pair;
  }

  DatasetOptions options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  std::string no_template_;
};

}  // namespace

RowFormat preference_format(const DatasetOptions& options) {
  const auto pairs = std::make_shared<const Pairs>(options);
  RowFormat format;
  format.row = [pairs](std::string_view text) { return pairs->convert(text); };
  return format;
}

}  // namespace tessera
