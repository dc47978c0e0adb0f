// Finds the form in which a constant matrix of a program is multiplied: read through the constexpr ops behind it, so
// that compressed weights are never decoded.
//
//   SharedMatrix m = encoded_constant(op.weight, {.row_axis = 0, .depth_axis = 1}, at);   // null: decode it
#pragma once
#include "cpu/encoded_matrix.h"
#include "cpu/kernel.h"

namespace pomona::cpu {

// Which axes of the constant are the matrix's; the others have size 1.
struct MatrixAxes {
  std::size_t row_axis = 0, depth_axis = 1;
};

// Made once per constant and axes. Null also where results are to be those of the decoded weight to the last bit, and
// for matrices so small that it does not pay.
SharedMatrix encoded_constant(const InputField& weight, const MatrixAxes& axes, PlanContext& at);

}  // namespace pomona::cpu
