// Seeded inputs that a function accepts, for verification without data.
//
// Floats are normal with mean 0 and deviation 1. Integers that index a constant table (through casts and reshapes) stay
// inside it, and those that say where rows are written into a tensor such as a cache, where these fit; other integers
// are 0 or 1, as masks and type ids are. Symbolic sizes take `sizes` or a default.
#pragma once
#include <optional>

#include "ir/program.h"

namespace pomona::verify {

struct InputChoice {
  std::uint64_t seed = 0;
  Dim::Bindings sizes;                                                  // for symbols by name
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> limits;  // the least and the largest, by name
  std::int64_t default_size = 0;  // for other symbols; 0: the default shape of the feature, else 8
};
Result<NamedTensors> random_inputs(const Function& function, const InputChoice& choice);

// The same inputs with every float changed by a normally distributed share of itself of deviation `noise`; nothing when
// there are no floats.
std::optional<NamedTensors> disturbed(const NamedTensors& inputs, double noise);

}  // namespace pomona::verify
