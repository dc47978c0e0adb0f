// The two orders in which a tensor of rank 3 to 5 may lie in memory while a program runs: row-major as its type says
// ([n, c, spatial...]), or channels last ([n, spatial..., c]). Convolutions want channels last, elementwise ops and
// poolings take either, and the planner (plan.cpp) puts a reordering step between what does not fit.
//
// Types, axes and strides in kernels stay those of the type; only the place of an element differs.
#pragma once
#include "cpu/kernel.h"

namespace pomona::cpu {

// Strides of the dimensions of [n, c, spatial...] when channels lie last.
Sizes channels_last_strides(const Sizes& sizes);
// The dimensions in the order they lie: 0, 2, .., rank - 1, 1.
std::vector<std::size_t> channels_last_order(std::size_t rank);
// Whether both orders are the same: one channel, or one position.
bool same_in_both_layouts(const Sizes& sizes);
// Copies a tensor from one order to the other.
Kernel reorder_kernel(SlotNumber from, SlotNumber to, const Sizes& sizes, DType dtype, bool to_channels_last);

}  // namespace pomona::cpu
