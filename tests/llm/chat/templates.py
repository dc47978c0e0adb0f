"""Writes templates.json: chat templates in the manner of the known families, conversations, and what jinja2 makes of them as
transformers runs it. `chat_template_test.cpp` renders them again.
    python3 tests/llm/chat/templates.py > tests/llm/chat/templates.json
"""

import json

from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def raise_exception(message):
    raise TemplateError(message)


ENVIRONMENT = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
ENVIRONMENT.filters["tojson"] = lambda x, indent=None, separators=None, sort_keys=False: json.dumps(
    x, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
ENVIRONMENT.globals["raise_exception"] = raise_exception

TEMPLATES = {
    "chatml": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "llama3": """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{#- The system message comes first. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "You have access to the following functions:\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
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
    "qwen3": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
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
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
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
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- content }}
        {{- '\\n</tool_response>' }}
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
    "gemma": """{{ bos_token }}
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
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
""",
    "mistral": """{%- set loop_messages = messages if messages[0]["role"] != "system" else messages[1:] %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in loop_messages | rejectattr("role", "in", ["tool", "tool_results"]) %}
    {%- if message.role == "user" %}
        {%- if tools is defined and tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
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
                {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {{- "[INST] " + message["content"] + "[/INST]" }}
    {%- elif message.role == "assistant" and message.content %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- endif %}
{%- endfor %}
""",
    "phi3": "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "zephyr": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "deepseek": "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{{'<|User|>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<|Assistant|>' + content + eos_token}}{%- endif %}{%- endfor -%}{% if add_generation_prompt %}{{'<|Assistant|><think>\\n'}}{% endif %}",
    "python": """{{ {'z': 1, 'a': 2, 'M': 3} | dictsort }} {{ {'z': 1, 'a': 2, 'M': 3} | dictsort(by='value', reverse=true) }} {{ {'a': 1}.items() | list }} {{ (1,) }} {{ (1, 'b') }} {{ () }}
{{ {'b': [1, 2], 'a': {}} | tojson(sort_keys=true) }} {{ {'b': [1, 2], 'a': {}} | tojson(separators=(',', ':')) }} {{ {'b': [1, 2]} | tojson(indent=2, separators=(',', ': ')) }}
{{ 'Hello World'.rsplit('o', 1) }} {{ 'a b  c'.rsplit() }} {{ 'k=v=w'.partition('=') }} {{ 'k=v=w'.rpartition('=') }} {{ 'kv'.partition('=') }} {{ 'kv'.rpartition('=') }}
{{ 'Hello'.index('l') }} {{ 'Hello'.rfind('l') }} {{ 'Hello'.find('z') }} {{ 'Hello'.removeprefix('He') }} {{ 'Hello'.removesuffix('lo') }} {{ 'hELLO'.swapcase() }}
{{ 'ab'.isalpha() }} {{ 'a1'.isalnum() }} {{ 'a 1'.isalnum() }} {{ ' '.isspace() }} {{ '12'.isnumeric() }} {{ 'AB'.isupper() }} {{ 'aB'.islower() }}
{{ '-7'.zfill(4) }} {{ 'x'.ljust(4) }}| {{ 'x'.rjust(4, '*') }} {{ 'x'.center(4) }}| {{ 'abc' | center(8) }}| {{ [1, 2, 1].count(1) }} {{ [1, 2].index(2) }} {{ {'a': 1}.copy() }}
{{ '%s-%d|%5.1f|%-5s|%x|%%|%r' % ('a', 3, 2.25, 'b', 255, 'q') }} {{ '%(a)s' % {'a': 1} }} {{ '%.2f' % 2.5 }} {{ '%s of %s' | format('a', 2) }}
{{ '{} {}'.format('a', 1) }} {{ '{1}{0}{x}'.format('a', 'b', x=2.0) }} {{ '{:>6}|{:<6}|{:^6}|{:06.2f}|{:,}|{:.1%}|{{}}'.format('a', 'b', 'c', 3.14159, 1234567, 0.256) }}
{{ 2.5 | round }} {{ 2.567 | round(1) }} {{ 2.5 | round(method='ceil') }} {{ -3 | abs }} {{ 'x' | int(5) }} {{ '0x1A' | int(base=16) }} {{ '3.7' | int }} {{ 2 ** -1 }} {{ 1e3 }} {{ 1.5e-7 }}
{{ [1, 2, 3] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 0) | list }} {{ ['a', 'A', 'b'] | unique | list }} {{ ['b', 'A'] | sort(case_sensitive=true) }} {{ "they're a-b" | title }}
{{ [1, 2] < [1, 3] }} {{ [0] * 2 }} {{ (1, 2) + (3,) }} {{ (1, 2) == [1, 2] }} {{ dict([('x', 1)], y=2) }} {{ 'a b c' | wordcount }} {{ 'abc' is lower }} {{ 1 is sameas true }} {{ 'upper' is filter }}
{% macro wrap(tag) %}<{{ tag }}>{{ caller('x') }}</{{ tag }}>{% endmacro %}{% set outside = 'o' %}{% call(y) wrap('b') %}{{ y }}{{ outside }}{% endcall %}
{% filter upper | replace('A', 'i') %}banana {{ messages | length }}{% endfilter %} {% with a = 1, b = 'c' %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}
{% set comma = joiner('; ') %}{% for m in messages %}{{ comma() }}{{ m.role }}{% endfor %} {{ ['\\x01\\x7f'] }}{% raw %}
 {{ kept }} {% endraw %}""",
    "constructs": """{%- macro show(value, depth=0) -%}
{{ '  ' * depth }}{% if value is mapping %}{% for k, v in value | dictsort %}{{ k }}:{{ show(v, depth + 1) }};{% endfor %}{% elif value is sequence and value is not string %}[{% for x in value %}{{ show(x) }}{{ ', ' if not loop.last }}{% endfor %}]{% else %}{{ value }}{% endif %}
{%- endmacro %}
{# a comment #}
{{ show({'b': [1, 2.5, none, true], 'a': {'x': 'y'}}) }}
  {% if 1 < 2 <= 3 or false %}
yes
  {% endif %}
{% set parts = [] %}
{%- set ns = namespace(n=0) -%}
{% for i in range(10) if i is odd %}{% if i == 7 %}{% break %}{% endif %}{% if i == 3 %}{% continue %}{% endif %}{% set ns.n = ns.n + i %}{{ loop.index }}/{{ loop.length }}={{ i }} {% else %}none{% endfor %}{{ ns.n }}
{{ 'Hello'[1:3] ~ 'äöü'[::-1] ~ [1, 2, 3][-1] ~ (1, 2)[0] }}
{{ '%' ~ 7 // 2 ~ 7 % 3 ~ 2 ** 3 ~ 7 / 2 ~ -3 ~ (1 + 2) * 3 }}
{{ messages | map(attribute='role') | join(', ') }} {{ [' a', 'b '] | map('trim') | join('-') | upper }}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | first | tojson }}
{{ undefined_name | default('fallback') }} {{ '' | default('empty', true) }} {{ none is none }} {{ nothing is defined }}
{{ {'k': 'v', 'list': [1, 'two', {'three': 3}], 'n': none, 't': true} | tojson }} {{ {'k': ['a', 1, 1.0, false, none]} }}
{{ 'a,b,c'.split(',') | length }} {{ '  x '.strip() }}|{{ 'abc'.replace('b', 'B') }} {{ 'Title case'.title() }} {{ 'x' in 'xyz' }} {{ 'q' not in ['a'] }}
{% set block %}
captured {{ 1 }}
{% endset %}
{{ block | trim | length }} {{ [3, 1, 2] | sort | list }} {{ {'a': 1}.items() | map('first') | join }} {{ {'a': 1}.get('b', 5) }} {{ 'line\\nline' | indent(2) }}
{% raw %}{{ not a tag }}{% endraw %}
{% for m in messages %}{% generation %}{{ m.content | string | length }}{% endgeneration %}{{ loop.revindex0 }}{% endfor %}
{{- "\\u00e9\\t|" -}}
{%+ if true +%}
 kept
{%- endif %}
{{ 'yes' if messages[0].role == 'system' else 'no' }} {{ [1, 2] + [3] }} {{ 'é' | upper }} {{ 10 | string + '!' }} {{ '3' | int + 1 }} {{ not true }}""",
}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city — today",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CONVERSATIONS = {
    "one": {"messages": [{"role": "user", "content": " Hello, <world> & 'you'! "}]},
    "system": {
        "messages": [
            {"role": "system", "content": "Be brief.\n"},
            {"role": "user", "content": "Größe? 你好 🙂"},
            {"role": "assistant", "content": "<think>\nhm\n</think>\n\nAnswer."},
            {"role": "user", "content": "And\nnow?"},
        ]
    },
    "tools": {
        "messages": [
            {"role": "user", "content": "Weather in Rome?"},
            {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}]},
            {"role": "tool", "content": "sunny"},
            {"role": "assistant", "content": "Sunny."},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": [TOOL],
    },
    "answered": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "add_generation_prompt": False},
    "parts": {"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What? "}]}]},
}  # fmt: skip


def rendered(template, variables):
    try:
        return ENVIRONMENT.from_string(template).render(**variables)
    except Exception:
        return None


cases = []
for name, template in TEMPLATES.items():
    for conversation, variables in CONVERSATIONS.items():
        variables = {"add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", **variables}
        cases.append({"template": name, "conversation": conversation, "text": rendered(template, variables), "variables": variables})
print(json.dumps({"templates": TEMPLATES, "cases": cases}, indent=1, ensure_ascii=False))
