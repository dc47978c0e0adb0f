// Work along one axis whose size is known only when the model runs: elements are taken at places that are computed
// then.
//
//   Value n = g.dim(x, 2);
//   Value places = g.times(count_up(g, n), 2);
//   x = taken(g, x, places, 2);                          // every second element, had n been halved before
#pragma once
#include "formats/onnx/lowering.h"

namespace pomona::onnx {

// 0, 1, … count - 1 and begin, … end - 1: int32 vectors.
Value count_up(Lowering& g, Value count);
Value count_up(Lowering& g, Value begin, Value end);
// The elements of x at these places along the axis, all of which are inside.
Value taken(Lowering& g, Value x, Value places, std::size_t axis);
// x[begin:end] along one axis, bounds being computed scalars.
Value sliced(Lowering& g, Value x, std::size_t axis, Value begin, Value end);

// How a resizing samples its input; the names are ONNX's.
struct ResizeOptions {
  std::string grid = "half_pixel", mode = "nearest", nearest = "round_prefer_floor";
  double cubic_a = -0.75, extrapolation = 0;
  bool exclude_outside = false, antialias = false;
};
// Samples nearer than this to the middle between two count as lying there, as in ONNX Runtime.
constexpr double half_and_a_bit = 0.500001;
// Resizing along an axis. `in` and `out` are integer scalars; `scale`, and the `length` of the output before it is cut
// to a whole number, are fp32 ones. Where `stays` is true (it may be absent) nothing is resized after all.
struct OpenResize {
  std::size_t axis = 0;
  Value in, out, scale, length, stays;
};
Result<Value> resize_open(Lowering& g, Value x, const ResizeOptions& options, const OpenResize& axis);

}  // namespace pomona::onnx
