#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "support/test_data.h"
#include "text/tokenizer.h"

namespace fptq::text {
namespace {

constexpr std::int64_t kNoonOf26July2024 = 1721995200;

ChatTemplate parsed(const std::string& source) {
  auto chat_template = ChatTemplate::from_source(source, "t");
  EXPECT_TRUE(chat_template) << chat_template.error().message;
  return *std::move(chat_template);
}

Json json(const std::string& text) {
  return Json::parse(text);
}

// The text, or the error's message.
std::string rendered(const std::string& source, const Json& messages, const Json& tools = nullptr,
                     bool add_generation_prompt = false) {
  const Json variables = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  const auto text = parsed(source).render({.messages = messages,
                                           .tools = tools.is_null() ? nullptr : &tools,
                                           .add_generation_prompt = add_generation_prompt,
                                           .variables = &variables,
                                           .wall_clock = kNoonOf26July2024});
  return text ? *text : text.error().message;
}

std::string rendered(const std::string& source) {
  return rendered(source, Json::array());
}

const Json& conversation() {
  static const Json messages = json(R"([
    {"role": "system", "content": " Be brief. "},
    {"role": "user", "content": "Hi <b>"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"}])");
  return messages;
}

const Json& weather_tools() {
  static const Json tools = json(R"([{"type": "function", "function": {
    "name": "weather", "description": "Now & here: \u00e9", "parameters": {
      "type": "object", "properties": {"city": {"type": "string"}}}}}])");
  return tools;
}

// The expected texts are those of transformers 5.23 for the same template and messages.

TEST(ChatTemplate, RendersInTheStyleOfLlama3WithTools) {
  const std::string source = R"({{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{#- a system message of its own, or none #}
{%- if messages[0].role == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\nToday: " + date_string + "\n\n" + system }}
{%- for tool in tools or [] %}
    {{- "\n" + tool | tojson(indent=2) }}
{%- endfor %}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- if message.tool_calls | length != 1 %}
            {{- raise_exception("one tool call at a time, got " ~ message.tool_calls | length) }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson + "}<|eot_id|>" }}
    {%- elif message.role in ["tool", "ipython"] %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\n\n" + message.content | tojson + "<|eot_id|>" }}
    {%- else %}
        {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
)";
  EXPECT_EQ(rendered(source, conversation(), nullptr, true),
            "<s><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\nBe brief."
            "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi <b><|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  const Json calls = json(R"([
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "tool_calls": [{"function": {"name": "weather",
      "arguments": {"city": "Oslo", "days": [1, 2.5, 1e-7, true, null]}}}]},
    {"role": "tool", "content": "-3.5"}])");
  EXPECT_EQ(rendered(source, calls, weather_tools()),
            "<s><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\n\n{\n"
            "  \"type\": \"function\",\n  \"function\": {\n    \"name\": \"weather\",\n"
            "    \"description\": \"Now & here: \u00e9\",\n    \"parameters\": {\n"
            "      \"type\": \"object\",\n      \"properties\": {\n        \"city\": {\n"
            "          \"type\": \"string\"\n        }\n      }\n    }\n  }\n}<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWeather?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n{\"name\": \"weather\", "
            "\"parameters\": {\"city\": \"Oslo\", \"days\": [1, 2.5, 1e-07, true, null]}}<|eot_id|>"
            "<|start_header_id|>ipython<|end_header_id|>\n\n\"-3.5\"<|eot_id|>");
  const Json two = json(R"([{"role": "assistant", "tool_calls": [{}, {}]}])");
  EXPECT_EQ(rendered(source, two),
            "the model's chat template refuses these messages: one tool call at a time, got 2");
}

TEST(ChatTemplate, RendersInTheStyleOfLlama2) {
  const std::string source =
      R"({% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = '<<SYS>>\n' + messages[0]['content'].strip() + '\n<</SYS>>\n\n' %})"
      R"({% else %}{% set rest = messages %}{% set system = '' %}{% endif %})"
      R"({% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %})"
      R"({% set content = system + m['content'] if loop.first else m['content'] %})"
      R"({% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }})"
      R"({% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %})";
  EXPECT_EQ(rendered(source, conversation()),
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi <b> [/INST] Hello </s>"
            "<s>[INST] Bye [/INST]");
  EXPECT_EQ(rendered(source, json(R"([{"role": "assistant", "content": "Hi"}])")),
            "the model's chat template refuses these messages: roles must alternate");
}

TEST(ChatTemplate, RendersInTheStyleOfMistral) {
  const std::string source =
      R"({%- set users = messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace(turn=0) %}
{{- bos_token }}
{%- for message in messages if message.role != "system" %}
    {%- if message.role == "user" %}
        {%- if tools is not none and message == users[-1] %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- for key, value in tool.function.items() if key != "parameters" %}
                    {{- '"' + key + '": ' + (value if value is not string else value | tojson) }}
                    {%- if not loop.last %}{{ ", " }}{% endif %}
                {%- endfor %}
            {%- endfor %}
            {{- "][/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {{- "[INST] " + message["content"] + "[/INST]" }}
    {%- else %}
        {{- " " + message["content"] | trim + eos_token }}
    {%- endif %}
    {%- set ns.turn = ns.turn + 1 %}
{%- endfor %}
{{- ns.turn }})";
  EXPECT_EQ(rendered(source, conversation(), weather_tools()),
            "<s>[INST] Hi <b>[/INST] Hello</s>[AVAILABLE_TOOLS] [\"name\": \"weather\", "
            "\"description\": \"Now & here: \u00e9\"][/AVAILABLE_TOOLS][INST] Bye[/INST]3");
}

TEST(ChatTemplate, RendersInTheStyleOfChatMl) {
  const std::string source = R"({% for message in messages %}
{% if message.role == 'system' %}{% continue %}{% endif %}
<|im_start|>{{ message.role }}
{% if message.role == 'assistant' %}{% generation %}{{ message.content }}<|im_end|>{% endgeneration %}{% else %}{{ message.content }}<|im_end|>{% endif %}

{% if loop.index == 3 %}{% break %}{% endif %}
{% endfor %}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %})";
  EXPECT_EQ(rendered(source, conversation(), nullptr, true),
            "<|im_start|>user\nHi <b><|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(ChatTemplate, HasPythonsMethodsAndPrinting) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{{ [1, 'a', none, true, 2.0] }} {{ {'a': (1, 2)} }}",
       "[1, 'a', None, True, 2.0] {'a': (1, 2)}"},
      {"{{ 1e16 }} {{ 1.5e-7 }} {{ 0.1 }} {{ 7 // 2 }} {{ -7 % 3 }}", "1e+16 1.5e-07 0.1 3 2"},
      {"{{ 'a,b,c'.split(',') }}{{ 'a-b-c'.rsplit('-', 1) }}", "['a', 'b', 'c']['a-b', 'c']"},
      {"{{ 'a=b=c'.partition('=') }}{{ 'abc'.removeprefix('a') }}", "('a', '=', 'b=c')bc"},
      {"{{ ' x\n'.strip() }}{{ 'xx'.lstrip('x') }}{{ 'aB'.upper() }}{{ 'abc'[::-1] }}", "xABcba"},
      {"{{ 'abc'.startswith('ab') }}{{ 'b' in 'abc' }}{{ {'a': 1}.get('b', 2) }}", "TrueTrue2"},
      {"{% for k, v in {'x': 1, 'y': 2}.items() %}{{ k }}{{ v }}{% endfor %}", "x1y2"},
      {"{{ 'a' is sequence }}{{ {} is mapping }}{{ x is defined }}{{ x }}", "TrueTrueFalse"},
      {"{{ [3, 1, 2] | sort | join('-') }}{{ '' | default('d', true) }}", "1-2-3d"},
      {"{{ '<&>\"' | tojson }}{{ {'b': 1, 'a': []} | tojson(sort_keys=true) }}",
       "\"<&>\\\"\"{\"a\": [], \"b\": 1}"},
      {"{{ ['\u00e9\x7f'] | tojson(ensure_ascii=true, separators=(',', ':')) }}",
       "[\"\\u00e9\\u007f\"]"},
      {"{% macro m(a, b='!') %}{{ a }}{{ b }}{% endmacro %}{{ m('x') }}{{ m('y', b='?') }}",
       "x!y?"},
      {"{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor "
       "%}{{ ns.n }}",
       "6"},
      {"{% raw %}{% generation %}{{ x }}{% endraw %}{# {% generation %} #}",
       "{% generation %}{{ x }}"},
      {"a\r\nb\r{{ '{% generation %}' }}", "a\nb\n{% generation %}"},
      {"  {% if true %}  \n x\n  {% endif %}\ny\n", "x\ny"},
  };
  for (const auto& [source, expected] : cases) {
    const std::string text = rendered(source);
    EXPECT_EQ(source.substr(0, 2) == "  " ? text.substr(text.find('x')) : text, expected) << source;
  }
}

TEST(ChatTemplate, SaysWhereATemplateIsWrong) {
  const auto broken = ChatTemplate::from_source("a\n{% if x %}", "chat_template.jinja");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().kind, Error::Kind::kFormat);
  EXPECT_EQ(broken.error().message.rfind("chat_template.jinja: not a usable template: line 2: ", 0),
            0u)
      << broken.error().message;
  EXPECT_EQ(rendered("\n{{ messages.nothing.more }}"),
            "t: the template fails: line 2: undefined value");
  EXPECT_FALSE(ChatTemplate::from_source("{{ 'a' | no_such_filter", "t"));
  EXPECT_FALSE(ChatTemplate::from_source("\xff", "t"));
}

TEST(ChatTemplate, BoundsWhatAHostileTemplateCanDo) {
  const auto many = [](const std::string& part, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += part;
    return all;
  };
  const std::string space = "{% set ns = namespace(x=[]) %}";
  const std::vector<std::string> hostile = {
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{{ 'a' * 99999999 }}{{ 'a' * 99999999 }}",
      "{% set ns=namespace(x='ab') %}{% for i in range(60) %}{% set ns.x=ns.x~ns.x %}{% endfor %}",
      space + "{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
      space + "{% set ns.x = ns %}{{ ns }}",
      space + "{%- set\nns.x = {'a': [ns]} -%}{{ ns }}",
      "{{ '{:999999999}'.format(1) }}",
      "{{ range(99999) | join('x' * 99999) }}",
  };
  for (const std::string& source : hostile) {
    const auto text = parsed(source).render({.messages = conversation()});
    ASSERT_FALSE(text) << source;
    EXPECT_EQ(text.error().kind, Error::Kind::kLimit) << text.error().message;
  }
  EXPECT_FALSE(parsed("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")
                   .render({.messages = conversation()}));
  EXPECT_FALSE(parsed("{{ strftime_now('%99999d') }}").render({.messages = conversation()}));
  for (const std::string& source :
       {"{{ " + many("(", 4000) + "1" + many(")", 4000) + " }}", "{{ 1" + many("+1", 60000) + " }}",
        many("{% if x %}", 9000), "{{ a" + many(".b", 4000) + " }}", many("{%set x=[x]%}", 1001),
        std::string(200000, 'a')}) {
    EXPECT_FALSE(ChatTemplate::from_source(source, "t")) << source.substr(0, 20);
  }
  // Deep, but within the bounds: must not exhaust the stack.
  EXPECT_EQ(rendered("{% if 0 %}" + many("{%elif 0%}", 9000) + "{% endif %}"), "");
  EXPECT_EQ(rendered("{{ 1" + many("+1", 2000) + " }}"), "2001");
}

TEST(ChatTemplate, RefusesMessagesThatAreNoList) {
  const ChatTemplate chat_template = parsed("{{ messages }}");
  for (const Json& messages : {json("{}"), json("null"), json("[1]"), json("\"hi\"")}) {
    const auto text = chat_template.render({.messages = messages});
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().kind, Error::Kind::kInvalidArgument);
    EXPECT_EQ(text.error().message.rfind("messages: expected an array of objects", 0), 0u);
  }
}

TEST(ChatTemplate, IsFoundAmongACheckpointsFiles) {
  const auto text = [](const std::map<std::string, std::string>& files, const Json* tools) {
    const auto chat_template = ChatTemplate::from_files(files, "m");
    if (!chat_template) return chat_template.error().message;
    return *chat_template->render({.messages = conversation(), .tools = tools});
  };
  const std::string config = R"({"chat_template": "from config"})";
  EXPECT_EQ(
      text({{"chat_template.jinja", "from file"}, {"tokenizer_config.json", config}}, nullptr),
      "from file");
  EXPECT_EQ(text({{"tokenizer_config.json", config}}, nullptr), "from config");
  const std::string list = R"({"chat_template": [{"name": "default", "template": "plain"},
      {"name": "tool_use", "template": "tools"}, {"name": "rag", "template": "{% broken"}]})";
  EXPECT_EQ(text({{"tokenizer_config.json", list}}, nullptr), "plain");
  EXPECT_EQ(text({{"tokenizer_config.json", list}}, &weather_tools()), "tools");
  EXPECT_EQ(text({{"tokenizer_config.json", R"({"chat_template": null})"}}, nullptr),
            "m: expected a chat template in chat_template.jinja or tokenizer_config.json, got "
            "none. A base model has none: give it a plain prompt");
  EXPECT_EQ(text({{"tokenizer_config.json", R"({"chat_template": 7})"}}, nullptr),
            "m/tokenizer_config.json: chat_template: expected a string or a list of {\"name\", "
            "\"template\"}");
  EXPECT_EQ(text({{"tokenizer_config.json", R"({"chat_template": []})"}}, nullptr),
            "m/tokenizer_config.json: chat_template: expected one named \"default\" among 0 "
            "templates, got none");
}

TEST(ChatTemplate, EqualsTransformersOnSmolLm2) {
  FPTQ_REQUIRE_TEST_DATA("golden/tokenizer/smollm2.chat.json");
  const std::filesystem::path data = testing::test_data_dir();
  const auto contents = [&](const std::string& path) {
    std::ifstream file(data / path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  };
  const auto tokenizer =
      Tokenizer::from_json(contents("tokenizers/smollm2/tokenizer.json"), "smollm2");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const ChatTemplate chat_template =
      parsed(contents("golden/tokenizer/smollm2.chat_template.jinja"));
  const Json rows = json(contents("golden/tokenizer/smollm2.chat.json"));
  ASSERT_FALSE(rows.empty());
  for (const Json& row : rows) {
    const auto text =
        chat_template.render({.messages = row["messages"],
                              .tools = row["tools"].is_null() ? nullptr : &row["tools"],
                              .add_generation_prompt = row["add_generation_prompt"].get<bool>()});
    ASSERT_TRUE(text) << text.error().message;
    EXPECT_EQ(*text, row["rendered"].get<std::string>());
    EXPECT_EQ(*tokenizer->encode(*text, false), row["ids"].get<std::vector<TokenId>>());
  }
}

}  // namespace
}  // namespace fptq::text
