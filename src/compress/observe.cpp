#include "compress/observe.h"

#include "cpu/runner.h"

namespace pomona::compress {
namespace {

// Sizes that are not known count as 64 each.
std::uint64_t bytes_of(Value value) {
  std::uint64_t count = 4;
  for (const Dim& dim : value.shape()) count *= dim.known() ? std::uint64_t(dim.value()) : 64;
  return count;
}

Status run_over(Function& function, const std::vector<NamedTensors>& samples, const std::vector<bool>& continues,
                std::size_t first, const Observer& observer) {
  cpu::Runner runner(function, {});
  for (std::size_t s = 0; s < samples.size(); ++s) {
    if (s >= continues.size() || !continues[s]) runner.reset_states();
    Tensors got = POM_TRY_IN(runner.run(samples[s]), "sample {}", s);
    for (std::size_t i = 0; i < got.size(); ++i) observer(first + i, s, got[i]);
  }
  return {};
}

}  // namespace

Status observe(Function& function, const Values& values, const std::vector<NamedTensors>& samples,
               const Observer& observer, const std::vector<bool>& continues, std::uint64_t limit_bytes) {
  Values results = function.body.results();
  Status status;
  for (std::size_t begin = 0, end = 0; begin < values.size() && status; begin = end) {
    std::uint64_t bytes = 0;
    while (end < values.size() && (end == begin || bytes + bytes_of(values[end]) <= limit_bytes))
      bytes += bytes_of(values[end++]);
    function.body.set_results({values.begin() + std::ptrdiff_t(begin), values.begin() + std::ptrdiff_t(end)});
    status = run_over(function, samples, continues, begin, observer);
  }
  function.body.set_results(results);
  return status;
}

}  // namespace pomona::compress
