#include "api/search.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "api/files.h"
#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {
namespace {

Json point_json(const api::SearchPoint& point) {
  return {{"scheme", point.name},         {"bytes", point.bytes},
          {"error", number(point.error)}, {"cosine", number(point.cosine)},
          {"kl", number(point.kl)},       {"metric", point.metric ? Json(*point.metric) : Json(nullptr)}};
}

void say_report(const Session& session, const api::SearchReport& report) {
  std::vector<std::vector<std::string>> weights{{"weight", "scheme", "bytes", "error alone"}};
  for (const auto& choice : report.chosen)
    weights.push_back(
        {choice.weight, choice.scheme, std::to_string(choice.bytes), fmt::format("{:.2e}", choice.error)});
  session.say(table(weights));
  std::vector<std::vector<std::string>> points{{"bytes", "scheme", "error", "cosine", "KL"}};
  for (const auto& point : report.points)
    points.push_back({std::to_string(point.bytes), point.name, fmt::format("{:.3e}", point.error),
                      fmt::format("{:.6f}", point.cosine), fmt::format("{:.2e}", point.kl)});
  session.say(table(points));
}

}  // namespace

Run declare_search(CLI::App& app) {
  struct Arguments {
    std::string model, output, engine;
    api::SearchOptions options;
  };
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the package to choose for")->required();
  app.add_option("-o,--output", a->output, "the configuration to write, for compress --config")->required();
  app.add_option("--for", a->engine, "ane, gpu or cpu: only schemes that it takes");
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto draw = progress(session);
    auto report = api::search(a->model, a->output, a->engine, a->options, draw);
    if (draw) draw("", -1);
    if (!report) return std::move(report).error();
    say_report(session, *report);
    const api::SearchPoint& result = report->result;
    session.say(fmt::format("{}: {} of weights, error {:.3e}, cosine {:.6f}; {} runs, {:.1f} s",
                            report->reached ? fmt::format("'{}' and '{}'", report->recipe, report->plot)
                                            : std::string("the goal is out of reach; the nearest"),
                            api::size_text(result.bytes), result.error, result.cosine, report->runs, report->seconds));
    Json json{{"recipe", report->recipe},     {"plot", report->plot}, {"reached", report->reached},
              {"result", point_json(result)}, {"runs", report->runs}, {"seconds", report->seconds}};
    json["points"] = Json::array();
    for (const auto& point : report->points) json["points"].push_back(point_json(point));
    json["weights"] = Json::array();
    for (const auto& choice : report->chosen)
      json["weights"].push_back(Json{{"name", choice.weight},
                                     {"scheme", choice.scheme},
                                     {"bytes", choice.bytes},
                                     {"error", number(choice.error)}});
    return Outcome{json, report->reached};
  };
}

}  // namespace pomona::cli
