// Inputs drawn for a function, with the answers to them.
//
//   auto [inputs, expected] = POM_TRY(drawn_sample(program, function, {.seed = 3}, answer));
//
// Sizes that the function leaves open are tried in turn until `answer` takes them: first what the model suggests
// itself, then multiples of 32 (networks that halve their input several times need them) and others.
#pragma once
#include <functional>

#include "api/model.h"
#include "verify/inputs.h"

namespace pomona::api {

// A model as a function from inputs to outputs, by the names of the source.
using ModelFunction = std::function<Result<NamedTensors>(const NamedTensors&)>;

struct Sample {
  NamedTensors inputs, expected;  // as the source names and types them
};
// `choice.default_size` is not read. Errors: those of `answer`, the first size's if it took none.
Result<Sample> drawn_sample(const Program& program, const Function& function, verify::InputChoice choice,
                            const ModelFunction& answer);

}  // namespace pomona::api
