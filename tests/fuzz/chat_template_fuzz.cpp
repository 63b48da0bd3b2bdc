// Fuzzes chat templates: the input is a template, the conversation is fixed. A template renders and gives a
// mask of the right length, or is an error of one line; none may crash, hang or use up memory.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "../support/tiny_tokenizer.h"
#include "core/error.h"
#include "data/chat.h"

namespace {

using namespace tessera;

void require(bool holds) {
  if (!holds) std::abort();
}

constexpr const char* kConversation =
    R"({"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": " hello \n"},
        {"role": "assistant", "content": "", "reasoning_content": "r",
         "tool_calls": [{"type": "function", "id": "a", "function": {"name": "f", "arguments": {"x": [1, 2.5, null]}}}]},
        {"role": "tool", "content": "1"}, {"role": "assistant", "content": "the <b>world</b>"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tokenizer =
      Tokenizer::from_json(testing::tiny_tokenizer().dump(), testing::tiny_tokenizer_config().dump());
  ChatOptions options;
  // What has no tag is a name; one that is never a name makes it a source.
  options.chat_template = std::string(reinterpret_cast<const char*>(data), size) + "{% if true %}{% endif %}";
  options.now = 1;
  for (const EosPolicy eos : {EosPolicy::turn, EosPolicy::as_tagged}) {
    options.mask.eos = eos;
    try {
      const ChatTokens tokens = ChatTemplate(tokenizer, options).tokenize(std::string_view(kConversation));
      require(tokens.ids.size() == tokens.train.size());
    } catch (const Error& error) {
      const std::string message = error.what();
      require(!message.empty() && message.find('\n') == std::string::npos);
      require(error.code() == Code::format || error.code() == Code::unsupported);
    }
  }
  return 0;
}
