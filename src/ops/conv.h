// MIL convolutions over one to three spatial axes: x is [n, channels, spatial...].
//
//   Value y = g.add(mil::conv{.x = x, .weight = w, .strides = {2, 2}, .pad_type = "custom", .pad = {1, 1, 1, 1}});
//
// pad_type is `valid` (no padding), `custom` (pad = [before0, after0, before1, after1, ...]), `same` (the result has
// ceil(size / stride) positions; an odd element of padding comes after), or from iOS16 on `same_lower` (it comes
// before). Empty strides and dilations are ones, an empty pad is zeros.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct conv {
  static constexpr auto doc =
      "cross-correlation with weight [out, in/groups, kernel...], plus bias [out]. A weight that is not constant "
      "allows "
      "no dilation";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_IN(weight, mixed(T, iOS17));
  POM_OPTIONAL_WEIGHT(bias, mixed(T, iOS17), .constant_until = iOS17);
  POM_INTS(strides);
  POM_ATTR(pad_type, std::string) = "valid";
  POM_INTS(pad);
  POM_INTS(dilations);
  POM_ATTR(groups, int) = 1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct conv_transpose {
  static constexpr auto doc =
      "the transpose of a convolution: each element of x adds weight [in, out/groups, kernel...] times itself to the "
      "result, stride apart. Sizes: valid (size-1)*stride + dilation*(kernel-1) + 1; custom takes the pad off that; "
      "same size*stride. output_shape, the full shape of the result, overrules";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_WEIGHT(weight, mixed(T, iOS17), .constant_until = iOS17);
  POM_OPTIONAL_WEIGHT(bias, mixed(T, iOS17), .constant_until = iOS17);
  POM_INTS(pad);
  POM_INTS(output_shape);
  POM_ATTR(pad_type, std::string) = "valid";
  POM_INTS(strides);
  POM_INTS(dilations);
  POM_ATTR(groups, int) = 1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct conv_quantized {
  static constexpr auto doc =
      "conv with the weight decoded as weight * quant_scale + quant_bias (linear), one scale and bias or one per "
      "result "
      "channel";
  static constexpr TypeVar T{'T', dtypes::fp}, U{'U', dtypes::u8};
  POM_IN(x, T);
  POM_IN(weight, U);
  POM_OPTIONAL_WEIGHT(bias, U);
  POM_ATTR(quantization_type, std::string, .required = true);
  POM_ATTR(nbits, int) = 8;
  POM_WEIGHT(quant_scale, T);
  POM_WEIGHT(quant_bias, T);
  POM_INTS(strides);
  POM_ATTR(pad_type, std::string) = "valid";
  POM_INTS(pad);
  POM_INTS(dilations);
  POM_ATTR(groups, int) = 1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
