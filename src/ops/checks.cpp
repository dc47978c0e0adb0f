#include "ops/checks.h"

namespace pomona::mil {

Status check_size(const Shape& shape) {
  constexpr std::int64_t most_elements = std::int64_t(1) << 40;
  for (Dim dim : shape)
    POM_REQUIRE(!dim.known() || (dim.value() >= 0 && dim.value() <= most_elements), "the result would have shape {}",
                to_string(shape));
  std::int64_t count = 1;
  for (Dim dim : shape) {
    if (!dim.known()) continue;
    if (dim == 0) return {};
    POM_REQUIRE(dim.value() <= most_elements / count, "the result would have shape {}, which is too large",
                to_string(shape));
    count *= dim.value();
  }
  return {};
}

}  // namespace pomona::mil
