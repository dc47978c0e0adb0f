#include "api/sheets.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {

Run declare_verify(CLI::App& app) {
  struct Arguments {
    std::string model, html;
    api::VerifyOptions options;
    bool force = false;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the model to verify")->required();
  app.add_option("--html", a->html,
                 "also write a page for a browser; with --bisect, the error of every tensor is in it");
  app.add_flag("--force", a->force, "replace an existing page");
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto report = api::verify(a->model, a->options);
    if (!report) return std::move(report).error();
    say_verification(session, *report);
    Json json = verification_json(*report);
    if (!a->html.empty()) {
      auto written = api::write_verify_page(*report, a->model, a->html, a->force);
      if (!written) return std::move(written).error();
      session.say("page: " + a->html);
      json["html"] = a->html;
    }
    return Outcome{json, report->passed};
  };
}

}  // namespace pomona::cli
