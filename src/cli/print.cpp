#include "cli/print.h"

#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include <cmath>
#include <cstdio>

namespace pomona::cli {
namespace {

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789.,+-e%x ") == text.npos;
}

// Characters, not bytes: labels may be in any script.
std::size_t width(const std::string& text) {
  return std::size_t(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c == widths.size()) widths.push_back(0);
      widths[c] = std::max(widths[c], width(row[c]));
    }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      std::string padding(widths[c] - width(row[c]), ' ');
      line += (c ? "  " : "") + (is_number(row[c]) ? padding + row[c] : row[c] + padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += (text.empty() ? "" : "\n") + line;
  }
  return text;
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json metrics_json(const verify::Metrics& m) {
  return {{"max_abs", number(m.max_abs)}, {"max_rel", number(m.max_rel)},
          {"rmse", number(m.rmse)},       {"range", number(m.range)},
          {"snr_db", number(m.snr_db)},   {"psnr_db", number(m.psnr_db)},
          {"cosine", number(m.cosine)},   {"argmax_agreement", number(m.argmax_agreement)},
          {"elements", m.count},          {"unequal", m.unequal},
          {"non_finite", m.non_finite}};
}

// JSON has no infinity.
static Json worded(double value) { return std::isfinite(value) ? Json(value) : Json(fmt::format("{}", value)); }

Json verification_json(const api::VerifyReport& report) {
  Json json{{"passed", report.passed}, {"reference", report.reference}, {"seconds", report.seconds}};
  if (!report.note.empty()) json["note"] = report.note;
  for (const api::OutputLine& line : report.lines) {
    Json& output = json["outputs"][line.name] = metrics_json(line.metrics);
    output["judged_by"] = line.exact ? "equality" : "cosine";
    if (!line.problem.empty()) output["problem"] = line.problem;
  }
  if (report.divergence) {
    const api::Divergence& d = *report.divergence;
    json["bisect"] = {{"found", d.found}, {"compared", d.compared}, {"tensors", d.total}};
    if (d.found)
      json["bisect"].update({{"tensor", d.value},
                             {"op", d.op},
                             {"source", d.source},
                             {"last_good", d.last_good},
                             {"at", std::vector<std::int64_t>(d.at.begin(), d.at.end())},
                             {"value", worded(d.got)},
                             {"expected", worded(d.expected)},
                             {"metrics", metrics_json(d.metrics)}});
  }
  return json;
}

void say_verification(const Session& session, const api::VerifyReport& report) {
  std::vector<std::vector<std::string>> rows{
      {"output", "max abs", "max rel", "RMSE", "SNR dB", "PSNR dB", "cosine", "argmax", ""}};
  for (const api::OutputLine& line : report.lines) {
    const verify::Metrics& m = line.metrics;
    auto decibel = [](double v) { return std::isinf(v) ? std::string("equal") : fmt::format("{:.1f}", v); };
    rows.push_back(
        {line.name, fmt::format("{:.3g}", m.max_abs), fmt::format("{:.3g}", m.max_rel), fmt::format("{:.3g}", m.rmse),
         decibel(m.snr_db), decibel(m.psnr_db),
         line.exact ? fmt::format("{} of {} equal", m.count - m.unequal, m.count) : fmt::format("{:.7f}", m.cosine),
         fmt::format("{:.2f}%", 100 * m.argmax_agreement), line.problem});
  }
  session.say(fmt::format("compared with {} ({:.1f} s)", report.reference, report.seconds));
  if (!report.note.empty()) session.say("note: " + report.note);
  session.say(table(rows));
  if (report.divergence) {
    const api::Divergence& d = *report.divergence;
    session.say(fmt::format("bisect: {} of {} tensors have a twin of the same name and shape", d.compared, d.total));
    if (d.found)
      session.say(
          fmt::format("bisect: the first that leaves the tolerance is '{}', made by {}\n        its source: {}\n"
                      "        {} instead of {} at {}; cosine {:.7f}, max abs {:.3g}; the last good one before it: {}",
                      d.value, d.op, d.source, d.got, d.expected, to_string(d.at), d.metrics.cosine, d.metrics.max_abs,
                      d.last_good.empty() ? "none" : "'" + d.last_good + "'"));
    else
      session.say("bisect: every compared tensor is within the tolerance");
  }
  session.say(report.passed ? "verified: within the tolerance" : "NOT within the tolerance");
}

std::function<void(std::string_view, double)> progress(const Session& session) {
  if (!session.terminal || session.quiet || session.json) return {};
  return [](std::string_view stage, double share) {
    if (share < 0)
      fmt::print(stderr, "\r\x1b[K{} ...", stage);
    else
      fmt::print(stderr, "\r\x1b[K{} {:.0f}%", stage, 100 * share);
    if (stage.empty()) fmt::print(stderr, "\r\x1b[K");
    std::fflush(stderr);
  };
}

}  // namespace pomona::cli
