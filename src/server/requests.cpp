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
  for (const char* name : {"tools", "functions", "suffix"})
    if (const Json* found = field(body, name))
      POM_REQUIRE(found->empty() || *found == "", "'{}' is not supported", name);
  for (const char* name : {"logprobs", "top_logprobs", "echo"})
    if (const Json* found = field(body, name))
      POM_REQUIRE(*found == false || *found == 0, "'{}' is not supported", name);
  for (const char* name : {"n", "best_of"})
    if (const Json* found = field(body, name)) POM_REQUIRE(*found == 1, "'{}' is 1 here: one answer a request", name);
  if (const Json* found = field(body, "response_format"))
    POM_REQUIRE(found->is_object() && found->value("type", Json()) == "text", "'response_format' is text here");
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

Result<Json> messages_of(const Json& body) {
  const Json* found = field(body, "messages");
  POM_REQUIRE(found && found->is_array() && !found->empty(), "'messages' is no list of messages");
  Json messages = Json::array();
  for (const Json& message : *found) {
    POM_REQUIRE(message.is_object() && message.value("role", Json()).is_string(), "a message has no 'role'");
    std::string text;
    if (const Json* content = field(message, "content")) text = POM_TRY(text_of(*content));
    messages.push_back({{"role", message["role"]}, {"content", text}});
  }
  return messages;
}

Result<Wanted> options_of(const api::Language& language, const Json& body, std::int64_t most) {
  POM_REQUIRE(body.is_object(), "the body is no JSON object");
  POM_TRY(refuse_unknown(body));
  Wanted wanted;
  POM_TRY(take_stream(body, wanted));
  POM_TRY(take_sampling(body, language, most, wanted));
  return wanted;
}

Status check_length(const api::Language& language, const Wanted& wanted) {
  POM_REQUIRE(!wanted.prompt.empty(), "the prompt is empty");
  POM_REQUIRE(wanted.prompt.size() <= std::size_t(language.model.context),
              "the prompt has {} tokens, and the model's context is {}", wanted.prompt.size(), language.model.context);
  return {};
}

}  // namespace

Result<Wanted> chat_request(const api::Language& language, const Json& body) {
  Wanted wanted = POM_TRY(options_of(language, body, language.model.context));
  wanted.prompt = POM_TRY(api::prompt_of(language, POM_TRY(messages_of(body)), {}));
  POM_TRY(check_length(language, wanted));
  return wanted;
}

Result<Wanted> completion_request(const api::Language& language, const Json& body) {
  constexpr std::int64_t usual = 16;  // what the interface gives a completion that does not say
  Wanted wanted = POM_TRY(options_of(language, body, usual));
  const Json* prompt = field(body, "prompt");
  if (prompt && prompt->is_array() && prompt->size() == 1 && !(*prompt)[0].is_number()) prompt = &(*prompt)[0];
  POM_REQUIRE(prompt && (prompt->is_string() || prompt->is_array()), "'prompt' is neither a text nor token ids");
  if (prompt->is_string()) {
    wanted.prompt = POM_TRY(language.tokenizer->encode(prompt->get_ref<const std::string&>()));
  } else {
    for (const Json& id : *prompt) {
      POM_REQUIRE(id.is_number_unsigned() && id.get<std::uint64_t>() < std::uint64_t(language.model.vocabulary),
                  "'prompt' is one text or token ids; several at once are not supported");
      wanted.prompt.push_back(id);
    }
  }
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
