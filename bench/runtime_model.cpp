// Runs a model once for each line on standard input, for bench/latency.py: prints how long each took, and answers.
//
//   bench_runtime_model model.mlpackage inputs.npz outputs.npz [threads]
//
// First line of output: seconds to plan and run for the first time, by the clock and by the processor. Then the same
// for each line read. At the end, on standard error, what each kind of step cost.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>

#include "api/model.h"
#include "api/run.h"
#include "api/tensors.h"
#include "base/threads.h"

namespace {

using namespace pomona;

Result<void> serve(const std::string& model_path, const std::string& inputs_path, const std::string& outputs_path) {
  api::Model model = POM_TRY(api::open_model(model_path));
  const Function& function = model.program.main();
  NamedTensors inputs = POM_TRY(api::read_tensors({inputs_path}, model.program, function));
  cpu::Runner runner(function, {});
  NamedTensors outputs;
  struct Seconds {
    double clock, processor;
  };
  auto timed = [&]() -> Result<Seconds> {
    auto begin = std::chrono::steady_clock::now();
    std::clock_t ticks = std::clock();
    outputs = POM_TRY(api::call(runner, model.program, function, inputs));
    return Seconds{std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(),
                   double(std::clock() - ticks) / CLOCKS_PER_SEC};
  };
  auto print = [](Seconds seconds) {
    std::printf("%.9f %.9f\n", seconds.clock, seconds.processor);
    std::fflush(stdout);
  };
  Seconds first = POM_TRY(timed());
  POM_TRY(api::write_tensors(outputs_path, outputs, function.outputs, true));
  print(first);
  runner.set_profiling(true);
  char line[64];
  while (std::fgets(line, sizeof line, stdin)) print(POM_TRY(timed()));
  std::map<std::string, double> costs;
  double runs = 1;
  for (const cpu::StepTime& step : runner.profile()) {
    costs[step.kernel + " (" + step.op + ")"] += step.seconds;
    runs = std::max(runs, double(step.runs));
  }
  for (const auto& [name, seconds] : costs) std::fprintf(stderr, "%9.3f ms  %s\n", 1e3 * seconds / runs, name.c_str());
  if (std::getenv("POMONA_BENCH_STEPS"))
    for (const cpu::StepTime& step : runner.profile())
      std::fprintf(stderr, "%9.3f ms  %s %s\n", 1e3 * step.seconds / double(step.runs), step.kernel.c_str(),
                   step.label.c_str());
  std::fprintf(stderr, "working memory %.1f MB\n", double(runner.arena_bytes()) / 1e6);
  return {};
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) return 2;
  set_thread_count(count > 4 ? unsigned(std::max(1, std::atoi(arguments[4]))) : 1);
  auto status = serve(arguments[1], arguments[2], arguments[3]);
  if (!status) std::fputs(describe(status.error()).c_str(), stderr);
  return status ? 0 : 1;
}
