#include "api/verify.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {

Run declare_verify(CLI::App& app) {
  struct Arguments {
    std::string model;
    api::VerifyOptions options;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the model to verify")->required();
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto report = api::verify(a->model, a->options);
    if (!report) return std::move(report).error();
    say_verification(session, *report);
    return Outcome{verification_json(*report), report->passed};
  };
}

}  // namespace pomona::cli
