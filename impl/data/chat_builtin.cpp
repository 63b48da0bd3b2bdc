// Chat templates of the common families, for checkpoints that come without one. Written for training: what
// the assistant says stands in generation blocks together with the token that ends its turn.
#include <map>

#include "core/error.h"
#include "data/chat.h"

namespace tessera {

namespace {

constexpr const char* kChatml = R"({%- for m in messages %}
{{- '<|im_start|>' + m.role + '\n' }}
{%- if m.role == 'assistant' %}
{%- generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}
{%- else %}
{{- m.content + '<|im_end|>' }}
{%- endif %}
{{- '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- endif %})";

// ChatML with reasoning in <think> tags and tool calls and results as JSON in their tags.
constexpr const char* kQwen = R"({%- if tools %}
{{- raise_exception('the built-in qwen template cannot list tools: use the template of the checkpoint') }}
{%- endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}
{{- '<|im_start|>user' }}
{%- endif %}
{{- '\n<tool_response>\n' + m.content + '\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
{{- '<|im_end|>\n' }}
{%- endif %}
{%- elif m.role == 'assistant' %}
{{- '<|im_start|>assistant\n' }}
{%- generation %}
{%- if m.reasoning_content %}
{{- '<think>\n' + m.reasoning_content.strip('\n') + '\n</think>\n\n' }}
{%- endif %}
{{- m.content or '' }}
{%- for call in m.tool_calls or [] %}
{%- set function = call.function or call %}
{%- if not loop.first or m.content %}
{{- '\n' }}
{%- endif %}
{{- '<tool_call>\n{"name": "' + function.name + '", "arguments": ' }}
{{- function.arguments if function.arguments is string else function.arguments | tojson }}
{{- '}\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>' }}
{%- endgeneration %}
{{- '\n' }}
{%- else %}
{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- endif %})";

constexpr const char* kLlama3 = R"({{- bos_token }}
{%- for m in messages %}
{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}
{%- if m.role == 'assistant' %}
{%- generation %}{{ m.content | trim + '<|eot_id|>' }}{% endgeneration %}
{%- else %}
{{- m.content | trim + '<|eot_id|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %})";

constexpr const char* kLlama2 = R"({%- set ns = namespace(system='') %}
{%- for m in messages %}
{%- if m.role == 'system' %}
{%- set ns.system = '<<SYS>>\n' + m.content + '\n<</SYS>>\n\n' %}
{%- elif m.role == 'user' %}
{{- bos_token + '[INST] ' + ns.system + m.content | trim + ' [/INST]' }}
{%- set ns.system = '' %}
{%- elif m.role == 'assistant' %}
{%- generation %}{{ ' ' + m.content | trim + ' ' + eos_token }}{% endgeneration %}
{%- else %}
{{- raise_exception('role ' + m.role + ' is not one of this template') }}
{%- endif %}
{%- endfor %})";

constexpr const char* kMistral = R"({{- bos_token }}
{%- set ns = namespace(system='') %}
{%- for m in messages %}
{%- if m.role == 'system' %}
{%- set ns.system = m.content + '\n\n' %}
{%- elif m.role == 'user' %}
{{- '[INST] ' + ns.system + m.content + '[/INST]' }}
{%- set ns.system = '' %}
{%- elif m.role == 'assistant' %}
{%- generation %}{{ ' ' + m.content | trim + eos_token }}{% endgeneration %}
{%- else %}
{{- raise_exception('role ' + m.role + ' is not one of this template') }}
{%- endif %}
{%- endfor %})";

constexpr const char* kGemma = R"({{- bos_token }}
{%- set ns = namespace(system='') %}
{%- for m in messages %}
{%- if m.role == 'system' %}
{%- set ns.system = m.content | trim + '\n\n' %}
{%- elif m.role == 'assistant' %}
{{- '<start_of_turn>model\n' }}
{%- generation %}{{ m.content | trim + '<end_of_turn>' }}{% endgeneration %}
{{- '\n' }}
{%- else %}
{{- '<start_of_turn>' + m.role + '\n' + ns.system + m.content | trim + '<end_of_turn>\n' }}
{%- set ns.system = '' %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<start_of_turn>model\n' }}
{%- endif %})";

constexpr const char* kPhi3 = R"({%- for m in messages %}
{{- '<|' + m.role + '|>\n' }}
{%- if m.role == 'assistant' %}
{%- generation %}{{ m.content + '<|end|>' }}{% endgeneration %}
{%- else %}
{{- m.content + '<|end|>' }}
{%- endif %}
{{- '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>\n' }}
{%- endif %})";

constexpr const char* kPhi4 = R"({%- for m in messages %}
{{- '<|im_start|>' + m.role + '<|im_sep|>' }}
{%- if m.role == 'assistant' %}
{%- generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}
{%- else %}
{{- m.content + '<|im_end|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant<|im_sep|>' }}
{%- endif %})";

constexpr const char* kZephyr = R"({%- for m in messages %}
{{- '<|' + m.role + '|>\n' }}
{%- if m.role == 'assistant' %}
{%- generation %}{{ m.content + eos_token }}{% endgeneration %}
{%- else %}
{{- m.content + eos_token }}
{%- endif %}
{{- '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>\n' }}
{%- endif %})";

constexpr const char* kDeepseek = R"({{- bos_token }}
{%- for m in messages %}
{%- if m.role == 'user' %}
{{- '<｜User｜>' + m.content }}
{%- elif m.role == 'assistant' %}
{{- '<｜Assistant｜>' }}
{%- generation %}{{ m.content + eos_token }}{% endgeneration %}
{%- elif m.role == 'system' %}
{{- m.content }}
{%- else %}
{{- raise_exception('role ' + m.role + ' is not one of this template') }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<｜Assistant｜>' }}
{%- endif %})";

constexpr const char* kVicuna = R"({{- bos_token }}
{%- for m in messages %}
{%- if m.role == 'user' %}
{{- 'USER: ' + m.content | trim + ' ' }}
{%- elif m.role == 'assistant' %}
{{- 'ASSISTANT:' }}
{%- generation %}{{ ' ' + m.content | trim + eos_token }}{% endgeneration %}
{%- elif m.role == 'system' %}
{{- m.content | trim + ' ' }}
{%- else %}
{{- raise_exception('role ' + m.role + ' is not one of this template') }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- 'ASSISTANT:' }}
{%- endif %})";

constexpr const char* kAlpaca = R"({{- bos_token }}
{%- for m in messages %}
{%- if m.role == 'user' %}
{{- '### Instruction:\n' + m.content | trim + '\n\n' }}
{%- elif m.role == 'assistant' %}
{{- '### Response:\n' }}
{%- generation %}{{ m.content | trim + eos_token }}{% endgeneration %}
{{- '\n\n' }}
{%- elif m.role == 'system' %}
{{- m.content | trim + '\n\n' }}
{%- else %}
{{- raise_exception('role ' + m.role + ' is not one of this template') }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '### Response:\n' }}
{%- endif %})";

const std::map<std::string, std::string>& templates() {
  static const std::map<std::string, std::string> all = {
      {"alpaca", kAlpaca}, {"chatml", kChatml}, {"deepseek", kDeepseek}, {"gemma", kGemma},
      {"llama2", kLlama2}, {"llama3", kLlama3}, {"mistral", kMistral},   {"phi3", kPhi3},
      {"phi4", kPhi4},     {"qwen", kQwen},     {"vicuna", kVicuna},     {"zephyr", kZephyr}};
  return all;
}

}  // namespace

std::vector<std::string> ChatTemplate::builtin_names() {
  std::vector<std::string> names;
  for (const auto& [name, source] : templates()) names.push_back(name);
  return names;
}

const std::string& ChatTemplate::builtin(const std::string& name) {
  const auto it = templates().find(name);
  if (it == templates().end()) {
    std::string known;
    for (const auto& [other, source] : templates()) known += (known.empty() ? "" : ", ") + other;
    throw Error(Code::argument,
                cat("chat template '", name, "' is none of the checkpoint's and none of ", known));
  }
  return it->second;
}

}  // namespace tessera
