// What slice_by_index and slice_update take along each dim, where that is known when a program is planned.
#pragma once
#include <algorithm>
#include <optional>

#include "ir/op.h"

namespace pomona::cpu {

struct Slice {
  Sizes begin, stride;
};
inline bool masked(const Ints& mask, std::size_t d) { return d < mask.size() && mask[d]; }

template <class Op>
std::optional<Slice> slice_of(const Op& op, const Sizes& sizes) {
  const Tensor* begin = op.begin.known();
  if (!begin) return {};
  Slice slice;
  std::vector<std::int64_t> begins = begin->integers();
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    std::int64_t stride = d < op.stride->size() ? (*op.stride)[d] : 1, first = begins[d], size = sizes[d];
    if (first < 0) first += size;
    bool squeezed = masked(*op.squeeze_mask, d);
    if (masked(*op.begin_mask, d) && !squeezed) first = stride > 0 ? 0 : size - 1;
    first = stride > 0 ? std::clamp<std::int64_t>(first, 0, size) : std::clamp<std::int64_t>(first, -1, size - 1);
    slice.begin.push_back(first);
    slice.stride.push_back(squeezed ? 1 : stride);
  }
  return slice;
}
// Result sizes with the squeezed dims still there.
inline Sizes with_squeezed(const Sizes& result, const Ints& squeeze_mask, std::size_t rank) {
  Sizes sizes;
  std::size_t next = 0;
  for (std::size_t d = 0; d < rank; ++d) sizes.push_back(masked(squeeze_mask, d) ? 1 : result[next++]);
  return sizes;
}

}  // namespace pomona::cpu
