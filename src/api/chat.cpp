#include "api/chat.h"

#include <nlohmann/json.hpp>

#include "api/files.h"
#include "base/bytes.h"
#include "llm/chat_template.h"

namespace pomona::api {

using Json = nlohmann::ordered_json;

Result<std::vector<int>> prompt_of(const Language& language, const Json& messages, const Json& more) {
  POM_REQUIRE(language.tokenizer, "the model has no tokenizer");
  if (language.chat_template.empty())
    return fail("the model has no chat template").advise("generate --raw continues a text");
  Json variables = more.is_object() ? more : Json::object();
  variables["messages"] = messages;
  variables["add_generation_prompt"] = true;
  variables["bos_token"] = language.bos;
  variables["eos_token"] = language.eos;
  auto chat = POM_TRY_IN(llm::ChatTemplate::parse(language.chat_template), "the model's chat template");
  std::string text = POM_TRY_IN(chat.render(variables), "the model's chat template");
  return language.tokenizer->encode(text, {.special = false});
}

Result<GenerateReport> generate(const std::string& path, const GenerateOptions& options, const SamplingFlags& flags,
                                const Print& print) {
  std::string prompt = options.prompt;
  if (!options.prompt_file->empty()) prompt = POM_TRY(map_file(options.prompt_file)).text();
  POM_REQUIRE(!prompt.empty(), "generate needs a --prompt");
  GenerateReport report;
  Language language = POM_TRY(open_language(path, {.context = options.context}));
  report.load_seconds = language.load_seconds;
  POM_REQUIRE(language.tokenizer, "model '{}' has no tokenizer", path);
  std::vector<int> ids;
  if (options.raw || language.chat_template.empty()) {
    ids = POM_TRY(language.tokenizer->encode(prompt));
  } else {
    Json messages = Json::array();
    if (!options.system->empty()) messages.push_back({{"role", "system"}, {"content", *options.system}});
    messages.push_back({{"role", "user"}, {"content", prompt}});
    ids = POM_TRY(prompt_of(language, messages, {}));
  }
  llm::Session session = POM_TRY(llm::Session::open(*language.program));
  if (!options.cache_in->empty()) POM_TRY(session.load(options.cache_in));
  report.generation = POM_TRY(generate(language, session, std::move(ids), flags, print));
  if (!options.cache_out->empty()) POM_TRY(session.save(options.cache_out));
  return report;
}

}  // namespace pomona::api
