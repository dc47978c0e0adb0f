// MIL activations: elementwise functions of one tensor, and softmax. Formulas are in each op's doc.
#pragma once
#include <cmath>

#include "ir/op.h"

namespace pomona::mil {

struct relu {
  static constexpr auto doc = "max(x, 0)";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return x > 0 ? x : x == x ? 0 : x; }
};
struct relu6 {
  static constexpr auto doc = "min(max(x, 0), 6)";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return x != x ? x : std::fmin(std::fmax(x, 0), 6); }
};
struct sigmoid {
  static constexpr auto doc = "1 / (1 + exp(-x))";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return 1 / (1 + std::exp(-x)); }
};
struct silu {
  static constexpr auto doc = "x * sigmoid(x)";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return x / (1 + std::exp(-x)); }
};
struct softplus {
  static constexpr auto doc = "log(1 + exp(x)), computed as log(1 + exp(-|x|)) + max(x, 0)";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::log1p(std::exp(-std::fabs(x))) + (x < 0 ? 0 : x); }
};
struct softsign {
  static constexpr auto doc = "x / (1 + |x|)";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return x / (1 + std::fabs(x)); }
};
struct clamped_relu {
  static constexpr auto doc = "min(beta, x) where x >= 0, else min(beta, alpha*x)";
  static constexpr int arity = 1;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(alpha, mixed(T, iOS17), .required = true);
  POM_FLOAT(beta, mixed(T, iOS17), .required = true);
  double f(double x) const { return std::fmin(beta, x >= 0 ? x : alpha * x); }
};
struct linear_activation {
  static constexpr auto doc = "alpha*x + beta";
  static constexpr int arity = 1;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(alpha, mixed(T, iOS17), .required = true);
  POM_FLOAT(beta, mixed(T, iOS17), .required = true);
  double f(double x) const { return alpha * x + beta; }
};
struct scaled_tanh {
  static constexpr auto doc = "alpha * tanh(beta*x)";
  static constexpr int arity = 1;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(alpha, mixed(T, iOS17), .required = true);
  POM_FLOAT(beta, mixed(T, iOS17), .required = true);
  double f(double x) const { return alpha * std::tanh(beta * x); }
};
struct sigmoid_hard {
  static constexpr auto doc = "min(max(alpha*x + beta, 0), 1)";
  static constexpr int arity = 1;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(alpha, mixed(T, iOS17), .required = true);
  POM_FLOAT(beta, mixed(T, iOS17), .required = true);
  double f(double x) const { return x != x ? x : std::fmin(std::fmax(alpha * x + beta, 0), 1); }
};
struct elu {
  static constexpr auto doc = "x where x > 0, else alpha * (exp(x) - 1)";
  static constexpr int arity = 1;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(alpha, mixed(T, iOS17), .required = true);
  double f(double x) const { return x > 0 ? x : alpha * std::expm1(x); }
};
struct leaky_relu {
  static constexpr auto doc = "x where x >= 0, else alpha*x";
  static constexpr int arity = 1;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(alpha, mixed(T, iOS17), .required = true);
  double f(double x) const { return x >= 0 ? x : alpha * x; }
};
struct thresholded_relu {
  static constexpr auto doc = "x where x >= alpha, else 0";
  static constexpr int arity = 1;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(alpha, mixed(T, iOS17), .required = true);
  double f(double x) const { return x >= alpha ? x : x != x ? x : 0; }
};
struct gelu {
  static constexpr auto doc =
      "EXACT: x/2 * (1 + erf(x/sqrt(2))); TANH_APPROXIMATION: x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715*x^3))); "
      "SIGMOID_APPROXIMATION: x * sigmoid(1.702*x)";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_ATTR(mode, std::string) = "EXACT";
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct prelu {
  static constexpr auto doc =
      "x where x > 0, else alpha[c]*x, with c along axis 1; rank 3 to 5, all alphas equal unless it is 4";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_WEIGHT(alpha, mixed(T, iOS17));
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct softplus_parametric {
  static constexpr auto doc = "alpha[c] * log(1 + exp(beta[c]*x)), with c along axis 1; rank 3 or more";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_WEIGHT(alpha, mixed(T, iOS17));
  POM_WEIGHT(beta, mixed(T, iOS17));
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct softmax {
  static constexpr auto doc = "exp(x - max) / sum(exp(x - max)) along an axis";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_ATTR(axis, int) = -1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
