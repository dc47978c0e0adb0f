// MIL normalisations. Variances are biased (divided by the count); gamma scales and beta shifts where given.
//
//   Value y = g.add(mil::layer_norm{.x = x, .axes = {-1}, .gamma = g1, .beta = b1});
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct batch_norm {
  static constexpr auto doc =
      "gamma * (x - mean) / sqrt(variance + epsilon) + beta per channel along axis 1; rank 3 to 5";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_WEIGHT(mean, mixed(T, iOS17));
  POM_WEIGHT(variance, mixed(T, iOS17));
  POM_OPTIONAL_WEIGHT(gamma, mixed(T, iOS17));
  POM_OPTIONAL_WEIGHT(beta, mixed(T, iOS17));
  POM_FLOAT(epsilon, mixed(T, iOS17)) = 1e-5;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct instance_norm {
  static constexpr auto doc = "x with the mean and variance of each channel's spatial axes taken out; rank 3 or 4";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_OPTIONAL_WEIGHT(gamma, mixed(T, iOS17));
  POM_OPTIONAL_WEIGHT(beta, mixed(T, iOS17));
  POM_FLOAT(epsilon, mixed(T, iOS17)) = 1e-5;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct layer_norm {
  static constexpr auto doc =
      "x with the mean and variance over `axes` (all, when empty) taken out; gamma and beta have the sizes of x along "
      "these axes in ascending order";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_INTS(axes);
  POM_OPTIONAL_WEIGHT(gamma, mixed(T, iOS17));
  POM_OPTIONAL_WEIGHT(beta, mixed(T, iOS17));
  POM_FLOAT(epsilon, mixed(T, iOS17)) = 1e-5;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct l2_norm {
  static constexpr auto doc = "x / sqrt(sum of x^2 over the last three axes + epsilon)";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(epsilon, mixed(T, iOS17)) = 1e-6;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct local_response_norm {
  static constexpr auto doc =
      "x / (k + alpha/size * sum of x^2 over `size` neighbouring channels)^beta, with channels along axis -3";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_ATTR(size, int, .required = true);
  POM_FLOAT(alpha, mixed(T, iOS17)) = 1e-4;
  POM_FLOAT(beta, mixed(T, iOS17)) = 0.75;
  POM_FLOAT(k, mixed(T, iOS17)) = 1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
