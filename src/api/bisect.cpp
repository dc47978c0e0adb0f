#include "api/bisect.h"

#include <cmath>
#include <limits>
#include <unordered_map>

#include "api/border.h"
#include "api/run.h"
#include "cpu/runner.h"
#include "ir/naming.h"

namespace pomona::api {
namespace {

// fp16 has masks of -1e38 and beyond as its own least number, or, once something is added to them, as infinite, which
// is no divergence: the reference's tensor with what the program has there.
Tensor with_saturated_masks(const Tensor& want, const Tensor& got) {
  constexpr double as_good_as_infinite = 1e38, nearly_largest_half = 6e4;
  if (got.dtype() != DType::fp16 || want.dtype() != DType::fp32 || got.sizes() != want.sizes()) return want;
  Tensor adapted = want;
  adapted.mutable_data();
  for (std::size_t i = 0; i < want.count(); ++i) {
    double a = got.number(i), b = want.number(i);
    bool saturated = std::fabs(b) >= as_good_as_infinite && std::fabs(a) >= nearly_largest_half &&
                     std::signbit(a) == std::signbit(b);
    if (saturated) adapted.set_number(i, a);
  }
  return adapted;
}

// The element that is furthest off, before all others one that is not a number on one side only.
void note_worst(Divergence& found, const Tensor& got, const Tensor& want) {
  double most = -1;
  std::size_t worst = 0;
  for (std::size_t i = 0; i < want.count(); ++i) {
    double a = got.number(i), b = want.number(i);
    double off = a == b || (std::isnan(a) && std::isnan(b)) ? 0 : std::fabs(a - b);
    if (std::isnan(off)) off = std::numeric_limits<double>::infinity();
    if (off > most) {
      most = off;
      worst = i;
    }
  }
  found.got = got.number(worst);
  found.expected = want.number(worst);
  found.at = want.sizes();
  for (std::size_t d = found.at.size(); d-- > 0;) {
    std::int64_t size = found.at[d];
    found.at[d] = std::int64_t(worst) % size;
    worst /= std::size_t(size);
  }
}

struct Traced {
  Model model;
  Tensors tensors;  // parallel to the results of the main function, all of which are traced

  static Result<Traced> of(const std::string& path, const NamedTensors& given) {
    Traced traced{POM_TRY(open_model(path)), {}};
    Function& function = traced.model.program.main();
    NamedTensors inputs = POM_TRY(program_inputs(traced.model.program, function, given));
    expose_all_tensors(function);
    cpu::Runner runner(function, {.rounding = cpu::Rounding::strict});
    traced.tensors = POM_TRY_IN(runner.run(inputs), "'{}'", path);
    return traced;
  }
  const Values& values() const { return model.program.main().body.results(); }
};

}  // namespace

Result<Divergence> bisect(const std::string& path, const std::string& reference, const NamedTensors& inputs,
                          const Tolerance& tolerance) {
  Traced mine = POM_TRY(Traced::of(path, inputs)), theirs = POM_TRY(Traced::of(reference, inputs));
  std::unordered_map<std::string, std::size_t> twins;
  for (std::size_t i = 0; i < theirs.tensors.size(); ++i) twins.emplace(plain_name(theirs.values()[i].name()), i);
  std::unordered_map<const ValueInfo*, std::size_t> index;
  for (std::size_t i = 0; i < mine.tensors.size(); ++i) index.emplace(&mine.values()[i].info(), i);

  Divergence found;
  for (const auto& node : mine.model.program.main().body.nodes())
    for (std::size_t k = 0; k < node->output_count(); ++k) {
      auto at = index.find(&node->output(k).info());
      if (at == index.end()) continue;
      ++found.total;
      auto twin = twins.find(plain_name(node->output(k).name()));
      if (twin == twins.end()) continue;
      const Tensor& got = mine.tensors[at->second];
      const Tensor want = with_saturated_masks(theirs.tensors[twin->second], got);
      auto metrics = verify::compare(got, want);
      if (!metrics) continue;
      ++found.compared;
      std::string problem = problem_of(*metrics, is_compared_exactly(got, want), tolerance);
      found.layers.push_back({node->output(k).name(), std::string(node->op->name), *metrics, problem});
      if (found.found) continue;
      if (problem.empty()) {
        found.last_good = node->output(k).name();
        continue;
      }
      const Node* origin = theirs.values()[twin->second].producer();
      found.found = true;
      found.value = node->output(k).name();
      found.op = node->label();
      found.source = origin ? (origin->source.empty() ? origin->label() : origin->source) : "";
      found.metrics = *metrics;
      if (want.count()) note_worst(found, got, want);
    }
  return found;
}

}  // namespace pomona::api
