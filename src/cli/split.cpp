#include "api/split.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include "api/files.h"
#include "api/origin.h"
#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {

Run declare_split(CLI::App& app) {
  struct Arguments {
    std::string model, output;
    api::SplitOptions options;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the package to split")->required();
  app.add_option("-o,--output", a->output, "the folder to write, a model itself")->required();
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto draw = progress(session);
    auto report = api::split(a->model, a->output, a->options, draw);
    if (draw) draw("", -1);
    if (!report) return std::move(report).error();
    Json parts = Json::array();
    for (const api::SplitPart& part : report->parts) {
      session.say(
          fmt::format("{}: {}, takes {}, gives {}", part.package, api::size_text(part.bytes),
                      part.takes.empty() ? "the model's inputs" : fmt::format("{}", fmt::join(part.takes, ", ")),
                      part.gives.empty() ? "the model's outputs" : fmt::format("{}", fmt::join(part.gives, ", "))));
      parts.push_back({{"package", part.package},
                       {"bytes", part.bytes},
                       {"weight_bytes", part.weight_bytes},
                       {"takes", part.takes},
                       {"gives", part.gives}});
    }
    session.say(fmt::format("{} -> '{}', {} parts, {}; {:.2f} s", api::size_text(report->bytes_before), a->output,
                            report->parts.size(), api::size_text(report->bytes_after), report->seconds));
    if (!a->options.no_verify)
      session.say(fmt::format("the parts together give the same {} outputs as the whole", report->compared));
    return Outcome(Json{{"output", a->output},
                        {"parts", parts},
                        {"bytes_before", report->bytes_before},
                        {"bytes_after", report->bytes_after},
                        {"compared", report->compared},
                        {"seconds", report->seconds}});
  };
}

}  // namespace pomona::cli
