// ChatTemplate: what it renders, which template it takes, and what it says to bad conversations and
// templates.
#include "data/chat.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "support/errors.h"
#include "tiny_tokenizer.h"

namespace tessera {
namespace {

using testing::error_of;

using Json = nlohmann::ordered_json;

std::shared_ptr<const Tokenizer> tokenizer(nlohmann::json chat_template = nullptr) {
  nlohmann::json config = testing::tiny_tokenizer_config();
  if (!chat_template.is_null()) config["chat_template"] = std::move(chat_template);
  return Tokenizer::from_json(testing::tiny_tokenizer().dump(), config.dump());
}

std::string render(const std::string& source, const std::string& conversation, bool prompt = false) {
  ChatOptions options;
  options.chat_template = source;
  return ChatTemplate(tokenizer(), options).render(Json::parse(conversation), prompt);
}

constexpr const char* kTalk =
    R"([{"role": "user", "content": "hello"}, {"role": "assistant", "content": "the world"}])";

TEST(ChatTemplate, RendersTheBuiltInNames) {
  EXPECT_EQ(render("chatml", kTalk),
            "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nthe world<|im_end|>\n");
  EXPECT_EQ(render("chatml", R"([{"role": "user", "content": "hello"}])", true),
            "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render("llama3", kTalk),
            "<|endoftext|><|start_header_id|>user<|end_header_id|>\n\nhello<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nthe world<|eot_id|>");
  EXPECT_EQ(render("mistral", kTalk), "<|endoftext|>[INST] hello[/INST] the world<|im_end|>");
  EXPECT_EQ(
      render("gemma", kTalk),
      "<|endoftext|><start_of_turn>user\nhello<end_of_turn>\n<start_of_turn>model\nthe world<end_of_turn>\n");
  for (const std::string& name : ChatTemplate::builtin_names()) {
    const std::string text = render(name, kTalk);
    EXPECT_NE(text.find("hello"), std::string::npos) << name;
    EXPECT_NE(text.find("the world"), std::string::npos) << name;
    EXPECT_NE(render(name, R"([{"role": "system", "content": "be brief"}, {"role": "user", "content": "x"}])")
                  .find("be brief"),
              std::string::npos)
        << name;
  }
}

TEST(ChatTemplate, GivesTemplatesWhatTransformersGives) {
  const std::string one = R"({"messages": [{"role": "user", "content": " Hello \n"}]})";
  EXPECT_EQ(render("{{ bos_token }}|{{ eos_token }}|{{ messages[0].content | trim }}", one),
            "<|endoftext|>|<|im_end|>|Hello");
  EXPECT_EQ(
      render(
          "{{ tools is none }} {{ documents is none }} {{ add_generation_prompt }} {{ nothing is defined }}",
          one),
      "True True False False");
  EXPECT_EQ(
      render("{% for m in messages %}\n    {% if true %}\n{{ m['role'] }}\n    {% endif %}\n{% endfor %}\n",
             one),
      "user\n");
  EXPECT_EQ(render("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break "
                   "%}{% endif %}"
                   "{{ i }}{% endfor %}",
                   one),
            "013");
  EXPECT_EQ(render("{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor "
                   "%}{{ ns.n }}",
                   one),
            "3");
  EXPECT_EQ(render("{{ messages[0].content.strip().split('l')[-1] }}{{ 'abc'.startswith('ab') }}{{ "
                   "messages[::-1][0].role }}",
                   one),
            "oTrueuser");
}

TEST(ChatTemplate, PrintsJsonAsPythonDoes) {
  const std::string talk = R"({"messages": [{"role": "user", "content": "x"}],
      "tools": [{"z": 1, "a": [1.0, 1e-7, true, null, "<é&'\"\n"], "e": {}, "l": []}]})";
  EXPECT_EQ(render("{{ tools[0] | tojson }}", talk),
            R"({"z": 1, "a": [1.0, 1e-07, true, null, "<é&'\"\n"], "e": {}, "l": []})");
  EXPECT_EQ(render("{{ tools[0].a | tojson(indent=2) }}", talk),
            "[\n  1.0,\n  1e-07,\n  true,\n  null,\n  \"<é&'\\\"\\n\"\n]");
  EXPECT_EQ(render("{{ tools[0].a[4] | tojson(ensure_ascii=true) }}", talk), R"("<\u00e9&'\"\n")");
  EXPECT_EQ(render("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}", talk),
            R"({"a":2,"b":1})");
  EXPECT_EQ(render("{{ messages[0] | tojson }}", talk), R"({"role": "user", "content": "x"})");
}

TEST(ChatTemplate, KnowsTheDate) {
  ChatOptions options;
  options.chat_template = "{{ strftime_now('%Y-%m-%d') }}";
  options.now = 1700000000;  // 14 November 2023, 22:13:20 UTC
  const std::string date = ChatTemplate(tokenizer(), options).render(Json::parse(kTalk));
  EXPECT_TRUE(date == "2023-11-14" || date == "2023-11-15") << date;
}

TEST(ChatTemplate, TakesTheCheckpointsTemplateByName) {
  const auto two = tokenizer({{{"name", "default"}, {"template", "plain"}},
                              {{"name", "tool_use"}, {"template", "tools: {{ tools | length }}"}},
                              {{"name", "rag"}, {"template", "documents"}}});
  EXPECT_EQ(ChatTemplate(two, {}).render(Json::parse(kTalk)), "plain");
  Json talk = {{"messages", Json::parse(kTalk)}, {"tools", Json::array({Json::object()})}};
  EXPECT_EQ(ChatTemplate(two, {}).render(talk), "tools: 1");
  ChatOptions options;
  options.chat_template = "rag";
  EXPECT_EQ(ChatTemplate(two, options).render(talk), "documents");
  EXPECT_EQ(error_of([] { ChatTemplate(tokenizer(), {}); }).code(), Code::not_found);
  options.chat_template = "nothing like it";
  const Error e = error_of([&] { ChatTemplate(tokenizer(), options); });
  EXPECT_EQ(e.code(), Code::argument);
  EXPECT_NE(std::string(e.what()).find("chatml"), std::string::npos);
}

TEST(ChatTemplate, PassesVariablesFromOptionsAndRows) {
  ChatOptions options;
  options.chat_template = "{{ a }}{{ b }}";
  options.variables = R"({"a": 1, "b": 2})";
  const ChatTemplate chat(tokenizer(), options);
  EXPECT_EQ(chat.render(Json::parse(kTalk)), "12");
  EXPECT_EQ(chat.render({{"messages", Json::parse(kTalk)}, {"chat_template_kwargs", {{"b", 3}}}}), "13");
  options.variables = "[]";
  EXPECT_EQ(error_of([&] { ChatTemplate(tokenizer(), options); }).code(), Code::argument);
}

TEST(ChatTemplate, NamesTheMessageThatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {R"([])", "no messages"},
      {R"({"messages": 3})", "messages is a number"},
      {R"({"turns": []})", "neither"},
      {R"(3)", "neither"},
      {R"([{"role": "user", "content": "a"}, 3])", "message 1 is a number"},
      {R"([{"role": "user", "content": "a"}, {"content": "b"}])", "message 1 has no role"},
      {R"([{"role": 3, "content": "b"}])", "message 0 has no role"},
      {R"([{"role": "user", "content": "a"}, {"role": "narrator", "content": "b"}])",
       "unknown role 'narrator'"},
      {R"([{"role": "user"}])", "message 0 has no content"},
      {R"([{"role": "user", "content": 3}])", "content is a number"},
      {R"([{"role": "user", "content": ["a"]}])", "content[0] is not an object"},
      {R"([{"role": "user", "content": "a", "train": 3}])", "train is not true or false"},
      {R"([{"role": "user", "content": "a", "weight": 0.5}])", "weight=0.5"},
      {R"({"messages": [{"role": "user", "content": "a"}], "tools": "x"})", "tools is a string"},
  };
  ChatOptions options;
  options.chat_template = "chatml";
  const ChatTemplate chat(tokenizer(), options);
  for (const auto& [conversation, expected] : cases) {
    const Error e = error_of([&, text = conversation] { chat.tokenize(std::string_view(text)); });
    EXPECT_NE(std::string(e.what()).find(expected), std::string::npos) << conversation << ": " << e.what();
  }
  EXPECT_EQ(error_of([&] { chat.tokenize(std::string_view("{")); }).code(), Code::format);
  EXPECT_EQ(error_of([&] {
              chat.tokenize(std::string_view(std::string(1000, '[') + std::string(1000, ']')));
            }).code(),
            Code::format);
}

TEST(ChatTemplate, TemplateErrorsSayWhere) {
  EXPECT_NE(std::string(error_of([] { render("{% for x in %}", kTalk); }).what()).find("line 1"),
            std::string::npos);
  const Error raised = error_of([] {
    render(
        "{% for m in messages %}{% if loop.index0 == 1 %}{{ raise_exception('bad turn') }}{% endif %}{% "
        "endfor %}",
        kTalk);
  });
  EXPECT_EQ(raised.code(), Code::format);
  EXPECT_NE(std::string(raised.what()).find("message 1"), std::string::npos) << raised.what();
  EXPECT_NE(std::string(raised.what()).find("bad turn"), std::string::npos) << raised.what();
  EXPECT_EQ(error_of([] { render("{{ messages[7].content }}", kTalk); }).code(), Code::format);
}

// The engine alone would take none for an empty list.
TEST(ChatTemplate, NoneIsNothingToLoopOver) {
  const std::string parts =
      "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}";
  const auto tokenizer =
      Tokenizer::from_json(testing::tiny_tokenizer().dump(), testing::tiny_tokenizer_config().dump());
  ChatOptions options;
  options.chat_template = parts;
  const ChatTemplate chat(tokenizer, options);
  EXPECT_EQ(chat.render(Json::parse(R"([{"role": "user", "content": [{"type": "text", "text": "a"}]}])")),
            "a");
  EXPECT_THROW(
      chat.render(Json::parse(
          R"([{"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f"}}]}])")),
      Error);
  options.chat_template = "{% for t in tools %}x{% endfor %}{% for m in messages %}y{% endfor %}";
  EXPECT_THROW(ChatTemplate(tokenizer, options)
                   .render(Json::parse(R"({"messages": [{"role": "user", "content": "a"}], "tools": null})")),
               Error);
}

TEST(ChatTemplate, HostileTemplatesAreErrors) {
  for (const char* source :
       {"{% for i in range(90000) %}{% for j in range(90000) %}{{ i }}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='abcdefgh') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor "
        "%}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ 'a' * 99999999 }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x "
        "}}"}) {
    error_of([&, text = source] { render(text, kTalk); });
  }
}

}  // namespace
}  // namespace tessera
