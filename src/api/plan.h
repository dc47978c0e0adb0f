// Where a model would run on M chips, how fast and in how much memory: predictions, each with its reason.
//
//   PlanReport report = POM_TRY(plan("encoder.mlpackage", {.chip = "M4"}));
//   report.chips[0].placement.segments
//
// Also tables of language models' speeds: predict_rows() adds predictions to a CSV, fit_rows() refits the constants,
// compare_measured() holds a plan against what a Mac measured.
#pragma once
#include <optional>

#include "api/model.h"
#include "base/record.h"
#include "silicon/placement.h"
#include "silicon/speed_rows.h"

namespace pomona::api {

struct PlanOptions {
  POM_OPTION(chip, std::string, "M1 to M6 with Pro, Max and Ultra") = "M4";
  POM_OPTION(chips, std::string, "all, or a list: M1,M4 Pro: a table of chips instead");
  POM_OPTION(gpu_cores, int, "of the chip's GPU; without it, the full bin") = 0;
  POM_OPTION(memory, double, "GB of the machine; without it, half of what the chip can have") = 0;
  POM_OPTION(units, std::string, "all, cpu_ne, cpu_gpu or cpu: what the program may use") = "all";
  POM_OPTION(system, std::string, "the system it will run on: iOS18, macOS26, ...") = "macOS26";
  POM_OPTION(function, std::string, "the function to plan; without it, the default one");
  POM_OPTION(size, Strings, "name=128: a size that is left open");
  POM_OPTION(constants, std::string, "JSON that --fit wrote, instead of the built-in constants");
};

// Tokens per second at a length of context, of a language model's decode function.
struct ContextSpeed {
  std::int64_t context = 0;
  silicon::Speed speed;
  std::uint64_t cache_bytes = 0;
  bool fits = true;
};
struct LanguagePlan {
  std::string runtime;  // whose constants
  silicon::Speed prompt;
  std::vector<ContextSpeed> decode;
  std::int64_t tokens_that_fit = 0;
};
struct ChipPlan {
  const silicon::Chip* chip = nullptr;
  double memory_gb = 0, limit_gb = 0;  // of the machine; of what one program may keep
  silicon::Placement placement;
  bool fits = true;
  std::optional<LanguagePlan> language;
};
struct PlanReport {
  std::string path, function, units;
  std::size_t parameters = 0;
  std::vector<ChipPlan> chips;
  // What Pomona's runtime would need besides the weights; absent where sizes depend on data or preparing takes long.
  std::optional<std::uint64_t> cpu_working_bytes;
  std::vector<std::string> warnings;
};
// `model` must outlive the report, whose placements point into its program.
Result<PlanReport> plan(Model& model, const PlanOptions& options);
// The first chip's plan as a page for a browser.
Status write_plan_page(const PlanReport& report, const std::string& output, bool force);

Result<silicon::SpeedPredictions> predict_rows(const std::string& csv, const std::string& output, bool force,
                                               const std::string& constants);
Result<silicon::SpeedStudy> fit_rows(const std::string& csv, const std::string& output, bool force);

struct MeasuredLine {
  std::string what;  // an op, or a test
  std::string predicted, measured;
  bool agrees = false;
};
struct MeasuredReport {
  std::string kind;  // "compute plan", "llama-bench"
  std::vector<MeasuredLine> lines;
  std::size_t agreeing = 0;
};
// Reads a compute plan (compute_plan.h has the forms), or llama-bench's JSON (`chip` says on which).
Result<MeasuredReport> compare_measured(const std::string& file, const ChipPlan* plan, const std::string& chip);

}  // namespace pomona::api
