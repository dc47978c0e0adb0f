// Conversations: messages to a prompt by the model's own template, and answers.
//
//   std::vector<int> prompt = POM_TRY(prompt_of(language, messages));
//   GenerateReport r = POM_TRY(generate("model.gguf", {.prompt = "Hello"}, {}, print));
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "api/language.h"

namespace pomona::api {

// [{"role": "user", "content": "..."}, ...] as ids, the beginning of an answer at the end. `more`: further variables of
// the template, such as tools. Errors: the model has no template; what the template itself raises.
Result<std::vector<int>> prompt_of(const Language& language, const nlohmann::ordered_json& messages,
                                   const nlohmann::ordered_json& more);

// Of one message; where the model has no template, or `raw`, the text as it stands.
Result<std::vector<int>> prompt_of(const Language& language, const std::string& text, const std::string& system,
                                   bool raw);
// The prompt of a conversation, which loses its oldest turns when it has grown too long for the model to answer it with
// `room` tokens; the first `kept` messages stay.
Result<std::vector<int>> prompt_that_fits(const Language& language, nlohmann::ordered_json& messages, std::size_t kept,
                                          std::int64_t room);

struct GenerateOptions {
  POM_OPTION(prompt, std::string, "what to answer, or with --raw to continue");
  POM_OPTION(prompt_file, std::string, "a file with the prompt");
  POM_OPTION(system, std::string, "what the model is told before");
  POM_OPTION(raw, bool, "continue the prompt as it stands, without the chat template");
  POM_OPTION(context, std::int64_t, "tokens the model keeps in mind; 0: its own, at most 4096") = 0;
  POM_OPTION(cache_in, std::string, "a saved prompt to begin from, as far as the prompt begins with it");
  POM_OPTION(cache_out, std::string, "where to save what the model has seen, for --cache-in");
};
struct GenerateReport {
  Generation generation;
  double load_seconds = 0;
};
Result<GenerateReport> generate(const std::string& path, const GenerateOptions& options, const SamplingFlags& flags,
                                const Print& print);

}  // namespace pomona::api
