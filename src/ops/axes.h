// Axes: which of them an op works along, and the rows of elements that lie along them.
//
//   auto chosen = POM_TRY(chosen_axes({-1}, 3));           // {false, false, true}
//   Rows rows = rows_along({2, 3, 4}, chosen);              // 6 rows of 4 elements
//   values[rows.first[r] + rows.step[i]]                    // element i of row r
#pragma once
#include "ir/op.h"

namespace pomona::mil {

// One flag per axis; no axes means all. Errors name an axis outside the rank or one named twice.
Result<std::vector<bool>> chosen_axes(const Ints& axes, std::size_t rank);

// The elements of a row-major tensor in groups: those of a row differ along the chosen axes only.
struct Rows {
  std::vector<std::size_t> first, step;
};
Rows rows_along(const Sizes& sizes, const std::vector<bool>& chosen);

// Whether two sizes may be the same: unless both are known and differ.
inline bool may_equal(Dim a, Dim b) { return !a.known() || !b.known() || a == b; }
// An error unless the parameter is a vector with one element per channel.
Status require_per_channel(const InputField& parameter, std::string_view parameter_name, Dim channels);

}  // namespace pomona::mil
