// MIL's matrix products: linear (with constant weights), matmul, and the two patterns of einsum that Core ML has.
//
//   Value y = g.add(mil::linear{.x = x, .weight = w, .bias = b});            // x * w^T + b
//   Value scores = g.add(mil::matmul{.x = q, .y = k, .transpose_y = true});
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct linear {
  static constexpr auto doc = "x * weight^T + bias: x [..., in], weight [out, in], bias [out], zeros by default";
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_WEIGHT(weight, mixed(T, iOS17));
  POM_OPTIONAL_WEIGHT(bias, mixed(T, iOS17));
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct matmul {
  static constexpr auto doc =
      "the matrix product of the last two axes, with the axes before them broadcast. A vector x is a row, a vector y a "
      "column. From iOS17 on a constant operand may have another dtype";
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, mixed(T, iOS17));
  POM_ATTR(transpose_x, bool) = false;
  POM_ATTR(transpose_y, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct einsum {
  static constexpr auto doc =
      "the product of two tensors by an equation: nchw,nwhu->nchu or chw,whr->chr, in any letters. n and h broadcast";
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_VARIADIC(values, T);
  POM_ATTR(equation, std::string, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
