// ChatTemplate: a conversation in, token ids and the mask of what to train on out, in one rendering.
//
// The template is the checkpoint's own Jinja, with the variables and functions transformers gives it. The
// mask comes from the same rendering: markers in the template tell which bytes belong to which message and
// which `{% generation %}` block, and token offsets carry that over to tokens. docs/chat-templates.md
// explains the rules.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/chat_mask.h"
#include "data/tokenizer.h"

struct TtxTemplate;

namespace tessera {

struct ChatOptions {
  /// Empty: the checkpoint's "default" ("tool_use" for conversations with tools, where there is one). Else
  /// the name of one of its templates, a built-in name (ChatTemplate::builtin_names), or Jinja source (has
  /// "{%" or "{{").
  std::string chat_template;
  MaskOptions mask;
  /// Roles that a message may have; others are an error.
  std::vector<std::string> roles = {"system", "developer", "user",   "assistant",
                                    "tool",   "function",  "ipython"};
  /// JSON object of more variables for the template, such as {"enable_thinking": false}; empty for none.
  std::string variables;
  /// Seconds since 1970 for strftime_now; 0: the moment of construction. Give one to have the same text every
  /// day.
  int64_t now = 0;
};

struct ChatTokens {
  std::vector<int32_t> ids;
  std::vector<uint8_t> train;  ///< one per id: 1 where the token is a target
  std::string text;            ///< what was tokenised
};

/// Immutable once open; every method may be called from any number of threads at once.
///
/// A conversation is a JSON object with `messages` and optionally `tools`, `documents` and
/// `chat_template_kwargs` (more variables), or just the list of messages. A message has `role`, `content`
/// (text, null or a list of parts) and whatever else the template reads (`tool_calls`, `reasoning_content`,
/// `name` ..). `train` or `training` (bool) and `weight` (0 or 1) override MaskOptions for that message and
/// are not shown to the template. Keys keep their order: a template that prints a tool with tojson prints it
/// as written.
class ChatTemplate {
 public:
  /// Error: not_found (the checkpoint has no template), format (the template does not compile), argument.
  ChatTemplate(std::shared_ptr<const Tokenizer> tokenizer, ChatOptions options);
  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  /// The text. `add_generation_prompt`: end with the opening of an assistant turn.
  std::string render(const nlohmann::ordered_json& conversation, bool add_generation_prompt = false) const;
  /// Ids as transformers' apply_chat_template gives them, and the mask of MaskOptions.
  /// Error(format) names the message index; Error(unsupported): the template does not tell where a turn
  /// starts.
  ChatTokens tokenize(const nlohmann::ordered_json& conversation) const;
  /// From JSON text; Error(format) when it is none.
  ChatTokens tokenize(std::string_view conversation_json) const;

  /// Whether the template marks what the assistant says with generation tags.
  bool has_generation_tags() const { return main_.has_generation; }

  static std::vector<std::string> builtin_names();
  /// The Jinja source; Error(argument) with the names there are.
  static const std::string& builtin(const std::string& name);

 private:
  struct Compiled {
    TtxTemplate* handle = nullptr;
    bool has_generation = false;
  };
  /// What a template prints in front of and behind the content of a role; it may differ with the place of the
  /// turn.
  struct Frames {
    std::vector<std::string> headers;   ///< longest first
    std::vector<std::string> trailers;  ///< longest first
  };

  Compiled compile(const std::string& source) const;
  const Compiled& choose(const nlohmann::ordered_json& conversation) const;
  Rendering run(const Compiled& compiled, const nlohmann::ordered_json& conversation,
                bool add_generation_prompt) const;
  void learn_turns();
  const Frames& frames_of(const std::string& role) const;
  Frames learn_frames(const std::string& role) const;
  std::string header_behind(const nlohmann::ordered_json& talk,
                            const nlohmann::ordered_json& talk_with_word) const;
  nlohmann::ordered_json check(const nlohmann::ordered_json& conversation,
                               std::vector<MessageRule>& rules) const;
  TextSpan content_of(const Rendering& rendering, TextSpan turn, size_t message,
                      const std::string& role) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  ChatOptions options_;
  std::string base_context_;  // JSON object of the variables every conversation gets
  Compiled main_;
  Compiled tool_use_;
  std::string generation_prompt_;
  std::vector<int32_t> turn_ends_;  // ids that end a turn
  mutable std::mutex frames_mutex_;
  mutable std::unordered_map<std::string, Frames> frames_;  // by role; entries stay where they are
};

}  // namespace tessera
