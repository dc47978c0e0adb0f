// Gauss's elimination with pivots, column by column, on matrices [B, n, m] of a known n.
//
//   for (std::int64_t c = 0; c < n; ++c) rows = eliminate_column(g, rows, c, n).rows;   // the left n x n are a unit
//   matrix
#pragma once
#include "formats/onnx/lowering.h"

namespace pomona::onnx {

struct Eliminated {
  Value rows;   // with a 1 in row c and zeros elsewhere in column c
  Value pivot;  // [B, 1, 1]: what row c was divided by
  Value sign;   // [B, 1, 1]: -1 where two rows changed places, else 1
};
// A pivot of 0, of a singular matrix, is not divided by when `singular_goes_on`.
Eliminated eliminate_column(Lowering& g, Value rows, std::int64_t c, std::int64_t n, bool singular_goes_on = false);

}  // namespace pomona::onnx
