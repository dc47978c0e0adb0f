#include "server/requests.h"

#include <nlohmann/json.hpp>
#include <random>

#include "api/chat.h"

namespace pomona::server {
namespace {

using Json = nlohmann::ordered_json;

// A field that is there and not null.
const Json* field(const Json& body, const char* name) {
  auto at = body.find(name);
  return at == body.end() || at->is_null() ? nullptr : &*at;
}

Status number(const Json& body, const char* name, double& value) {
  const Json* found = field(body, name);
  if (!found) return {};
  POM_REQUIRE(found->is_number(), "'{}' is no number", name);
  value = found->get<double>();
  return {};
}

Status whole(const Json& body, const char* name, std::int64_t low, std::int64_t high, std::int64_t& value) {
  const Json* found = field(body, name);
  if (!found) return {};
  POM_REQUIRE(found->is_number_integer(), "'{}' is no whole number", name);
  bool large = found->is_number_unsigned() && found->get<std::uint64_t>() > std::uint64_t(high);
  POM_REQUIRE(!large && found->get<std::int64_t>() >= low && found->get<std::int64_t>() <= high,
              "'{}' lies between {} and {}", name, low, high);
  value = found->get<std::int64_t>();
  return {};
}

Status truth(const Json& body, const char* name, bool& value) {
  const Json* found = field(body, name);
  if (!found) return {};
  POM_REQUIRE(found->is_boolean(), "'{}' is neither true nor false", name);
  value = found->get<bool>();
  return {};
}

Status take_stop(const Json& body, Strings& stops) {
  const Json* found = field(body, "stop");
  if (!found) return {};
  const Json list = found->is_array() ? *found : Json::array({*found});
  POM_REQUIRE(list.size() <= 16, "'stop' has {} texts; 16 are the most", list.size());
  for (const Json& each : list) {
    POM_REQUIRE(each.is_string() && !each.get_ref<const std::string&>().empty(), "'stop' is a text or a list of texts");
    stops.push_back(each);
  }
  return {};
}

Status take_bias(const Json& body, const api::Language& language, Strings& biases) {
  const Json* found = field(body, "logit_bias");
  if (!found) return {};
  POM_REQUIRE(found->is_object(), "'logit_bias' is no object of token ids and numbers");
  for (const auto& [id, bias] : found->items()) {
    bool digits = !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == id.npos;
    POM_REQUIRE(digits && std::stol(id) < language.model.vocabulary, "'logit_bias': '{}' is no token id", id);
    POM_REQUIRE(bias.is_number(), "'logit_bias': the bias of {} is no number", id);
    biases.push_back(fmt::format("{}={}", id, bias.get<double>()));
  }
  return {};
}

// What nobody here would honour.
Status refuse_unknown(const Json& body) {
  for (const char* name : {"functions", "suffix"})
    if (const Json* found = field(body, name))
      POM_REQUIRE(found->empty() || *found == Json(""), "'{}' is not supported", name);
  if (const Json* found = field(body, "echo")) POM_REQUIRE(*found == false, "'echo' is not supported");
  if (const Json* found = field(body, "best_of"))
    POM_REQUIRE(*found == 1 || *found == body.value("n", Json(1)), "'best_of' is 'n' here: no answer is thrown away");
  if (const Json* found = field(body, "tool_choice"))
    POM_REQUIRE(*found == "auto" || *found == "none", "'tool_choice' is auto or none here");
  if (const Json* found = field(body, "response_format"))
    POM_REQUIRE(found->is_object() && found->value("type", Json()) == "text", "'response_format' is text here");
  return {};
}

// Chat says whether and how many, completions how many.
Status take_chances(const Json& body, Wanted& wanted) {
  constexpr std::int64_t most = 20;
  const Json* found = field(body, "logprobs");
  const Json* top = field(body, "top_logprobs");
  POM_REQUIRE(!top || *top == 0 || (found && *found == true), "'top_logprobs' goes with 'logprobs': true");
  if (!found || *found == false) return {};
  std::int64_t count = 0;
  POM_TRY(whole(body, found->is_boolean() ? "top_logprobs" : "logprobs", 0, most, count));
  wanted.chances = std::size_t(count);
  return {};
}

Status take_stream(const Json& body, Wanted& wanted) {
  POM_TRY(truth(body, "stream", wanted.stream));
  const Json* options = field(body, "stream_options");
  if (!options) return {};
  POM_REQUIRE(options->is_object(), "'stream_options' is no object");
  return truth(*options, "include_usage", wanted.usage);
}

Status take_sampling(const Json& body, const api::Language& language, std::int64_t most, Wanted& wanted) {
  api::SamplingFlags& flags = wanted.flags;
  std::int64_t top_k = 0;
  // What these stand for may be any that a client's language has.
  constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
  std::int64_t seed = std::random_device()();
  POM_TRY(whole(body, "max_tokens", 0, 1 << 30, most));
  POM_TRY(whole(body, "max_completion_tokens", 0, 1 << 30, most));
  POM_TRY(whole(body, "top_k", 0, 1 << 30, top_k));
  POM_TRY(whole(body, "seed", -largest, largest, seed));
  POM_TRY(number(body, "temperature", flags.temperature.value));
  POM_TRY(number(body, "top_p", flags.top_p.value));
  POM_TRY(number(body, "min_p", flags.min_p.value));
  POM_TRY(number(body, "repetition_penalty", flags.repetition_penalty.value));
  POM_TRY(number(body, "presence_penalty", flags.presence_penalty.value));
  POM_TRY(number(body, "frequency_penalty", flags.frequency_penalty.value));
  flags.max_tokens.value = most;
  flags.top_k.value = int(top_k);
  flags.seed.value = seed;
  POM_TRY(take_stop(body, flags.stop.value));
  POM_TRY(take_bias(body, language, flags.logit_bias.value));
  POM_TRY(api::sampling_of(flags));
  return {};
}

// A message's content: a text, or a list of parts that are texts.
Result<std::string> text_of(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  POM_REQUIRE(content.is_array(), "a message's 'content' is neither a text nor a list of parts");
  std::string text;
  for (const Json& part : content) {
    bool good = part.is_object() && part.value("type", Json()) == "text" && part.value("text", Json()).is_string();
    POM_REQUIRE(good, "a part of a message is no text; the model reads nothing else");
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

// Arguments of calls come as the text of an object; templates want the object.
Json calls_of(Json calls) {
  for (Json& call : calls) {
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
    Json& function = call["function"];
    if (!function.contains("arguments") || !function["arguments"].is_string()) continue;
    Json read = Json::parse(function["arguments"].get_ref<const std::string&>(), nullptr, false);
    if (read.is_object()) function["arguments"] = std::move(read);
  }
  return calls;
}

// Variables of the template beside the messages.
Result<Json> variables_of(const api::Language& language, const Json& body) {
  Json more = Json::object();
  if (const Json* given = field(body, "chat_template_kwargs")) {
    POM_REQUIRE(given->is_object(), "'chat_template_kwargs' is no object");
    more = *given;
  }
  const Json* tools = field(body, "tools");
  if (!tools || tools->empty() || body.value("tool_choice", Json()) == "none") return more;
  POM_REQUIRE(tools->is_array(), "'tools' is no list");
  for (const Json& tool : *tools) {
    bool named = tool.is_object() && tool.contains("function") && tool["function"].is_object() &&
                 tool["function"].value("name", Json()).is_string();
    POM_REQUIRE(named, "a tool has no 'function' with a 'name'");
  }
  POM_REQUIRE(language.chat_template.find("tools") != std::string::npos,
              "'tools' are not supported: the model's template has no place for them");
  more["tools"] = *tools;
  return more;
}

Result<Json> messages_of(const Json& body) {
  const Json* found = field(body, "messages");
  POM_REQUIRE(found && found->is_array() && !found->empty(), "'messages' is no list of messages");
  Json messages = Json::array();
  for (const Json& message : *found) {
    POM_REQUIRE(message.is_object() && message.value("role", Json()).is_string(), "a message has no 'role'");
    std::string text;
    if (const Json* content = field(message, "content")) text = POM_TRY(text_of(*content));
    Json kept{{"role", message["role"]}, {"content", text}};
    for (const char* name : {"name", "tool_call_id", "reasoning_content"})
      if (const Json* given = field(message, name)) kept[name] = *given;
    if (const Json* calls = field(message, "tool_calls"); calls && calls->is_array() && !calls->empty())
      kept["tool_calls"] = calls_of(*calls);
    messages.push_back(std::move(kept));
  }
  return messages;
}

Result<Wanted> options_of(const api::Language& language, const Json& body, std::int64_t most) {
  POM_REQUIRE(body.is_object(), "the body is no JSON object");
  POM_TRY(refuse_unknown(body));
  Wanted wanted;
  constexpr std::int64_t most_choices = 16;
  POM_TRY(whole(body, "n", 1, most_choices, wanted.choices));
  POM_TRY(take_stream(body, wanted));
  POM_TRY(take_chances(body, wanted));
  POM_TRY(take_sampling(body, language, most, wanted));
  return wanted;
}

Status check_length(const api::Language& language, const Wanted& wanted) {
  for (const auto& prompt : wanted.prompts) {
    POM_REQUIRE(!prompt.empty(), "the prompt is empty");
    POM_REQUIRE(prompt.size() <= std::size_t(language.model.context),
                "the prompt has {} tokens, and the model's context is {}", prompt.size(), language.model.context);
  }
  return {};
}

Result<std::vector<int>> ids_of(const api::Language& language, const Json& prompt) {
  if (prompt.is_string()) return language.tokenizer->encode(prompt.get_ref<const std::string&>());
  POM_REQUIRE(prompt.is_array(), "'prompt' is neither a text nor token ids");
  std::vector<int> ids;
  for (const Json& id : prompt) {
    POM_REQUIRE(id.is_number_unsigned() && id.get<std::uint64_t>() < std::uint64_t(language.model.vocabulary),
                "'prompt' is neither a text nor token ids");
    ids.push_back(id);
  }
  return ids;
}

}  // namespace

Result<Wanted> chat_request(const api::Language& language, const Json& body) {
  Wanted wanted = POM_TRY(options_of(language, body, language.model.context));
  Json messages = POM_TRY(messages_of(body));
  wanted.prompts = {POM_TRY(api::prompt_of(language, messages, POM_TRY(variables_of(language, body))))};
  POM_TRY(check_length(language, wanted));
  return wanted;
}

Result<Wanted> completion_request(const api::Language& language, const Json& body) {
  constexpr std::int64_t usual = 16;  // what the interface gives a completion that does not say
  Wanted wanted = POM_TRY(options_of(language, body, usual));
  const Json* prompt = field(body, "prompt");
  POM_REQUIRE(prompt && (prompt->is_string() || prompt->is_array()), "'prompt' is neither a text nor token ids");
  bool several = prompt->is_array() && !prompt->empty() && !(*prompt)[0].is_number();
  constexpr std::size_t most_prompts = 64;
  POM_REQUIRE(!several || prompt->size() <= most_prompts, "'prompt' has {} texts; {} are the most", prompt->size(),
              most_prompts);
  if (several)
    for (const Json& each : *prompt) wanted.prompts.push_back(POM_TRY(ids_of(language, each)));
  else
    wanted.prompts = {POM_TRY(ids_of(language, *prompt))};
  POM_TRY(check_length(language, wanted));
  return wanted;
}

Result<std::vector<std::string>> embedding_request(const Json& body) {
  POM_REQUIRE(body.is_object(), "the body is no JSON object");
  if (const Json* format = field(body, "encoding_format"))
    POM_REQUIRE(*format == "float" || *format == "base64", "'encoding_format' is float or base64");
  POM_REQUIRE(!field(body, "dimensions"), "'dimensions' is not supported");
  const Json* input = field(body, "input");
  POM_REQUIRE(input, "there is no 'input'");
  const Json list = input->is_array() ? *input : Json::array({*input});
  POM_REQUIRE(!list.empty() && list.size() <= 2048, "'input' has {} texts; it is 1 to 2048", list.size());
  std::vector<std::string> texts;
  for (const Json& text : list) {
    POM_REQUIRE(text.is_string(), "'input' is a text or a list of texts");
    texts.push_back(text);
  }
  return texts;
}

}  // namespace pomona::server
