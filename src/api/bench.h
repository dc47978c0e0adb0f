// How long a model takes here, and how much memory: planned once, warmed up, then timed run by run.
//
//   BenchReport report = POM_TRY(bench("encoder.mlpackage", {.iterations = 50}));
//   report.runs[0].median
//
// Language models are timed in tokens per second. Inputs of others are seeded random ones, or the user's. Sizes left
// open take the model's default shape.
#pragma once
#include <optional>

#include "api/bench_tokens.h"
#include "api/model.h"
#include "base/record.h"
#include "cpu/runner.h"

namespace pomona::api {

struct BenchOptions {
  POM_OPTION(iterations, int, "timed runs") = 30;
  POM_OPTION(warmup, int, "runs before them that are not timed") = 3;
  POM_OPTION(profile, bool, "time of every op");
  POM_OPTION(batch, bool, "also with 2, 4 and 8 inputs at a time, where the first size of every input is open");
  POM_OPTION(size, Strings, "name=128: a size that is left open, by its name in the model or by input_axis");
  POM_OPTION(inputs, Strings, "in.npz, in.json, name=x.npy or name=photo.png; may be repeated");
  POM_OPTION(function, std::string, "the function to run; without it, the default one");
  POM_OPTION(seed, std::int64_t, "of the random inputs") = 0;
};
struct BenchRun {
  std::int64_t batch = 0;  // 0: the model's own
  double first = 0;        // seconds of the first run, planning included
  double median = 0, least = 0, most = 0, quartile_1 = 0, quartile_3 = 0;  // seconds
};
struct BenchReport {
  std::map<std::string, Type> inputs;
  double load_seconds = 0;
  std::vector<BenchRun> runs;
  std::vector<cpu::StepTime> profile;  // the slowest first
  std::optional<TokenRates> tokens;    // of a language model, which has no `runs`
  std::uint64_t working_bytes = 0, weight_bytes = 0, peak_memory = 0;
};
Result<BenchReport> bench(const std::string& path, const BenchOptions& options);

}  // namespace pomona::api
