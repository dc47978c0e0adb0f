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

// Some models turn positions otherwise once a text is long. A checkpoint that was opened for long ones is opened anew
// for a text that will be short, whatever there is room for.
static bool fits_unchanged_turns(const Language& language, std::size_t prompt, std::int64_t most) {
  std::int64_t changes = language.model.turns_change_at;
  return language.model.in_memory && changes > 0 && language.model.context > changes &&
         std::int64_t(prompt) + most <= changes;
}

Result<GenerateReport> generate(const std::string& path, const GenerateOptions& options, const SamplingFlags& flags,
                                const Print& print) {
  std::string prompt = options.prompt;
  if (!options.prompt_file->empty()) prompt = POM_TRY(map_file(options.prompt_file)).text();
  POM_REQUIRE(!prompt.empty(), "generate needs a --prompt");
  GenerateReport report;
  Language language = POM_TRY(open_language(path, {.context = options.context}));
  std::vector<int> ids = POM_TRY_IN(prompt_of(language, prompt, options.system, options.raw), "model '{}'", path);
  if (fits_unchanged_turns(language, ids.size(), flags.max_tokens) && options.cache_in->empty() &&
      options.cache_out->empty())
    language = POM_TRY(open_language(path, {.context = language.model.turns_change_at}));
  report.load_seconds = language.load_seconds;
  llm::Session session = POM_TRY(llm::Session::open(*language.program));
  if (!options.cache_in->empty()) POM_TRY(session.load(options.cache_in));
  report.generation = POM_TRY(generate(language, session, std::move(ids), flags, print));
  if (!options.cache_out->empty()) POM_TRY(session.save(options.cache_out));
  return report;
}

}  // namespace pomona::api
