// Moving elements bit for bit between dense tensors of one dtype.
//
//   Tensor t = select_elements(x, {{3, 2}, {1, 3}});      // x [2, 3] transposed: sizes, strides
//   Tensor r = pick_elements(x, {{0, 0, 1}, {-1, 0}});    // per dim the index in x of each result index; -1: zero
//
// Indices must lie inside x: callers check first.
#pragma once
#include "ir/tensor.h"

namespace pomona::mil {

// Elements offset + sum(index[d] * strides[d]) for every index within sizes, in elements of a dense tensor.
struct Selection {
  Sizes sizes, strides;
  std::int64_t offset = 0;
};
Selection all_elements(const Sizes& sizes);
// The selected elements' numbers, in row-major order.
std::vector<std::int64_t> element_numbers(const Selection& selection);

Tensor select_elements(const Tensor& x, const Selection& selection);
void replace_elements(Tensor& x, const Selection& selection, const Tensor& values);
// x seen as `sizes`, its dims in the order `perm`, then seen as `result`.
Tensor rearrange_elements(const Tensor& x, const Sizes& sizes, const std::vector<std::size_t>& perm, Sizes result);
Tensor pick_elements(const Tensor& x, const std::vector<std::vector<std::int64_t>>& indices);
// Copies `count` elements.
void copy_elements(Tensor& to, std::int64_t to_first, const Tensor& from, std::int64_t from_first, std::int64_t count);

}  // namespace pomona::mil
