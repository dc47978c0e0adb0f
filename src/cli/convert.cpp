#include "api/convert.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include "api/files.h"
#include "api/origin.h"
#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {
namespace {

struct Arguments {
  std::string model, output;
  api::ConvertOptions options;
};

Json mixed_json(const api::MixedReport& mixed) {
  Json json{{"ops", mixed.ops}, {"trials", mixed.trials}, {"note", mixed.note}, {"kept", Json::array()}};
  for (const api::KeptOp& kept : mixed.kept)
    json["kept"].push_back({{"op", kept.op}, {"value", kept.value}, {"source", kept.source}, {"reason", kept.reason}});
  return json;
}
void say_mixed(const Session& session, const api::MixedReport& mixed) {
  session.say(mixed.note);
  for (const api::KeptOp& kept : mixed.kept)
    session.say(fmt::format("  {} '{}'{}: {}", kept.op, kept.value,
                            kept.source.empty() ? "" : fmt::format(" ({})", kept.source), kept.reason));
}

Json to_json(const api::ConvertReport& report) {
  Json json{{"format", report.source_format},
            {"output", report.output},
            {"written", report.written},
            {"source_bytes", report.source_bytes},
            {"output_bytes", report.output_bytes},
            {"peak_memory_bytes", report.peak_memory},
            {"border", report.border},
            {"ops", report.ops}};
  for (const api::Stage& stage : report.stages) json["seconds"][stage.name] = stage.seconds;
  if (!report.weights.empty()) json["weights"] = weight_lines_json(report.weights);
  if (!report.dumps.empty()) json["dumps"] = report.dumps;
  if (report.why) {
    json["why"] = {{"applied", report.why->applied}, {"refusals", Json::array()}};
    for (const auto& refusal : report.why->refusals)
      json["why"]["refusals"].push_back(
          {{"node", refusal.node}, {"reason", refusal.reason}, {"matched", refusal.depth}});
  }
  if (report.mixed) json["mixed"] = mixed_json(*report.mixed);
  if (report.verification) json["verification"] = verification_json(*report.verification);
  return json;
}

// The near misses; all of them with --verbose.
void say_why(const Session& session, const api::RuleReport& why, const std::string& rule) {
  constexpr std::size_t shown = 12;
  session.answer(fmt::format("rule '{}' applied {} times and was refused at {} nodes{}", rule, why.applied,
                             why.refusals.size(), why.refusals.empty() ? "" : ", the nearest first:"));
  for (std::size_t i = 0; i < why.refusals.size() && (session.verbose || i < shown); ++i)
    session.answer(fmt::format("  {}: {}", why.refusals[i].node, why.refusals[i].reason));
}

void say(const Session& session, const api::ConvertReport& report, const api::ConvertOptions& options) {
  for (const std::string& sentence : report.border) session.note(sentence);
  if (report.mixed) say_mixed(session, *report.mixed);
  if (report.why) say_why(session, *report.why, options.why);
  for (const std::string& file : report.dumps) session.say("wrote " + file);
  if (!report.weights.empty()) say_weight_lines(session, report.weights);
  std::string seconds;
  for (const api::Stage& stage : report.stages)
    seconds += fmt::format("{}{} {:.2f} s", seconds.empty() ? "" : ", ", stage.name, stage.seconds);
  std::size_t ops = 0;
  for (const auto& [name, count] : report.ops) ops += count;
  session.say(fmt::format("{}, {} -> {}", report.source_format, api::size_text(report.source_bytes),
                          options.dry_run
                              ? "nothing was written (--dry-run)"
                              : fmt::format("'{}', {}", report.output, api::size_text(report.output_bytes))));
  session.say(fmt::format("{} ops; {}; peak memory {}", ops, seconds, api::size_text(report.peak_memory)));
  if (report.verification) say_verification(session, *report.verification);
  if (!report.verification || report.verification->passed) return;
  session.note(report.written ? fmt::format("'{}' is kept all the same (--keep)", report.output)
                              : fmt::format("'{}' was not written; --keep writes it all the same", report.output));
}

}  // namespace

Run declare_convert(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the model to convert")->required();
  app.add_option("-o,--output", a->output, "the package to write")->required();
  add_flags(app, a->options);
  return [a](const Session& session) -> Result<Outcome> {
    auto draw = progress(session);
    auto report = api::convert(a->model, a->output, a->options, draw);
    if (draw) draw("", -1);
    if (!report) return std::move(report).error();
    if (report->written) api::remember_source(a->output, a->model);
    say(session, *report, a->options);
    return Outcome{to_json(*report), !report->verification || report->verification->passed};
  };
}

}  // namespace pomona::cli
