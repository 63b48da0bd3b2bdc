// ChatTemplate: checks conversations, renders them, and learns from a few renderings of its own what a
// template prints around a turn.
#include "data/chat.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/text_ffi.h"
#include "data/text_status.h"

namespace tessera {

using Json = nlohmann::ordered_json;

namespace {

/// Stands for content in the renderings that learn a template's frames; no template has it in its text.
constexpr int kMaxDepth = 100;

constexpr const char* kProbe = "Qz7TesseraProbe";

Json local_time(int64_t seconds) {
  const std::time_t now = seconds != 0 ? static_cast<std::time_t>(seconds) : std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  return Json::array({parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                      parts.tm_sec, parts.tm_wday, parts.tm_yday});
}

/// JSON that came from a text; bytes that are no UTF-8 can only come from values made by hand.
std::string dump(const Json& value) {
  try {
    return value.dump();
  } catch (const Json::exception& e) {
    throw Error(Code::format, cat("conversation: ", e.what()));
  }
}

bool is_source(const std::string& text) {
  return text.find("{%") != std::string::npos || text.find("{{") != std::string::npos;
}

const Json& messages_of(const Json& conversation) {
  if (conversation.is_array()) return conversation;
  TESSERA_CHECK(conversation.is_object() && conversation.contains("messages"), format,
                "conversation is neither a list of messages nor an object with messages");
  return conversation.at("messages");
}

/// Reads and removes what a message says of training.
MessageRule::Train take_train(Json& message, size_t index) {
  auto train = MessageRule::Train::by_role;
  for (const char* key : {"train", "training", "weight"}) {
    const auto it = message.find(key);
    if (it == message.end()) continue;
    const bool weight = std::strcmp(key, "weight") == 0;
    if (!it->is_null()) {
      TESSERA_CHECK(weight ? it->is_number() : it->is_boolean(), format, "message ", index, ": ", key,
                    " is not ", weight ? "a number" : "true or false");
      TESSERA_CHECK(!weight || *it == 0 || *it == 1, unsupported, "message ", index, ": weight=", it->dump(),
                    " is neither 0 nor 1");
      train = (weight ? *it == 1 : it->get<bool>()) ? MessageRule::Train::yes : MessageRule::Train::no;
    }
    message.erase(it);
  }
  return train;
}

/// Copying and printing a value goes as deep as the value does.
void check_depth(const Json& value, int left) {
  TESSERA_CHECK(left > 0, format, "conversation is nested more than ", kMaxDepth, " deep");
  if (!value.is_structured()) return;
  for (const Json& item : value) check_depth(item, left - 1);
}

void check_content(const Json& message, size_t index) {
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) {
    const auto has = [&](const char* key) {
      const auto it = message.find(key);
      return it != message.end() && !it->is_null();
    };
    TESSERA_CHECK(has("tool_calls") || has("function_call") || has("reasoning_content"), format, "message ",
                  index, " has no content");
    return;
  }
  TESSERA_CHECK(content->is_string() || content->is_array(), format, "message ", index, ": content is a ",
                content->type_name(), ", not text or a list of parts");
  if (!content->is_array()) return;
  for (size_t k = 0; k < content->size(); ++k) {
    TESSERA_CHECK((*content)[k].is_object(), format, "message ", index, ": content[", k,
                  "] is not an object");
  }
}

}  // namespace

ChatTemplate::ChatTemplate(std::shared_ptr<const Tokenizer> tokenizer, ChatOptions options)
    : tokenizer_(std::move(tokenizer)), options_(std::move(options)) {
  TESSERA_CHECK(tokenizer_, argument, "a chat template needs a tokenizer");
  const auto& own = tokenizer_->chat_templates();
  std::string source, tool_use;
  if (const std::string& name = options_.chat_template; name.empty()) {
    TESSERA_CHECK(
        !own.empty(), not_found,
        "the checkpoint has no chat template; name a built-in one such as chatml, or give one as text");
    const auto it = own.count("default") ? own.find("default") : own.begin();
    TESSERA_CHECK(own.size() == 1 || it->first == "default", argument, "the checkpoint has ", own.size(),
                  " chat templates and no default: name one");
    source = it->second;
    if (own.count("tool_use")) tool_use = own.at("tool_use");
  } else if (own.count(name)) {
    source = own.at(name);
  } else {
    source = is_source(name) ? name : builtin(name);
  }

  Json context = Json::object();
  for (const auto& [name, text] : tokenizer_->special_tokens()) context[name] = text;
  context["tools"] = nullptr;
  context["documents"] = nullptr;
  context["__ttx_now"] = local_time(options_.now);
  if (!options_.variables.empty()) {
    const Json more = Json::parse(options_.variables, nullptr, false);
    TESSERA_CHECK(more.is_object(), argument, "chat template variables are not a json object");
    for (const auto& [name, value] : more.items()) context[name] = value;
  }
  base_context_ = dump(context);

  try {
    main_ = compile(source);
    if (!tool_use.empty()) tool_use_ = compile(tool_use);
    learn_turns();
  } catch (...) {
    ttx_template_free(main_.handle);
    ttx_template_free(tool_use_.handle);
    throw;
  }
}

ChatTemplate::~ChatTemplate() {
  ttx_template_free(main_.handle);
  ttx_template_free(tool_use_.handle);
}

ChatTemplate::Compiled ChatTemplate::compile(const std::string& source) const {
  Compiled compiled;
  TtxBytes error{};
  check_text(
      ttx_template_open(source.data(), source.size(), &compiled.handle, &compiled.has_generation, &error),
      error, "chat template");
  return compiled;
}

const ChatTemplate::Compiled& ChatTemplate::choose(const Json& conversation) const {
  const bool tools =
      conversation.is_object() && conversation.contains("tools") && !conversation["tools"].is_null();
  return tools && tool_use_.handle ? tool_use_ : main_;
}

Rendering ChatTemplate::run(const Compiled& compiled, const Json& conversation,
                            bool add_generation_prompt) const {
  Json context = Json::parse(base_context_);
  context["add_generation_prompt"] = add_generation_prompt;
  context["messages"] = messages_of(conversation);
  if (conversation.is_object()) {
    for (const char* key : {"tools", "documents"}) {
      const auto it = conversation.find(key);
      if (it == conversation.end() || it->is_null()) continue;
      TESSERA_CHECK(it->is_array(), format, key, " is a ", it->type_name(), ", not a list");
      context[key] = *it;
    }
    if (const auto it = conversation.find("chat_template_kwargs");
        it != conversation.end() && !it->is_null()) {
      TESSERA_CHECK(it->is_object(), format, "chat_template_kwargs is a ", it->type_name(),
                    ", not an object");
      for (const auto& [name, value] : it->items()) {
        if (name != "messages") context[name] = value;
      }
    }
  }
  const std::string text = dump(context);
  TtxBytes rendered{}, events{}, error{};
  check_text(ttx_template_render(compiled.handle, text.data(), text.size(), &rendered, &events, &error),
             error, "chat template");
  Rendering rendering;
  const std::string packed = take(events);
  std::vector<RenderEvent> list(packed.size() / sizeof(RenderEvent));
  std::memcpy(list.data(), packed.data(), list.size() * sizeof(RenderEvent));
  rendering.text = take(rendered);
  rendering.read(list, context["messages"].size());
  return rendering;
}

Json ChatTemplate::check(const Json& conversation, std::vector<MessageRule>& rules) const {
  check_depth(conversation, kMaxDepth);
  const Json& messages = messages_of(conversation);
  TESSERA_CHECK(messages.is_array(), format, "messages is a ", messages.type_name(), ", not a list");
  TESSERA_CHECK(!messages.empty(), format, "the conversation has no messages");
  Json checked = conversation;
  Json& list = conversation.is_array() ? checked : checked["messages"];
  rules.clear();
  for (size_t i = 0; i < list.size(); ++i) {
    Json& message = list[i];
    TESSERA_CHECK(message.is_object(), format, "message ", i, " is a ", message.type_name(),
                  ", not an object");
    const auto role = message.find("role");
    TESSERA_CHECK(role != message.end() && role->is_string(), format, "message ", i, " has no role");
    const std::string name = role->get<std::string>();
    TESSERA_CHECK(std::find(options_.roles.begin(), options_.roles.end(), name) != options_.roles.end(),
                  format, "message ", i, " has the unknown role '", name, "'");
    check_content(message, i);
    const MessageRule::Train train = take_train(message, i);
    rules.push_back({name, train});
  }
  return checked;
}

std::string ChatTemplate::render(const Json& conversation, bool add_generation_prompt) const {
  std::vector<MessageRule> rules;
  const Json checked = check(conversation, rules);
  return run(choose(checked), checked, add_generation_prompt).text;
}

ChatTokens ChatTemplate::tokenize(std::string_view conversation_json) const {
  const Json conversation = Json::parse(conversation_json, nullptr, false);
  TESSERA_CHECK(!conversation.is_discarded(), format, "conversation is not json");
  return tokenize(conversation);
}

ChatTokens ChatTemplate::tokenize(const Json& conversation) const {
  std::vector<MessageRule> rules;
  const Json checked = check(conversation, rules);
  const Compiled& compiled = choose(checked);
  Rendering rendering = run(compiled, checked, false);
  const Encoding encoding = tokenizer_->encode_with_offsets(rendering.text, false);

  const std::vector<bool> trained = trained_messages(rules, options_.mask);
  for (size_t i = 0; i < rules.size(); ++i) {
    const bool tagged = compiled.has_generation && rules[i].role == "assistant";
    TESSERA_CHECK(
        !trained[i] || tagged || !rendering.turns[i].empty(), unsupported, "message ", i,
        ": the chat template does not print it in a loop over messages, so its tokens cannot be told; "
        "mark them with {% generation %}");
  }
  ChatTokens tokens;
  tokens.train = train_mask(rendering, encoding, rules, options_.mask, compiled.has_generation, turn_ends_,
                            [&](TextSpan turn, size_t message) {
                              return content_of(rendering, turn, message, rules[message].role);
                            });
  tokens.ids = encoding.ids;
  tokens.text = std::move(rendering.text);
  return tokens;
}

/// What the template opens an assistant turn with, and which tokens it ends turns with.
void ChatTemplate::learn_turns() {
  turn_ends_ = tokenizer_->eos_ids();
  const Json question = {{"role", "user"}, {"content", "a"}};
  const Json answer = {{"role", "assistant"}, {"content", kProbe}};
  const Json system = {{"role", "system"}, {"content", "b"}};
  // A template may refuse a conversation without a system message, or one with it.
  for (const Json& start : {Json::array({question}), Json::array({system, question})}) {
    try {
      const std::string without = run(main_, start, false).text;
      const std::string with = run(main_, start, true).text;
      if (with.size() > without.size() && with.starts_with(without))
        generation_prompt_ = with.substr(without.size());
      Json talk = start;
      talk.push_back(answer);
      const Rendering rendering = run(main_, talk, false);
      const Encoding encoding = tokenizer_->encode_with_offsets(rendering.text, false);
      for (const TextSpan& turn : rendering.turns.back()) {
        const int64_t end = turn_end_token(rendering.text, encoding, turn,
                                           [&](int32_t id) { return tokenizer_->is_added(id); });
        if (end >= 0 &&
            std::find(turn_ends_.begin(), turn_ends_.end(), encoding.ids[end]) == turn_ends_.end()) {
          turn_ends_.push_back(encoding.ids[end]);
        }
      }
      return;
    } catch (const Error&) {
      // The conversations that the caller brings may still be fine.
    }
  }
}

/// What the template prints in front of and behind the content of a message with `role`.
ChatTemplate::Frame ChatTemplate::frame_of(const std::string& role) const {
  {
    const std::lock_guard lock(frames_mutex_);
    if (const auto it = frames_.find(role); it != frames_.end()) return it->second;
  }
  const Json user = {{"role", "user"}, {"content", "a"}};
  const Json assistant = {{"role", "assistant"}, {"content", "b"}};
  const Json probe = {{"role", role}, {"content", kProbe}};
  Frame frame;
  // First in the place of a later turn: in front of the first a template may print more, such as a default
  // system text.
  for (Json talk : {Json::array({user, probe}), Json::array({user, assistant, probe}),
                    Json::array({probe, user}), Json::array({probe})}) {
    try {
      const Rendering rendering = run(main_, talk, false);
      for (size_t i = 0; i < talk.size() && !frame.known; ++i) {
        for (const TextSpan& turn : rendering.turns[i]) {
          const std::string text = rendering.text.substr(turn.begin, turn.end - turn.begin);
          const size_t at = text.find(kProbe);
          if (talk[i] != probe || at == std::string::npos) continue;
          frame = {true, text.substr(0, at), text.substr(at + std::strlen(kProbe))};
        }
      }
    } catch (const Error&) {
      continue;  // this order of roles is none that the template accepts
    }
    if (frame.known) break;
  }
  const std::lock_guard lock(frames_mutex_);
  return frames_.emplace(role, std::move(frame)).first->second;
}

TextSpan ChatTemplate::content_of(const Rendering& rendering, TextSpan turn, size_t message,
                                  const std::string& role) const {
  const std::string_view text = std::string_view(rendering.text).substr(turn.begin, turn.end - turn.begin);
  const auto behind = [&](const std::string& header) -> int64_t {
    if (text.starts_with(header)) return turn.begin + static_cast<int64_t>(header.size());
    // Only the first turn can have something else in front.
    const size_t at = message == 0 ? text.find(header) : std::string_view::npos;
    return at == std::string_view::npos ? -1 : turn.begin + static_cast<int64_t>(at + header.size());
  };
  const bool assistant = role == "assistant";
  // The model goes on from the generation prompt, so that is what an assistant turn opens with.
  int64_t begin = assistant && !generation_prompt_.empty() ? behind(generation_prompt_) : -1;
  if (begin >= 0) return {begin, turn.end};
  const Frame frame = frame_of(role);
  if (frame.known) begin = behind(frame.header);
  TESSERA_CHECK(begin >= 0, unsupported, "message ", message,
                ": cannot tell what the chat template prints around role '", role,
                "'; mark what to train on with {% generation %}");
  const auto trailer = static_cast<int64_t>(frame.trailer.size());
  const bool cut = !assistant && text.ends_with(frame.trailer) && turn.end - trailer >= begin;
  return {begin, cut ? turn.end - trailer : turn.end};
}

}  // namespace tessera
