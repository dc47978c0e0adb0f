#include "api/tokenize.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/flags.h"
#include "cli/verbs.h"

namespace pomona::cli {

Run declare_tokenize(CLI::App& app) {
  struct Arguments {
    std::string model;
    api::TokenizeOptions options;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "a tokenizer's file, or a model that has one")->required();
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto report = api::tokenize(a->model, a->options);
    if (!report) return std::move(report).error();
    if (!a->options.decode->empty()) session.say(report->text);
    for (std::size_t i = 0; i < report->ids.size() && a->options.decode->empty(); ++i)
      session.say(fmt::format("{:>8}  {}", report->ids[i], report->tokens[i]));
    return Outcome(Json{{"ids", report->ids}, {"tokens", report->tokens}, {"text", report->text}});
  };
}

}  // namespace pomona::cli
