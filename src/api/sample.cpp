#include "api/sample.h"

#include "api/border.h"

namespace pomona::api {
namespace {

constexpr std::int64_t sizes_to_try[] = {0, 32, 64, 8, 128, 16, 1, 512};

}  // namespace

Result<Sample> drawn_sample(const Program& program, const Function& function, verify::InputChoice choice,
                            const ModelFunction& answer) {
  std::optional<Error> first;
  bool open_sizes = false;
  for (std::size_t i = 0; i < function.body.input_count(); ++i)
    open_sizes = open_sizes || !all_known(function.body.input(i).shape());
  for (std::int64_t size : sizes_to_try) {
    choice.default_size = size;
    NamedTensors inputs = source_inputs(program, POM_TRY(verify::random_inputs(function, choice)));
    auto expected = answer(inputs);
    if (expected) return Sample{std::move(inputs), *std::move(expected)};
    if (expected.error().fault != Fault::request || !open_sizes) return std::move(expected).error();
    if (!first) first = std::move(expected).error();
  }
  return std::move(*first).in("running the reference on random inputs");
}

}  // namespace pomona::api
