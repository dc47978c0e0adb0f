// MIL reductions: sums, means, extrema and norms over axes, and the position of an extremum.
//
//   Value mean = g.add(mil::reduce_mean{.x = x, .axes = {2, 3}, .keep_dims = true});
//
// No axes means all of them; without keep_dims that leaves a tensor of rank 0. On int32, sums and products wrap and
// fractions are cut off. Over no elements, a sum is 0, a product 1, a maximum the lowest number there is.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct reduce_l1_norm {
  static constexpr auto doc = "sum of |x|";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_INTS(axes);
  POM_ATTR(keep_dims, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct reduce_l2_norm {
  static constexpr auto doc = "square root of the sum of x^2";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_INTS(axes);
  POM_ATTR(keep_dims, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct reduce_log_sum {
  static constexpr auto doc = "natural logarithm of the sum";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_INTS(axes);
  POM_ATTR(keep_dims, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct reduce_log_sum_exp {
  static constexpr auto doc = "natural logarithm of the sum of e^x, computed with the maximum taken out";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_INTS(axes);
  POM_ATTR(keep_dims, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct reduce_max {
  static constexpr auto doc = "the largest element; NaN when there is one";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_INTS(axes);
  POM_ATTR(keep_dims, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct reduce_mean {
  static constexpr auto doc = "sum / count";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_INTS(axes);
  POM_ATTR(keep_dims, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct reduce_min {
  static constexpr auto doc = "the smallest element; NaN when there is one";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_INTS(axes);
  POM_ATTR(keep_dims, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct reduce_prod {
  static constexpr auto doc = "product";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_INTS(axes);
  POM_ATTR(keep_dims, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct reduce_sum {
  static constexpr auto doc = "sum";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_INTS(axes);
  POM_ATTR(keep_dims, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct reduce_sum_square {
  static constexpr auto doc = "sum of x^2";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_INTS(axes);
  POM_ATTR(keep_dims, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct reduce_argmax {
  static constexpr auto doc =
      "index of the largest element along an axis, the first one among equals; a NaN counts as largest";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_ATTR(axis, int) = -1;
  POM_ATTR(keep_dims, bool) = false;
  POM_ATTR(output_dtype, std::string, .since = iOS17) = "int32";
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct reduce_argmin {
  static constexpr auto doc =
      "index of the smallest element along an axis, the first one among equals; a NaN counts as smallest";
  POM_IN(x, {'T', dtypes::fp_i});
  POM_ATTR(axis, int) = -1;
  POM_ATTR(keep_dims, bool) = false;
  POM_ATTR(output_dtype, std::string, .since = iOS17) = "int32";
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
