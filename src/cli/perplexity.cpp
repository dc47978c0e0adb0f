#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "api/score.h"
#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {

Run declare_perplexity(CLI::App& app) {
  struct Arguments {
    std::string model;
    api::PerplexityOptions options;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "a language model in any form")->required();
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto report = api::perplexity(a->model, a->options, progress(session));
    if (!report) return std::move(report).error();
    Json json{{"perplexity", number(report->perplexity)},
              {"deviation", number(report->deviation)},
              {"tokens", report->tokens},
              {"scored", report->scored},
              {"chunks", report->chunks},
              {"seconds", report->seconds}};
    session.say(fmt::format("perplexity {:.4f} +/- {:.4f} ({} tokens scored in {} chunks, {:.1f} s)",
                            report->perplexity, report->deviation, report->scored, report->chunks, report->seconds));
    if (report->compared) {
      json["against"] = {{"perplexity", number(report->other_perplexity)},
                         {"kl", number(report->divergence)},
                         {"kl_max", number(report->largest_divergence)},
                         {"top1_agreement", number(report->agreement)}};
      session.say(fmt::format(
          "the other: perplexity {:.4f}; KL divergence {:.6f} (most {:.4f}); same top token {:.2f} %",
          report->other_perplexity, report->divergence, report->largest_divergence, 100 * report->agreement));
    }
    return Outcome(json);
  };
}

}  // namespace pomona::cli
