// MIL poolings over one to three spatial axes: x is [n, channels, spatial...].
//
//   Value y = g.add(mil::max_pool{.x = x, .kernel_sizes = {3, 3}, .strides = {2, 2}, .pad_type = "same"});
//
// Padding modes as in conv.h; pad_type has no default. ceil_mode (one or two spatial axes, equal padding before and
// after) lets the last window reach over the end.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct avg_pool {
  static constexpr auto doc =
      "mean of the window; elements in the padding count as zeros, unless exclude_padding_from_average";
  POM_ATTR(exclude_padding_from_average, bool) = false;
  POM_IN(x, {'T', dtypes::fp});
  POM_INTS(kernel_sizes, .required = true);
  POM_INTS(strides);
  POM_ATTR(pad_type, std::string, .required = true);
  POM_INTS(pad);
  POM_ATTR(ceil_mode, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct max_pool {
  static constexpr auto doc = "the largest element of the window; the padding never is";
  POM_IN(x, {'T', dtypes::fp});
  POM_INTS(kernel_sizes, .required = true);
  POM_INTS(strides);
  POM_ATTR(pad_type, std::string, .required = true);
  POM_INTS(pad);
  POM_ATTR(ceil_mode, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct l2_pool {
  static constexpr auto doc = "square root of the sum of x^2 over the window; one or two spatial axes";
  POM_IN(x, {'T', dtypes::fp});
  POM_INTS(kernel_sizes, .required = true);
  POM_INTS(strides);
  POM_ATTR(pad_type, std::string, .required = true);
  POM_INTS(pad);
  POM_ATTR(ceil_mode, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
