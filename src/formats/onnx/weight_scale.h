// Quantised weights as exporters write them: an integer tensor, cast, times a scale per row, column or tensor. As a
// chain of ops this would be computed element by element through `eval`; here it is one pass.
//
//   if (auto fast = scaled_weight(integers_as_floats, scales)) ...
#pragma once
#include <optional>

#include "ir/weight.h"

namespace pomona::onnx {

// The product of two fp32 weights, one of which has all its elements along one axis (or only one); empty when the pair
// is not of this kind. The result's bits are those of multiplying in fp32.
std::optional<Weight> scaled_weight(const Weight& a, const Weight& b);

}  // namespace pomona::onnx
