#include "api/sheets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "api/files.h"
#include "report/sheet.h"

namespace pomona::api {
namespace {

std::string short_number(double x) {
  return std::isfinite(x) ? fmt::format("{:.3g}", x) : x > 0 ? "exact" : "no number";
}

void add_outputs(report::Sheet& sheet, const VerifyReport& found) {
  for (const OutputLine& line : found.lines)
    sheet.totals.push_back(
        {"output " + line.name,
         line.exact ? fmt::format("{} of {} differ", line.metrics.unequal, line.metrics.count)
                    : fmt::format("cosine {:.6f}, SNR {} dB", line.metrics.cosine, short_number(line.metrics.snr_db)),
         !line.problem.empty()});
}

// The noise as a share of the signal: 0 when equal.
double relative_error(const verify::Metrics& metrics) {
  return std::isfinite(metrics.snr_db) ? std::pow(10.0, -metrics.snr_db / 20) : 0;
}

}  // namespace

Status write_compress_page(const CompressReport& report, const std::string& title, const std::string& output,
                           bool force) {
  report::Sheet sheet{.title = title, .note = "Errors are of the weights: sqrt(squared error / squares)."};
  double smaller = double(report.bytes_before) / double(std::max<std::uint64_t>(1, report.bytes_after));
  sheet.totals = {{"before", size_text(report.bytes_before)},
                  {"after", size_text(report.bytes_after)},
                  {"smaller", fmt::format("{:.2f} times", smaller)}};
  if (report.verification) add_outputs(sheet, *report.verification);
  for (const std::string& warning : report.warnings) sheet.totals.push_back({"warning", warning, true});
  sheet.bars_title = "Error per weight";
  sheet.points_title = "Bits against error, the best weights joined";
  sheet.x_label = "bits per weight";
  sheet.y_label = "relative error";
  sheet.table_title = "Weights";
  sheet.columns = {"weight", "shape", "stored as", "bits", "bytes", "was", "error", "note"};
  for (const compress::WeightLine& line : report.lines) {
    auto error = line.relative_error();
    std::string told = error ? short_number(*error) : "";
    std::string bits = line.compressed() ? fmt::format("{:.2f}", line.bits_per_weight()) : "";
    sheet.rows.push_back({line.name, to_string(line.sizes),
                          line.compressed() ? line.scheme : std::string(name(line.dtype)), bits,
                          std::to_string(line.bytes_after), std::to_string(line.bytes_before), told, line.note});
    if (!error) continue;
    sheet.bars.push_back({line.name, *error, fmt::format("{} ({} bits, {})", told, bits, line.scheme)});
    sheet.points.push_back(
        {line.bits_per_weight(), *error, fmt::format("{}: {} bits, error {}", line.name, bits, told)});
  }
  report::mark_best(sheet.points);
  return write_whole_file(output, report::sheet_page(sheet), force);
}

Status write_verify_page(const VerifyReport& report, const std::string& title, const std::string& output, bool force) {
  report::Sheet sheet{.title = title, .note = "Compared with " + report.reference + ". " + report.note};
  sheet.totals = {{"verdict", report.passed ? "passed" : "failed", !report.passed}};
  add_outputs(sheet, report);
  if (report.divergence && report.divergence->found)
    sheet.totals.push_back({"first to leave the tolerance", report.divergence->op, true});
  sheet.bars_title = "Error per tensor, as a share of the signal";
  sheet.table_title = "Tensors";
  sheet.columns = {"tensor", "operation", "cosine", "largest difference", "SNR in dB", "note"};
  auto add = [&](const std::string& tensor, const std::string& op, const verify::Metrics& m,
                 const std::string& problem) {
    sheet.bars.push_back({tensor, relative_error(m),
                          fmt::format("{} dB, largest difference {}", short_number(m.snr_db), short_number(m.max_abs)),
                          !problem.empty()});
    sheet.rows.push_back(
        {tensor, op, fmt::format("{:.6f}", m.cosine), short_number(m.max_abs), short_number(m.snr_db), problem});
  };
  if (report.divergence)
    for (const LayerLine& line : report.divergence->layers) add(line.value, line.op, line.metrics, line.problem);
  for (const OutputLine& line : report.lines) add(line.name, "output", line.metrics, line.problem);
  return write_whole_file(output, report::sheet_page(sheet), force);
}

}  // namespace pomona::api
