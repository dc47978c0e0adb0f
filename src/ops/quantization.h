// MIL quantize and dequantize: activations to 8-bit integers and back, per tensor or along an axis.
//
//   Value q = g.add(mil::quantize{.input = x, .zero_point = z, .scale = s, .output_dtype = "uint8"});
//
// scale and zero_point are scalars (without axis) or hold one element per index of `axis`.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct quantize {
  static constexpr auto doc = "clip(round(input / scale) + zero_point) to the dtype's range, halves rounded to even";
  static constexpr Target from = iOS17;
  static constexpr TypeVar S{'S', dtypes::fp}, D{'D', dtypes::u8 | dtypes::i8};
  POM_IN(input, S);
  POM_OPTIONAL_WEIGHT(zero_point, D);
  POM_WEIGHT(scale, S);
  POM_ATTR(axis, std::optional<int>);
  POM_ATTR(output_dtype, std::string, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct dequantize {
  static constexpr auto doc = "scale * (input - zero_point)";
  static constexpr Target from = iOS17;
  static constexpr TypeVar S{'S', dtypes::u8 | dtypes::i8}, D{'D', dtypes::fp};
  POM_IN(input, S);
  POM_OPTIONAL_WEIGHT(zero_point, S);
  POM_WEIGHT(scale, D);
  POM_ATTR(axis, std::optional<int>);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
