// The values inside a function while it runs over samples.
//
//   POM_TRY(observe(function, {hidden, scores}, samples, [&](std::size_t value, std::size_t sample, const Tensor& t) {
//     ...
//   }));
//
// Groups of values whose tensors fit the limit are taken out in one run each. Values are those of the function's body,
// not of blocks inside it. A sample that continues finds the states as the one before left them; others begin with
// empty ones.
#pragma once
#include <functional>

#include "ir/program.h"

namespace pomona::compress {

using Observer = std::function<void(std::size_t value, std::size_t sample, const Tensor& tensor)>;
Status observe(Function& function, const Values& values, const std::vector<NamedTensors>& samples,
               const Observer& observer, const std::vector<bool>& continues = {},
               std::uint64_t limit_bytes = 256 << 20);

}  // namespace pomona::compress
