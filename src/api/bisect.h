// Where two programs part: the first tensor of one that is not within the tolerance of its twin in the other.
//
// Twins are tensors of the same name (characters that MIL does not allow counting as '_') and shape; rewriting keeps
// the names of what it does not merge. All tensors of both programs are computed on the same inputs.
#pragma once
#include "api/verify.h"

namespace pomona::api {

Result<Divergence> bisect(const std::string& path, const std::string& reference, const NamedTensors& inputs,
                          const Tolerance& tolerance);

}  // namespace pomona::api
