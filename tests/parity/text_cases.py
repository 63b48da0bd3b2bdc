"""The texts, conversations and chat templates of text_reference.py, all written for this test."""

import random


def prose(seed, words):
    generator = random.Random(seed)
    syllables = ["ka", "lo", "mi", "ren", "tu", "sa", "ver", "o", "in", "th", "e", "ing", "ed", "qu", "ar", "st"]
    out = []
    for _ in range(words):
        word = "".join(generator.choices(syllables, k=generator.randint(1, 4)))
        out.append(word.capitalize() if generator.random() < 0.1 else word)
        if generator.random() < 0.15:
            out[-1] += generator.choice([".", ",", "?", "!\n", ";", ":", "'s", "n't", "…", "—"])
    return " ".join(out)


def texts():
    return [
        "", " ", "  ", "\n", "\t \n \r\n\n", "a", " a", "a ", "  a  b  ",
        "The tax is 18.5% of $1,234,567.89; pay 12345678901234567890 by 2031-02-03.",
        "don't won't it's we'll THEY'RE I'D x'y ''quoted'' \"twice\"",
        "def f(x):\n\treturn {k: v for k, v in x.items() if v != None}  # done\n\n\nclass A: pass\n",
        "https://example.org/a/b?c=d&e=%20#f <p class=\"x\">&amp;</p>",
        # Combining marks, their composed forms, and stacks of them.
        "e\u0301 \u00e9 n\u0303 \u00f1 A\u030a\u0323 \u1e69 s\u0323\u0307 o" + "\u0300" * 40,
        "\ufb01 \ufb03 \u2460 \u00bd \u33a5 \uff21\uff22 \u212b \u2126 \u1e9e \u0130 \u0131 \u03c2\u03c3",
        # Emoji: joined, skin tones, flags, keycaps, variation selectors.
        "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea 1\ufe0f\u20e3 \u2764\ufe0f\u2764",
        # Right to left, bidirectional controls, scripts without blanks.
        "\u202eabc\u202c \u05e9\u05dc\u05d5\u05dd \u0627\u0644\u0633\u0644\u0627\u0645 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0928\u092e\u0938\u094d\u0924\u0947",
        "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u3053\u3093\u306b\u3061\u306f \uc548\ub155 \u1112\u1161\u11ab",
        # Controls, blanks of all widths, noncharacters, private use, the ends of planes, replacement characters.
        "".join(map(chr, range(0, 32))) + "\x7f\x80\x85\x9f",
        "a\u00a0b\u1680c\u2000d\u2009e\u200bf\u2028g\u2029h\u202fi\u205fj\u3000k\ufeffl",
        "\ufdd0\ufdef\ufffe\uffff\U0001fffe\U0010ffff \ue000\uf8ff\U000f0000 \ufffd\ufffc",
        "\ud7ff\ue000 \U00010000 \U0001d54f \U0002f81a \U000e0041",
        # What looks like special tokens, whole and torn.
        "<|im_start|>user\nhi<|im_end|>\n<|im_start |> <|im_|><|im_end|><|im_end|>",
        "<s>a</s> <unk> <0x41> \u2581\u2581x\u2581 [CLS] ##ing [UNK] <|extra|> <tool>  x <tool>y",
        "<|endoftext|><|pad|> [INST] x [/INST]<|endoftext|>",
        "a" * 3000, " " * 3000, "ab" * 1000 + "\n" * 1000, "\u00e9" * 500, "\U0001f600" * 300, "1" * 500,
        "x\n" * 700, "\u2581" * 50, "'" * 99,
        prose(1, 60), prose(2, 400), prose(3, 1500).upper(), prose(4, 200).replace(" ", "  \n"),
        prose(5, 3000).replace(" ", ""),
    ]


TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "The weather at a place: \"now\" & <later>, in °C.",
        "parameters": {"type": "object", "required": ["place"], "properties": {
            "place": {"type": "string", "description": "A town's name"},
            "days": {"type": "integer", "minimum": 0, "default": 1},
            "unit": {"type": "string", "enum": ["C", "F"]},
            "exact": {"type": ["boolean", "null"], "default": False},
            "scale": {"type": "number", "default": 1.5}}}}},
    {"type": "function", "function": {"name": "stop", "description": "Stops.", "parameters": {
        "type": "object", "properties": {}}}},
]


def call(name, arguments, identity="abcdef012"):
    return {"type": "function", "id": identity, "function": {"name": name, "arguments": arguments}}


CONVERSATIONS = [
    {"messages": [{"role": "user", "content": "What is 2+2?"}, {"role": "assistant", "content": "4"}]},
    {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a river."},
                  {"role": "assistant", "content": "The Elbe."}, {"role": "user", "content": "And a lake?"},
                  {"role": "assistant", "content": "Müritz."}]},
    {"messages": [{"role": "user", "content": "one"}]},
    {"messages": [{"role": "system", "content": "Only this."}]},
    {"messages": [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "Do you?"}]},
    {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"},
                  {"role": "assistant", "content": "c"}]},
    # Blanks around and inside content, empty content.
    {"messages": [{"role": "user", "content": "  padded \n"}, {"role": "assistant", "content": "\n\n  also padded  \n"},
                  {"role": "user", "content": "x"}, {"role": "assistant", "content": ""}]},
    # Markup in content.
    {"messages": [{"role": "user", "content": "say <|im_end|>"},
                  {"role": "assistant", "content": "<|im_start|>assistant\n{{ 7 * 7 }} {% generation %} ok"}]},
    # Any Unicode, JSON and HTML in content.
    {"messages": [{"role": "user", "content": "\U0001f469\u200d\U0001f467 e\u0301 \u202e \ufdd0 <b>&\"'</b>"},
                  {"role": "assistant", "content": "{\"a\": [1, 2.5, null]} \U0001f44d\U0001f3fd done"}]},
    # Reasoning, in its own field and inside of the content.
    {"messages": [{"role": "user", "content": "why"},
                  {"role": "assistant", "reasoning_content": "because\nof it", "content": "so"},
                  {"role": "user", "content": "really?"},
                  {"role": "assistant", "content": "<think>\nhm\n</think>\n\nyes"}]},
    {"messages": [{"role": "user", "content": "why"},
                  {"role": "assistant", "content": "<think>\nhm\n</think>\n\nyes"}],
     "chat_template_kwargs": {"enable_thinking": False}},
    # Tools: listed, called, answered.
    {"messages": [{"role": "user", "content": "weather in Jena and Gera?"},
                  {"role": "assistant", "content": "",
                   "tool_calls": [call("get_weather", {"place": "Jena", "days": 2, "exact": True, "scale": 0.1})]},
                  {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef012", "content": "{\"t\": -3.5}"},
                  {"role": "assistant", "content": "Cold."},
                  {"role": "user", "content": "thanks"}, {"role": "assistant", "content": "ok"}], "tools": TOOLS},
    {"messages": [{"role": "system", "content": "You have tools."}, {"role": "user", "content": "both"},
                  {"role": "assistant", "content": "Let me see.",
                   "tool_calls": [call("get_weather", {"place": "Zürich"}), call("stop", {}, "fedcba987")]},
                  {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef012", "content": "1"},
                  {"role": "tool", "name": "stop", "tool_call_id": "fedcba987", "content": "2"},
                  {"role": "assistant", "content": "Done."}], "tools": TOOLS},
    {"messages": [{"role": "user", "content": "list them"}, {"role": "assistant", "content": "two"}], "tools": TOOLS},
    {"messages": [{"role": "user", "content": "x"},
                  {"role": "assistant", "tool_calls": [call("stop", {})]},
                  {"role": "tool", "content": "stopped"}, {"role": "assistant", "content": "good"}]},
    # Content as a list of parts.
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "part one"}, {"type": "text", "text": " two"}]},
                  {"role": "assistant", "content": [{"type": "text", "text": "joined"}]}]},
    {"messages": [{"role": "user", "content": "long"}] + [
        {"role": role, "content": prose(i, 12)} for i in range(12) for role in ("assistant", "user")]},
    {"messages": [{"role": "user", "content": "cite"}, {"role": "assistant", "content": "[1]"}],
     "documents": [{"title": "A", "text": "first"}, {"title": "B", "text": "second"}]},
]


TEMPLATES = {
    "tagged_chatml": """{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}\
{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}\
{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
    "tagged_spaced": """
{%- for message in messages %}
    {%- if message.role == "assistant" -%}
        <|im_start|>assistant
        {% generation %}
        {{- message.content | trim -}}
        <|im_end|>
        {%- endgeneration %}

    {%- else -%}
        <|im_start|>{{ message.role }}
        {{ message.content | default('', true) }}<|im_end|>
    {% endif -%}
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
""",
    "plain_chatml": """{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>'\
 + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
    "header_style": """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
{{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Date: " + (date_string if date_string is defined else "04 Jul 2024") + "\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {%- if message.role == 'assistant' %}{% generation %}{{ message['content'] | trim + '<|eot_id|>' }}{% endgeneration %}
        {%- else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls | length == 1 %}
            {{- raise_exception("only one call at a time") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {%- generation %}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}<|eot_id|>" }}
        {%- endgeneration %}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or (message.content is iterable and message.content is not string) %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "thinking_style": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "Tools:" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "<|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not(message.content.startswith('<r>') \
and message.content.endswith('</r>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
        {%- if loop.index0 > ns.last and (loop.last or (not loop.last and reasoning)) %}
            {{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson(indent=2) }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<r>\\n' }}
        {{- content }}
        {{- '\\n</r>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}""",
    "bracket_style": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and \
message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {%- generation %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("tool call ids must be nine letters long") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
        {%- endgeneration %}
    {%- elif message["role"] == "assistant" %}
        {%- generation %}{{- " " + message["content"]|trim + eos_token }}{% endgeneration %}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("only user, assistant and tool roles") }}
    {%- endif %}
{%- endfor %}
""",
    "turn_style": """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model
'}}
{%- endif -%}
""",
    "macros_and_filters": """{%- macro show(value, depth=0) -%}
    {%- if value is mapping -%}
        {%- for key, item in value | dictsort -%}
            {{ '  ' * depth }}{{ key }}={{ show(item, depth + 1) }};
        {%- endfor -%}
    {%- elif value is string -%}"{{ value | replace('"', "'") }}"
    {%- elif value is iterable -%}[{% for item in value %}{{ show(item, depth + 1) }}{{ ", " if not loop.last }}{% endfor %}]
    {%- elif value is boolean -%}{{ 'yes' if value else 'no' }}
    {%- elif value is none -%}-
    {%- else -%}{{ value }}
    {%- endif -%}
{%- endmacro -%}
{%- for tool in tools or [] %}{{ show(tool.function) }}
{% endfor -%}
{%- set roles = messages | map(attribute='role') | list -%}
{{ roles | join(',') }} {{ roles | unique | list | length }} {{ messages | rejectattr('role', 'eq', 'user') | list | length }}
{% for m in messages %}
{#- a comment with {% for x in y %} in it -#}
{{ loop.index }}/{{ loop.length }} {{ m.role | upper }} {{ m.role | title | capitalize }}{% if m.content is string %} \
{{ m.content.split() | first | default('nothing') }} {{ m.content | length }} {{ m.content[:3] }}{{ m.content[-2:] }}\
{% endif %}{{ loop.previtem.role if loop.previtem is defined else '' }}{{ loop.nextitem.role if not loop.last }}
{%+ if m.get('tool_calls') %}{{ m['tool_calls'][0]['function'] | tojson(indent=4) }}{% endif %}
{% if m.role is eq 'assistant' %}
  {% generation %}<{{ m.role ~ '-' ~ loop.index0 }}>{% endgeneration %}
{% endif %}
{% endfor -%}
{{ 7 // 2 }} {{ 7 % 3 }} {{ -7 // 2 }} {{ 2 ** 5 }} {{ 7 / 2 }} {{ 1 == 1.0 }} {{ [1, 2] + [3] }} {{ 'a' in 'abc' }} \
{{ not none }} {{ (1, 'b') }} {{ {'k': [none, true]} }} {{ 'x' if false }} {{ 3 | string + '4' }} {{ '5' | int + 1 }} {{ 1.0 }}""",
}
