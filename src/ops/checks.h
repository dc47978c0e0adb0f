// A limit on the sizes of results, which come from files that may be damaged or malicious.
//
//   POM_TRY(check_size(result_shape));
//
// What cannot be shown wrong passes: unknown dimensions count as one.
#pragma once
#include "ir/tensor.h"

namespace pomona::mil {

// An error when a known dimension is negative, or when the known ones alone make more elements than any memory holds.
Status check_size(const Shape& shape);

}  // namespace pomona::mil
