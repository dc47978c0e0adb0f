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

Result<std::vector<int>> prompt_of(const Language& language, const std::string& text, const std::string& system,
                                   bool raw) {
  POM_REQUIRE(language.tokenizer, "the model has no tokenizer");
  if (raw || language.chat_template.empty()) return language.tokenizer->encode(text);
  Json messages = Json::array();
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  messages.push_back({{"role", "user"}, {"content", text}});
  return prompt_of(language, messages, {});
}

Result<std::vector<int>> prompt_that_fits(const Language& language, Json& messages, std::size_t kept,
                                          std::int64_t room) {
  std::vector<int> prompt = POM_TRY(prompt_of(language, messages, {}));
  auto turn = [&] { return messages.begin() + std::ptrdiff_t(kept); };
  while (prompt.size() + std::size_t(room) > std::size_t(language.model.context) && messages.size() > kept + 2) {
    messages.erase(turn(), turn() + 2);
    prompt = POM_TRY(prompt_of(language, messages, {}));
  }
  return prompt;
}

Result<GenerateReport> generate(const std::string& path, const GenerateOptions& options, const SamplingFlags& flags,
                                const Print& print) {
  std::string prompt = options.prompt;
  if (!options.prompt_file->empty()) prompt = POM_TRY(map_file(options.prompt_file)).text();
  POM_REQUIRE(!prompt.empty(), "generate needs a --prompt");
  GenerateReport report;
  Language language = POM_TRY(open_language(path, {.context = options.context}));
  report.load_seconds = language.load_seconds;
  std::vector<int> ids = POM_TRY_IN(prompt_of(language, prompt, options.system, options.raw), "model '{}'", path);
  llm::Session session = POM_TRY(llm::Session::open(*language.program));
  if (!options.cache_in->empty()) POM_TRY(session.load(options.cache_in));
  report.generation = POM_TRY(generate(language, session, std::move(ids), flags, print));
  if (!options.cache_out->empty()) POM_TRY(session.save(options.cache_out));
  return report;
}

}  // namespace pomona::api
