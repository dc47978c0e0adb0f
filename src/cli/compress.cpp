#include "api/compress.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include <set>

#include "api/files.h"
#include "api/sheets.h"
#include "cli/flags.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace pomona::cli {
namespace {

struct Arguments {
  std::string model, output, html;
  api::CompressOptions options;
  compress::SchemeOptions scheme_options;
  bool force = false;
};

// The options of all schemes; which of them go together, the scheme says.
void add_scheme_flags(CLI::App& app, Arguments& arguments) {
  std::map<std::string_view, std::pair<const FieldInfo*, std::string>> fields;
  for (const compress::SchemeInfo& scheme : compress::schemes())
    for (const FieldInfo* field : scheme.options->fields) {
      auto& [info, doc] = fields[field->name];
      info = field;
      doc += fmt::format("{}{}: {}", doc.empty() ? "" : "; ", scheme.name, field->doc);
    }
  for (const auto& [name, found] : fields)
    add_attribute_flag(app, *found.first, found.second, [&arguments, name](const Attribute& value) {
      arguments.scheme_options[std::string(name)] = value;
    });
}

Json line_json(const compress::WeightLine& line) {
  Json json{{"function", line.function},         {"name", line.name},
            {"dtype", name(line.dtype)},         {"shape", line.sizes},
            {"bytes_before", line.bytes_before}, {"bytes_after", line.bytes_after}};
  if (line.compressed()) {
    json["scheme"] = line.scheme;
    json["bits_per_weight"] = line.bits_per_weight();
    if (auto error = line.relative_error()) json["relative_error"] = number(*error);
    if (auto snr = line.snr_decibel()) json["snr_db"] = number(*snr);
  }
  if (!line.note.empty()) json["note"] = line.note;
  return json;
}

}  // namespace

Json weight_lines_json(const std::vector<compress::WeightLine>& lines) {
  Json json = Json::array();
  for (const compress::WeightLine& line : lines) json.push_back(line_json(line));
  return json;
}

void say_weight_lines(const Session& session, const std::vector<compress::WeightLine>& lines) {
  std::vector<std::vector<std::string>> rows{{"weight", "shape", "stored as", "bits", "bytes", "was", "error", ""}};
  for (const compress::WeightLine& line : lines) {
    auto error = line.relative_error();
    rows.push_back({line.name, to_string(line.sizes), line.compressed() ? line.scheme : std::string(name(line.dtype)),
                    line.compressed() ? fmt::format("{:.2f}", line.bits_per_weight()) : "",
                    std::to_string(line.bytes_after), std::to_string(line.bytes_before),
                    error ? fmt::format("{:.2e}", *error) : "", line.note});
  }
  session.say(table(rows));
}

namespace {

Json activation_json(const compress::ActivationLine& line) {
  Json json{{"function", line.function}, {"op", line.op}, {"type", line.type}, {"value", line.value}};
  if (!line.note.empty()) {
    json["note"] = line.note;
    return json;
  }
  json["dtype"] = name(line.codes.dtype);
  json["scale"] = line.codes.scale;
  json["zero_point"] = line.codes.zero_point.value_or(0);
  json["seen"] = {line.lowest, line.highest};
  json["covered"] = {line.codes.lowest(), line.codes.highest()};
  json["snr_db"] = number(line.snr_decibel);
  return json;
}

void say_activation_lines(const Session& session, const std::vector<compress::ActivationLine>& lines) {
  if (lines.empty()) return;
  std::vector<std::vector<std::string>> rows{{"op", "", "activation", "stored as", "scale", "seen", "snr dB", ""}};
  for (const compress::ActivationLine& line : lines) {
    bool left = !line.note.empty();
    rows.push_back({line.op, line.type, line.value, left ? "" : std::string(name(line.codes.dtype)),
                    left ? "" : fmt::format("{:.3g}", line.codes.scale),
                    left ? "" : fmt::format("{:.4g} to {:.4g}", line.lowest, line.highest),
                    left ? "" : fmt::format("{:.1f}", line.snr_decibel), line.note});
  }
  session.say(table(rows));
}

Json scaling_json(const api::ScalingLine& line) {
  Json json{{"function", line.function}, {"input", line.input}, {"weights", line.weights}};
  if (!line.note.empty()) {
    json["note"] = line.note;
    return json;
  }
  json["into"] = line.into;
  json["exponent"] = line.exponent;
  return json;
}

void say_scaling_lines(const Session& session, const std::vector<api::ScalingLine>& lines) {
  if (lines.empty()) return;
  std::vector<std::vector<std::string>> rows{{"input", "weights", "exponent", "folded into", ""}};
  for (const api::ScalingLine& line : lines)
    rows.push_back({line.input, fmt::format("{}", fmt::join(line.weights, " ")),
                    line.note.empty() ? fmt::format("{:.1f}", line.exponent) : "", line.into, line.note});
  session.say(table(rows));
}

void say_layer_lines(const Session& session, const std::vector<api::LayerLoss>& lines) {
  if (lines.empty()) return;
  std::vector<std::vector<std::string>> rows{{"layer", "", "snr dB of its result"}};
  for (const api::LayerLoss& line : lines)
    rows.push_back({line.name, line.type, fmt::format("{:.1f}", line.snr_decibel)});
  session.say(table(rows));
}

}  // namespace

Run declare_compress(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the package to compress")->required();
  app.add_option("-o,--output", a->output, "the package to write")->required();
  app.add_option("--html", a->html, "also write what it did to each weight as a page for a browser");
  add_flags(app, a->options);
  add_scheme_flags(app, *a);
  return [a](const Session& session) -> Result<Outcome> {
    auto draw = progress(session);
    auto report = api::compress(a->model, a->output, a->options, a->scheme_options, draw);
    if (draw) draw("", -1);
    if (!report) return std::move(report).error();
    say_weight_lines(session, report->lines);
    say_activation_lines(session, report->activations);
    say_scaling_lines(session, report->scaling);
    session.say(fmt::format("{} -> '{}', {}; {:.2f} s, peak memory {}", api::size_text(report->bytes_before), a->output,
                            api::size_text(report->bytes_after), report->seconds, api::size_text(report->peak_memory)));
    for (const std::string& warning : report->warnings) session.note("warning: " + warning);
    Json json{{"output", a->output},
              {"bytes_before", report->bytes_before},
              {"bytes_after", report->bytes_after},
              {"seconds", report->seconds},
              {"peak_memory_bytes", report->peak_memory},
              {"warnings", report->warnings},
              {"written", report->written},
              {"weights", weight_lines_json(report->lines)}};
    if (!a->html.empty()) {
      auto written = api::write_compress_page(*report, a->output, a->html, a->options.force);
      if (!written) return std::move(written).error();
      session.say("page: " + a->html);
      json["html"] = a->html;
    }
    for (const api::ScalingLine& line : report->scaling) json["scaling"].push_back(scaling_json(line));
    if (!report->activations.empty()) {
      json["activations"] = Json::array();
      for (const auto& line : report->activations) json["activations"].push_back(activation_json(line));
    }
    if (!report->verification) return Outcome{json};
    say_layer_lines(session, report->layers);
    say_verification(session, *report->verification);
    for (const api::LayerLoss& line : report->layers)
      json["layers"].push_back({{"name", line.name}, {"type", line.type}, {"snr_db", number(line.snr_decibel)}});
    json["verification"] = verification_json(*report->verification);
    if (!report->written) session.note("nothing was written; --keep writes it all the same");
    return Outcome{json, report->verification->passed};
  };
}

Run declare_decompress(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  app.add_option("model", a->model, "the package to decompress")->required();
  app.add_option("-o,--output", a->output, "the package to write")->required();
  app.add_flag("--force", a->force, "replace an existing output");
  return [a](const Session& session) -> Result<Outcome> {
    auto draw = progress(session);
    auto report = api::decompress(a->model, a->output, a->force, draw);
    if (draw) draw("", -1);
    if (!report) return std::move(report).error();
    session.say(fmt::format("{} weights are plain again: {} -> '{}', {}", report->weights,
                            api::size_text(report->bytes_before), a->output, api::size_text(report->bytes_after)));
    return Outcome{{{"output", a->output},
                    {"weights", report->weights},
                    {"bytes_before", report->bytes_before},
                    {"bytes_after", report->bytes_after}},
                   true};
  };
}

}  // namespace pomona::cli
