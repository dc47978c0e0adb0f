// Operators that Pomona does not know, lowered as their user says: by a function that writes a program, or in MIL's
// text.
//
//   program(1.0) {
//       func main<ios18>(tensor<fp32, [?{n}, ?{c}]> x) {
//           tensor<fp32, [?{n}, ?{c}]> h = mul(x = x, y = fp32(${alpha}))[name = string("h")];
//           tensor<fp32, [?{n}, 2, ?{k}]> y = reshape(x = h, shape = tensor<int32, [3]>([${x.0}, 2, -1]))[...];
//       } -> (y);
//   }
//
// ${alpha} stands for the node's attribute, ${x.0} for the size of input x along an axis, where it is known. The types
// of the inputs are checked against what the model has, sizes that share a name must be equal; all other types follow
// from these.
#pragma once
#include "formats/onnx/import.h"
#include "formats/onnx/lowering.h"

namespace pomona::onnx {

Status lower_custom(Lowering& g, const CustomOp& op);

}  // namespace pomona::onnx
