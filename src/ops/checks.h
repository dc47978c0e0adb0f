// Small checks that several op chapters need while inferring types.
//
//   POM_REQUIRE(may_equal(x.shape()[1], w.shape()[0]), "x has {} channels, but ...", ...);
//   POM_TRY(check_size(result_shape));
//
// They do not decide what unknown dimensions are: what cannot be shown wrong passes.
#pragma once
#include "ir/tensor.h"

namespace pomona::mil {

// False when both are known and differ.
inline bool may_equal(Dim a, Dim b) { return !a.known() || !b.known() || a == b; }
// An error when a known dimension is negative, or when a shape without unknown ones has more elements than any memory
// holds; sizes come from files that may be damaged or malicious.
Status check_size(const Shape& shape);

}  // namespace pomona::mil
