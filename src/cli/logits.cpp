#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "api/score.h"
#include "cli/flags.h"
#include "cli/verbs.h"

namespace pomona::cli {

Run declare_logits(CLI::App& app) {
  struct Arguments {
    std::string model, output;
    api::LogitsOptions options;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "a language model in any form")->required();
  app.add_option("-o", a->output, "the same as --output");
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    if (!a->output.empty()) a->options.output = a->output;
    auto report = api::logits(a->model, a->options);
    if (!report) return std::move(report).error();
    session.say(
        fmt::format("{} tokens, {} logits each, in {:.2f} s", report->tokens, report->vocabulary, report->run_seconds));
    if (!a->options.output->empty()) session.say("wrote " + *a->options.output);
    return Outcome(Json{{"tokens", report->tokens},
                        {"vocabulary", report->vocabulary},
                        {"argmax", report->largest},
                        {"load_seconds", report->load_seconds},
                        {"run_seconds", report->run_seconds}});
  };
}

}  // namespace pomona::cli
