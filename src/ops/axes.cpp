#include "ops/axes.h"

namespace pomona::mil {
namespace {

// Row-major offsets of all elements with index 0 along the axes that are not chosen.
std::vector<std::size_t> offsets_along(const Sizes& sizes, const std::vector<bool>& chosen, bool wanted) {
  Sizes strides = strides_of(sizes);
  std::vector<std::size_t> offsets{0};
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    if (chosen[axis] != wanted) continue;
    std::vector<std::size_t> next;
    next.reserve(offsets.size() * std::size_t(sizes[axis]));
    for (std::size_t offset : offsets)
      for (std::int64_t i = 0; i < sizes[axis]; ++i) next.push_back(offset + std::size_t(i * strides[axis]));
    offsets = std::move(next);
  }
  return offsets;
}

}  // namespace

Result<std::vector<bool>> chosen_axes(const Ints& axes, std::size_t rank) {
  std::vector<bool> chosen(rank, axes.empty());
  for (std::int64_t axis : axes) {
    auto at = normal_axis(axis, rank);
    POM_REQUIRE(at, "axis {} is outside a tensor of rank {}", axis, rank);
    POM_REQUIRE(!chosen[*at], "axis {} is named twice", axis);
    chosen[*at] = true;
  }
  return chosen;
}

Rows rows_along(const Sizes& sizes, const std::vector<bool>& chosen) {
  return {offsets_along(sizes, chosen, false), offsets_along(sizes, chosen, true)};
}

Status require_per_channel(const InputField& parameter, std::string_view parameter_name, Dim channels) {
  POM_REQUIRE(parameter.rank() == 1, "{} has rank {}, not 1", parameter_name, parameter.rank());
  POM_REQUIRE(may_equal(parameter.shape()[0], channels), "{} has {} elements, but there are {} channels",
              parameter_name, parameter.shape()[0].text(), channels.text());
  return {};
}

}  // namespace pomona::mil
