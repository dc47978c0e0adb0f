// Runs a function of a program on this machine's processor: planned once for each set of input sizes, run many times.
//
//   Runner runner(program.main(), {});
//   NamedTensors outputs = POM_TRY(runner.run({{"x", x}}));
//
// The plan covers the program in segments. Within a segment every size is known, so kernels are chosen and memory is
// laid out beforehand; a segment ends at an op whose result sizes depend on data (or that has blocks of its own), and
// the next one is planned for the sizes that came out. Plans are kept by sizes.
//
// States live in the Runner, start as zeros, and can be read and set. A Runner serves one call at a time.
#pragma once
#include <memory>
#include <optional>

#include "cpu/kernel.h"

namespace pomona::cpu {

struct RunOptions {
  Rounding rounding = Rounding::fast;
  // Products in conv, linear and matmul of fp16 programs are summed in fp16, one after another: a pessimistic form of
  // what the Neural Engine may do. Slow.
  bool accumulate_half = false;
  bool kernels = true;  // false: every op by its reference (still planned), to hold the kernels against
};

// What one op cost over all runs, for profiles.
struct StepTime {
  std::string label, op, kernel;
  double seconds = 0;
  std::size_t runs = 0;
};

class Executor;
class Runner {
 public:
  Runner(const Function& function, RunOptions options);
  ~Runner();
  Runner(Runner&&) noexcept;

  // Inputs by name with the dtypes of the function; results in the order of the body's results.
  // Errors: an input is missing, unknown, or has another dtype or shape than the function allows.
  Result<Tensors> run(const NamedTensors& inputs);
  // Plans for inputs of these sizes without running: bytes of working memory. Nothing where a size depends on data.
  Result<std::optional<std::size_t>> plan(const NamedTensors& inputs);
  // A state's contents; writable between runs.
  Tensor& state(const std::string& name);
  void reset_states();
  // Bytes of the largest working memory any plan needed, weights not included.
  std::size_t arena_bytes() const;
  void set_profiling(bool on);
  std::vector<StepTime> profile() const;

 private:
  std::unique_ptr<Executor> executor_;
};

}  // namespace pomona::cpu
