#include "api/bench.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/border.h"
#include "api/convert.h"
#include "api/files.h"
#include "api/inspect.h"
#include "api/run.h"
#include "api/tensors.h"
#include "llm/language_model.h"
#include "verify/inputs.h"

namespace pomona::api {
namespace {

// Symbols of the first axis of every input; empty unless every input has one there.
std::vector<std::string> batch_symbols(const Function& function) {
  std::vector<std::string> symbols;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    const Type& type = function.body.input(i).type();
    if (type.kind == Type::Kind::state) continue;
    auto symbol = type.rank() > 0 ? type.shape[0].symbol() : std::nullopt;
    if (!symbol) return {};
    symbols.push_back(*symbol);
  }
  return symbols;
}

Result<BenchRun> measure(cpu::Runner& runner, const NamedTensors& inputs, const BenchOptions& options) {
  BenchRun run;
  Stopwatch first;
  POM_TRY(runner.run(inputs));
  run.first = first.seconds();
  for (int i = 1; i < int(options.warmup); ++i) POM_TRY(runner.run(inputs));
  runner.set_profiling(options.profile);
  std::vector<double> seconds;
  for (int i = 0; i < int(options.iterations); ++i) {
    Stopwatch watch;
    POM_TRY(runner.run(inputs));
    seconds.push_back(watch.seconds());
  }
  runner.set_profiling(false);
  std::sort(seconds.begin(), seconds.end());
  auto at = [&](double share) { return seconds[std::size_t(share * double(seconds.size() - 1) + 0.5)]; };
  run.least = seconds.front();
  run.most = seconds.back();
  run.median = seconds.size() % 2 ? at(0.5) : (seconds[seconds.size() / 2 - 1] + seconds[seconds.size() / 2]) / 2;
  run.quartile_1 = at(0.25);
  run.quartile_3 = at(0.75);
  return run;
}

// Whether tokens are what it is measured in: encoders have a function for all of a text.
bool decodes(const Program& program) {
  if (!llm::is_language_model(program)) return false;
  auto model = llm::language_model_of(program);
  return model && model->vocabulary > 0;
}

void finish(BenchReport& report, const Model& model, std::size_t working_bytes) {
  std::stable_sort(report.profile.begin(), report.profile.end(),
                   [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  report.working_bytes = working_bytes;
  for (const auto& [kind, bytes] : inspect(model).bytes_by_kind) report.weight_bytes += bytes;
  report.peak_memory = peak_memory_bytes();
}

}  // namespace

Result<BenchReport> bench(const std::string& path, const BenchOptions& options) {
  POM_REQUIRE(*options.iterations >= 1, "--iterations takes a number of at least 1");
  BenchReport report;
  Stopwatch loading;
  Model model = POM_TRY(open_model(path));
  if (options.function->empty() && options.inputs->empty() && decodes(model.program)) {
    report.load_seconds = loading.seconds();
    report.tokens = POM_TRY(token_rates(model.program, {.profile = options.profile}));
    report.profile = report.tokens->profile;
    finish(report, model, report.tokens->working_bytes);
    return report;
  }
  Function& function = *POM_TRY(function_of(model.program, options.function));
  cpu::Runner runner(function, {});
  Dim::Bindings sizes = POM_TRY(sizes_from(function, *options.size));
  NamedTensors inputs;
  if (options.inputs->empty()) {
    inputs = POM_TRY(verify::random_inputs(function, {.seed = std::uint64_t(*options.seed), .sizes = sizes}));
  } else {
    NamedTensors given = POM_TRY(read_tensors(*options.inputs, model.program, function));
    inputs = POM_TRY(program_inputs(model.program, function, given));
  }
  for (const auto& [name, tensor] : inputs) report.inputs[name] = tensor.type();
  report.load_seconds = loading.seconds();
  report.runs.push_back(POM_TRY(measure(runner, inputs, options)));
  report.profile = runner.profile();
  std::vector<std::string> symbols = batch_symbols(function);
  POM_REQUIRE(!options.batch || !symbols.empty(), "--batch: the first size of some input is fixed");
  for (std::int64_t batch : {2, 4, 8}) {
    if (!options.batch) break;
    for (const std::string& symbol : symbols) sizes[symbol] = batch;
    inputs = POM_TRY(verify::random_inputs(function, {.seed = std::uint64_t(*options.seed), .sizes = sizes}));
    report.runs.push_back(POM_TRY(measure(runner, inputs, options)));
    report.runs.back().batch = batch;
  }
  finish(report, model, runner.arena_bytes());
  return report;
}

}  // namespace pomona::api
