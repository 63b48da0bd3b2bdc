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
      TESSERA_CHECK(!weight || *it == 0 || *it == 1, format, "message ", index, ": weight=", it->dump(),
                    " is neither 0 nor 1");
      train = (weight ? *it == 1 : it->get<bool>()) ? MessageRule::Train::yes : MessageRule::Train::no;
    }
    message.erase(it);
  }
  return train;
}

/// What both open with; of a tag that they do not share, such as <tool> and <think>, nothing.
std::string common_start(const std::string& a, const std::string& b) {
  std::string start(a.begin(), std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first);
  if (start.size() == a.size() || start.size() == b.size()) return start;
  for (const auto& [open, close] : {std::pair<char, char>{'<', '>'}, {'[', ']'}}) {
    const size_t at = start.rfind(open);
    if (at != std::string::npos && start.find(close, at) == std::string::npos) start.resize(at);
  }
  return start;
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
  if (!list.empty()) std::memcpy(list.data(), packed.data(), list.size() * sizeof(RenderEvent));
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

const ChatTemplate::Frames& ChatTemplate::frames_of(const std::string& role) const {
  {
    const std::lock_guard lock(frames_mutex_);
    if (const auto it = frames_.find(role); it != frames_.end()) return it->second;
  }
  Frames frames = learn_frames(role);
  const std::lock_guard lock(frames_mutex_);
  return frames_.emplace(role, std::move(frames)).first->second;
}

namespace {

/// An assistant's message that calls a tool.
Json call_of(const char* name, const Json& arguments) {
  const Json function = {{"name", name}, {"arguments", arguments}};
  Json out = {{"role", "assistant"}, {"content", ""}};
  out["tool_calls"] = Json::array();
  out["tool_calls"].push_back({{"type", "function"}, {"id", "a1b2c3d4e"}, {"function", function}});
  return out;
}

Json tool_answer() {
  return {{"role", "tool"}, {"content", "c"}, {"tool_call_id", "a1b2c3d4e"}};
}

}  // namespace

/// What stands in front of the word in the last message, if it is what the prompt for that message ends with:
/// the model goes on behind it. Else empty.
std::string ChatTemplate::header_behind(const Json& talk, const Json& talk_with_word) const {
  try {
    const std::string prompt = run(main_, talk, true).text;
    const Rendering rendering = run(main_, talk_with_word, false);
    for (const TextSpan& turn : rendering.turns.back()) {
      const std::string text = rendering.text.substr(turn.begin, turn.end - turn.begin);
      const size_t at = text.find(kProbe);
      if (at != std::string::npos && prompt.ends_with(text.substr(0, at))) return text.substr(0, at);
    }
  } catch (const Error&) {
    // The template takes no tools in this form.
  }
  return {};
}

/// Renders a few conversations with a word in the place of the content, and keeps what stands around it.
ChatTemplate::Frames ChatTemplate::learn_frames(const std::string& role) const {
  const bool assistant = role == "assistant";
  const auto message = [](const std::string& who, Json content) {
    return Json{{"role", who}, {"content", std::move(content)}};
  };
  const Json user = message("user", "a"), answer = message("assistant", "b");
  const auto parts = [](const char* text) { return Json::array({{{"type", "text"}, {"text", text}}}); };
  std::vector<Json> talks;  // each has the word in one message of `role`
  for (const Json& probe : {message(role, kProbe), message(role, parts(kProbe))}) {
    const bool text = probe["content"].is_string();
    const Json first = text ? user : message("user", parts("a"));
    talks.push_back(Json::array({first, probe}));
    talks.push_back(Json::array({first, probe, first}));
    talks.push_back(Json::array({first, text ? answer : message("assistant", parts("b")), probe}));
    // In front of the first turn a template may print more; such a header serves only where nothing else is
    // known.
    if (!assistant) talks.push_back(Json::array({probe, first}));
  }
  std::vector<std::string> headers, trailers, other_starts, prompts;
  if (assistant) {
    talks.push_back(Json::array({user, message(role, "")}));
    // Templates take the arguments of a call as an object, or as text.
    for (const Json& arguments : {Json(Json::object()), Json("{}")}) {
      talks.push_back(Json::array({user, call_of(kProbe, arguments)}));
      // Behind a tool's answer some templates go on in the turn that made the call.
      const Json answered = Json::array({user, call_of("f", arguments), tool_answer()});
      talks.push_back(answered);
      talks.back().push_back(message(role, kProbe));
      const std::string header = header_behind(answered, talks.back());
      if (!header.empty()) prompts.push_back(header);
    }
  }

  for (const Json& talk : talks) {
    Rendering rendering;
    try {
      rendering = run(main_, talk, false);
    } catch (const Error&) {
      continue;  // this order of roles, or this form of content, is none that the template accepts
    }
    for (size_t i = 0; i < talk.size(); ++i) {
      for (const TextSpan& turn : rendering.turns[i]) {
        const std::string text = rendering.text.substr(turn.begin, turn.end - turn.begin);
        const size_t at = text.find(kProbe);
        // A turn without content: what it shares with the others is its header.
        if (at == std::string::npos && talk[i] == message("assistant", "")) other_starts.push_back(text);
        if (at == std::string::npos) continue;
        const bool call = talk[i].contains("tool_calls");
        (call ? other_starts : headers).push_back(text.substr(0, at));
        if (!call) trailers.push_back(text.substr(at + std::strlen(kProbe)));
      }
    }
  }

  Frames frames;
  frames.trailers = std::move(trailers);
  if (assistant && !generation_prompt_.empty()) {
    for (const std::string& prompt : prompts) std::erase(headers, prompt);
    // The model goes on from the generation prompt, so that is what an assistant turn opens with. The prompt
    // may hold more than an earlier turn does, such as the start of a reasoning block, or the blanks between
    // two turns.
    frames.headers = {generation_prompt_};
    const std::vector<std::string> content_headers = headers;
    headers.insert(headers.end(), other_starts.begin(), other_starts.end());
    for (const std::string& header : headers) {
      const std::string start = common_start(generation_prompt_, header);
      if (!start.empty()) frames.headers.push_back(start);
    }
    for (const std::string& header : content_headers) {
      if (generation_prompt_.ends_with(header)) frames.headers.push_back(header);
      const size_t at = header.find(generation_prompt_);
      if (at != std::string::npos) frames.headers.push_back(header.substr(0, at + generation_prompt_.size()));
    }
  } else {
    frames.headers = headers;
    for (const std::string& header : headers) {
      for (const std::string& start : other_starts) frames.headers.push_back(common_start(header, start));
    }
  }
  frames.headers.insert(frames.headers.end(), prompts.begin(), prompts.end());
  // A turn without content may lack the blanks in front of it.
  for (size_t i = frames.headers.size(); i-- > 0;) {
    const size_t last = frames.headers[i].find_last_not_of(" \n");
    if (last != std::string::npos) frames.headers.push_back(frames.headers[i].substr(0, last + 1));
  }
  for (auto* list : {&frames.headers, &frames.trailers}) {
    std::sort(list->begin(), list->end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  }
  return frames;
}

TextSpan ChatTemplate::content_of(const Rendering& rendering, TextSpan turn, size_t message,
                                  const std::string& role) const {
  const std::string_view text = std::string_view(rendering.text).substr(turn.begin, turn.end - turn.begin);
  const Frames& frames = frames_of(role);
  size_t begin = std::string_view::npos;
  for (const std::string& header : frames.headers) {
    if (text.starts_with(header)) {
      begin = header.size();
      break;
    }
    // In front of the first turn a template may print more, such as a default system text.
    if (message == 0 && !header.empty() && text.find(header) != std::string_view::npos) {
      begin = text.find(header) + header.size();
      break;
    }
  }
  TESSERA_CHECK(begin != std::string_view::npos, unsupported, "message ", message,
                ": cannot tell what the chat template prints around role '", role,
                "'; mark what to train on with {% generation %}");
  TextSpan content{turn.begin + static_cast<int64_t>(begin), turn.end};
  if (role == "assistant") return content;  // what stands behind it is how the model ends its turn
  for (const std::string& trailer : frames.trailers) {
    if (text.ends_with(trailer) && text.size() - trailer.size() >= begin) {
      content.end -= static_cast<int64_t>(trailer.size());
      break;
    }
  }
  return content;
}

}  // namespace tessera
