#include "api/compress.h"

#include <fmt/format.h>

#include <cmath>

#include "api/files.h"
#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {
namespace {

struct Arguments {
  std::string model, output;
  api::CompressOptions options;
};

Json to_json(const compress::WeightLine& line) {
  Json json{{"function", line.function},       {"name", line.name},
            {"dtype", name(line.dtype)},       {"shape", line.sizes},
            {"compressed", line.compressed()}, {"bytes_before", line.bytes_before},
            {"bytes_after", line.bytes_after}};
  if (line.compressed()) {
    json["scheme"] = line.scheme;
    json["bits_per_weight"] = line.bits_per_weight();
    json["relative_error"] = number(line.relative_error().value_or(NAN));
    json["snr_db"] = number(line.snr_decibel().value_or(NAN));
  }
  if (!line.note.empty()) json["note"] = line.note;
  return json;
}

Json to_json(const api::CompressReport& report, const std::string& output) {
  Json json{{"output", output},
            {"source_bytes", report.source_bytes},
            {"output_bytes", report.output_bytes},
            {"peak_memory_bytes", report.peak_memory},
            {"seconds", report.seconds}};
  for (const compress::WeightLine& line : report.weights.lines) json["weights"].push_back(to_json(line));
  return json;
}

std::vector<std::string> row(const compress::WeightLine& line, bool with_function) {
  std::string name = with_function ? line.function + ": " + line.name : line.name;
  if (!line.compressed())
    return {name, to_string(line.sizes), "left", "", std::to_string(line.bytes_before), "", "", "", line.note};
  auto decibel = line.snr_decibel();
  return {name,
          to_string(line.sizes),
          line.scheme,
          line.bytes_after ? fmt::format("{:.2f}", line.bits_per_weight()) : "",
          std::to_string(line.bytes_before),
          std::to_string(line.bytes_after),
          fmt::format("{:.3g}", line.relative_error().value_or(NAN)),
          decibel && std::isinf(*decibel) ? "exact" : fmt::format("{:.1f}", decibel.value_or(NAN)),
          line.note};
}

void say(const Session& session, const api::CompressReport& report, const std::string& output) {
  bool several = false;
  for (const auto& line : report.weights.lines) several = several || line.function != report.weights.lines[0].function;
  std::vector<std::vector<std::string>> rows{
      {"weight", "shape", "stored as", "bits", "bytes before", "after", "error", "SNR dB", ""}};
  std::size_t compressed = 0;
  for (const auto& line : report.weights.lines) {
    rows.push_back(row(line, several));
    compressed += line.compressed();
  }
  session.say(table(rows));
  session.say(fmt::format("{} of {} weights compressed; {} -> '{}', {}; {:.2f} s, peak memory {}", compressed,
                          report.weights.lines.size(), api::size_text(report.source_bytes), output,
                          api::size_text(report.output_bytes), report.seconds, api::size_text(report.peak_memory)));
}

std::string scheme_help() {
  std::string text = "\nSchemes:\n";
  for (const compress::SchemeInfo& scheme : compress::schemes())
    text += fmt::format("  {:<16} {}\n", scheme.name, scheme.doc);
  for (const compress::ShortName& each : compress::short_names())
    text += fmt::format("  {:<16} {}: {}\n", each.name, each.scheme, each.doc);
  return text;
}

}  // namespace

Run declare_compress(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the package to compress")->required();
  app.add_option("-o,--output", a->output, "the package to write")->required();
  add_flags(app, a->options);
  app.footer(scheme_help() + app.get_footer());
  return [a](const Session& session) -> Result<Outcome> {
    auto draw = progress(session);
    auto report = api::compress(a->model, a->output, a->options, draw);
    if (draw) draw("", -1);
    if (!report) return std::move(report).error();
    say(session, *report, a->output);
    return Outcome{to_json(*report, a->output), true};
  };
}

Run declare_decompress(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  auto force = std::make_shared<bool>(false);
  app.add_option("model", a->model, "the package to decompress")->required();
  app.add_option("-o,--output", a->output, "the package to write")->required();
  app.add_flag("--force", *force, "replace an existing output");
  return [a, force](const Session& session) -> Result<Outcome> {
    auto draw = progress(session);
    auto report = api::decompress(a->model, a->output, *force, draw);
    if (draw) draw("", -1);
    if (!report) return std::move(report).error();
    session.say(fmt::format("{} weights decoded; {} -> '{}', {}", report->decoded, api::size_text(report->source_bytes),
                            a->output, api::size_text(report->output_bytes)));
    Json json = to_json(*report, a->output);
    json["decoded"] = report->decoded;
    return Outcome{std::move(json), true};
  };
}

}  // namespace pomona::cli
