// Convolutions and poolings in forms that the Neural Engine takes. Each returns the value that takes the node's place,
// or an empty handle where the node is well as it is or has no such form. Internal to suit_engine.
#pragma once
#include "ir/builder.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {

// Strides that are no product of twos and threes, or above 32, and kernels that are wide because of their stride: each
// stride's elements become channels, of which a narrower kernel with stride 1 sees the same.
Value fold_strides(const Node& node, Builder& g, const EngineLimits& limits);
// Kernels wider than the limit, and dilations that are no product of twos and threes: a sum of convolutions with pieces
// of the kernel.
Value split_kernel(const Node& node, Builder& g, const EngineLimits& limits);
// Poolings with strides other than 1, 2 and 4 or windows above 13: over everything a reduction, in steps where windows
// stand side by side, else every stride-th of the pooling with stride 1.
Value pool_in_steps(const Node& node, Builder& g, const EngineLimits& limits);

}  // namespace pomona::rewrite
