// MIL's elementwise ops of one tensor: mathematical functions, rounding, clip, cast and the like.
//
//   Value y = g.add(mil::sqrt{.x = x});
//   Value h = g.add(mil::cast{.x = y, .dtype = "fp16"});
//
// Activations are in activation.h. On int32, results wrap modulo 2^32. MIL has no acosh, asinh or atan2.
#pragma once
#include <cmath>

#include "ir/op.h"

namespace pomona::mil {

// What int32 keeps of an integer result: its low 32 bits.
constexpr std::int64_t wrapped_to_int32(std::uint64_t value) { return std::int32_t(std::uint32_t(value)); }
// Whether an element of a shape-like tensor, if known, is what int32 arithmetic gives.
constexpr bool fits_int32(Dim d) { return !d.known() || d.value() == std::int32_t(d.value()); }
// A parameter as arithmetic in the given dtype sees it: 1e-45 is nothing in fp16.
double rounded_to(DType dtype, double value);

struct acos {
  static constexpr auto doc = "arccosine, in radians";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::acos(x); }
};
struct asin {
  static constexpr auto doc = "arcsine, in radians";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::asin(x); }
};
struct atan {
  static constexpr auto doc = "arctangent, in radians";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::atan(x); }
};
struct atanh {
  static constexpr auto doc = "inverse hyperbolic tangent";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::atanh(x); }
};
struct ceil {
  static constexpr auto doc = "the smallest whole number >= x";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::ceil(x); }
};
struct cos {
  static constexpr auto doc = "cosine";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::cos(x); }
};
struct cosh {
  static constexpr auto doc = "hyperbolic cosine";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::cosh(x); }
};
struct erf {
  static constexpr auto doc = "2/sqrt(pi) * the integral of exp(-t^2) from 0 to x";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::erf(x); }
};
struct exp {
  static constexpr auto doc = "e^x";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::exp(x); }
};
struct floor {
  static constexpr auto doc = "the largest whole number <= x";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::floor(x); }
};
struct round {
  static constexpr auto doc = "the nearest whole number, halves to even";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::nearbyint(x); }
};
struct sin {
  static constexpr auto doc = "sine";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::sin(x); }
};
struct sinh {
  static constexpr auto doc = "hyperbolic sine";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::sinh(x); }
};
struct sqrt {
  static constexpr auto doc = "the square root";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::sqrt(x); }
};
struct tan {
  static constexpr auto doc = "tangent";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::tan(x); }
};
struct tanh {
  static constexpr auto doc = "hyperbolic tangent";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp});
  static double f(double x) { return std::tanh(x); }
};
struct abs {
  static constexpr auto doc = "|x|";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp_i});
  static double f(double x) { return std::fabs(x); }
  static std::int64_t f(std::int64_t x) { return x < 0 ? -x : x; }
};
struct exp2 {
  static constexpr auto doc = "2^x; on int32 the part before the point";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp_i});
  static double f(double x) { return std::exp2(x); }
  static std::int64_t f(std::int64_t x) { return x < 0 || x > 31 ? 0 : wrapped_to_int32(std::uint64_t(1) << x); }
};
struct sign {
  static constexpr auto doc = "-1, 0 or 1";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp_i});
  template <class N>
  static N f(N x) {
    return x > 0 ? N(1) : x < 0 ? N(-1) : x;
  }
};
struct square {
  static constexpr auto doc = "x * x";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp_i});
  static double f(double x) { return x * x; }
  static std::int64_t f(std::int64_t x) { return wrapped_to_int32(std::uint64_t(x) * std::uint64_t(x)); }
};
struct clip {
  static constexpr auto doc = "min(max(x, alpha), beta); from iOS17 on alpha must be below beta";
  static constexpr int arity = 1;
  static constexpr Target revised[] = {iOS17};
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(alpha, T, .required = true);
  POM_FLOAT(beta, T, .required = true);
  Result<Types> infer(const At&) const;
  double f(double v) const { return v != v ? v : std::fmin(std::fmax(v, alpha), beta); }
};
struct inverse {
  static constexpr auto doc = "1 / (x + epsilon)";
  static constexpr int arity = 1;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(epsilon, mixed(T, iOS17)) = 1e-4;
  double f(double v) const { return 1 / (v + rounded_to(x.dtype(), epsilon)); }
};
struct log {
  static constexpr auto doc = "the natural logarithm of x + epsilon";
  static constexpr int arity = 1;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(epsilon, mixed(T, iOS17)) = 1e-45;
  double f(double v) const { return std::log(v + rounded_to(x.dtype(), epsilon)); }
};
struct rsqrt {
  static constexpr auto doc = "1 / sqrt(x + epsilon)";
  static constexpr int arity = 1;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_FLOAT(epsilon, mixed(T, iOS17)) = 1e-12;
  double f(double v) const { return 1 / std::sqrt(v + rounded_to(x.dtype(), epsilon)); }
};
struct threshold {
  static constexpr auto doc = "max(x, alpha)";
  static constexpr int arity = 1;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_FLOAT(alpha, T, .required = true);
  template <class N>
  N f(N v) const {
    return v < N(alpha) ? N(alpha) : v;
  }
};
struct logical_not {
  static constexpr auto doc = "true where x is false";
  static constexpr int arity = 1;
  POM_IN(x, {0, dtypes::boolean});
  static bool f(std::int64_t x) { return !x; }
};
struct cast {
  static constexpr auto doc =
      "x in another dtype: int32, fp16, fp32, bool, from iOS17 on also int8, uint8, int16, uint16. Towards an integer "
      "the fraction is cut off and what does not fit wraps; towards bool everything but 0 is true";
  static constexpr int arity = 1;
  POM_IN(x, {'T', dtypes::fp_ib | since(iOS17, dtypes::small_ints)});
  POM_ATTR(dtype, std::string, .required = true);
  Result<Types> infer(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
  template <class N>
  static N f(N x) {
    return x;
  }
};

}  // namespace pomona::mil
