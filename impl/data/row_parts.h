// What the row formats share: fields of a JSON row, and conversations to token rows.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "data/chat.h"
#include "data/dataset.h"
#include "data/token_rows.h"
#include "data/tokenizer.h"

namespace tessera::rows {

using Json = nlohmann::ordered_json;

/// Throws Error(format) for text that is no JSON object.
Json parse_object(std::string_view text);
/// Throws Error(format) unless the field is there and is text.
std::string text_field(const Json& row, const std::string& name);
/// Empty when the field is absent or null.
std::string optional_text(const Json& row, const std::string& name);

Json message(const char* role, Json content);
/// What the assistant said before the answer is context: it is not learnt unless it says so itself.
void keep_from_training(Json& message);

std::vector<TokenRow> one(TokenRow row);
/// Throws Error(format) for a row without a label: token rows say themselves what they train on, but a text
/// or a conversation that trains on nothing is a mistake in the data.
void check_learns(const TokenRow& row);

/// Throws Error(argument) where the options name no tokenizer, or one with ids outside the vocabulary.
std::shared_ptr<const Tokenizer> open_tokenizer(const DatasetOptions& options);
std::shared_ptr<const ChatTemplate> make_chat_template(const DatasetOptions& options,
                                                       std::shared_ptr<const Tokenizer> tokenizer);
/// The messages, with what else of `row` the template reads, as tokens and labels.
TokenRow conversation_row(const ChatTemplate& chat_template, const Json& row, Json messages, int64_t vocab);

}  // namespace tessera::rows
