#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "api/chat.h"
#include "cli/flags.h"
#include "cli/verbs.h"

namespace pomona::cli {
namespace {

double per_second(std::size_t count, double seconds) { return seconds > 0 ? double(count) / seconds : 0; }

}  // namespace

Run declare_generate(CLI::App& app) {
  struct Arguments {
    std::string model;
    api::GenerateOptions options;
    api::SamplingFlags sampling;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "a language model in any form")->required();
  add_flags(app, a->options);
  add_flags(app, a->sampling);
  return [a](const Session& session) -> Result<Outcome> {
    bool shown = !session.json && !session.quiet;
    auto print = [shown](std::string_view piece) {
      if (shown) {
        std::fwrite(piece.data(), 1, piece.size(), stdout);
        std::fflush(stdout);
      }
      return true;
    };
    auto report = api::generate(a->model, a->options, a->sampling, print);
    if (!report) return std::move(report).error();
    const api::Generation& g = report->generation;
    if (session.quiet && !session.json) fmt::print("{}", g.text);
    if (!session.json) fmt::print("\n");
    double prompt = per_second(g.prompt.size(), g.prompt_seconds), decode = per_second(g.ids.size(), g.decode_seconds);
    session.note(fmt::format("{} prompt tokens ({:.1f}/s), {} generated ({:.1f}/s), loaded in {:.2f} s",
                             g.prompt.size(), prompt, g.ids.size(), decode, report->load_seconds));
    return Outcome(Json{{"text", g.text},
                        {"tokens", g.ids},
                        {"prompt_tokens", g.prompt},
                        {"finish", g.finish},
                        {"timings",
                         {{"load_seconds", report->load_seconds},
                          {"prompt_seconds", g.prompt_seconds},
                          {"decode_seconds", g.decode_seconds},
                          {"prompt_tokens_per_second", prompt},
                          {"tokens_per_second", decode}}}});
  };
}

}  // namespace pomona::cli
