// MIL's elementwise ops of two tensors, which broadcast as in NumPy: arithmetic, comparison, logic; and select.
//
//   Value sum = g.add(mil::add{.x = a, .y = b});
//   Value larger = g.add(mil::select{.cond = g.add(mil::greater{.x = a, .y = b}), .a = a, .b = b});
//
// On int32, results wrap modulo 2^32, and a division by zero gives 0.
#pragma once
#include <cmath>

#include "ir/op.h"

namespace pomona::mil {

struct add {
  static constexpr auto doc = "x + y";
  static constexpr int arity = 2;
  static constexpr bool commutative = true;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  std::optional<std::vector<Dim>> contents(const At&) const;
  template <class N>
  static N f(N x, N y) {
    return x + y;
  }
};
struct sub {
  static constexpr auto doc = "x - y";
  static constexpr int arity = 2;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  std::optional<std::vector<Dim>> contents(const At&) const;
  template <class N>
  static N f(N x, N y) {
    return x - y;
  }
};
struct mul {
  static constexpr auto doc = "x * y";
  static constexpr int arity = 2;
  static constexpr bool commutative = true;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  std::optional<std::vector<Dim>> contents(const At&) const;
  static double f(double x, double y) { return x * y; }
  static std::int64_t f(std::int64_t x, std::int64_t y);
};
struct real_div {
  static constexpr auto doc = "x / y; on int32 the quotient without its fraction";
  static constexpr int arity = 2;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  std::optional<std::vector<Dim>> contents(const At&) const;
  static double f(double x, double y) { return x / y; }
  static std::int64_t f(std::int64_t x, std::int64_t y) { return y == 0 ? 0 : x / y; }
};
struct floor_div {
  static constexpr auto doc = "x / y rounded down";
  static constexpr int arity = 2;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  std::optional<std::vector<Dim>> contents(const At&) const;
  static double f(double x, double y) { return std::floor(x / y); }
  static std::int64_t f(std::int64_t x, std::int64_t y);
};
struct mod {
  static constexpr auto doc = "x - y * floor(x / y): the remainder has the sign of y";
  static constexpr int arity = 2;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  std::optional<std::vector<Dim>> contents(const At&) const;
  static double f(double x, double y);
  static std::int64_t f(std::int64_t x, std::int64_t y);
};
struct pow {
  static constexpr auto doc = "x to the power of y; on int32 a negative power is cut to a whole number";
  static constexpr int arity = 2;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  static double f(double x, double y) { return std::pow(x, y); }
  static std::int64_t f(std::int64_t x, std::int64_t y);
};
struct maximum {
  static constexpr auto doc = "the larger of x and y; NaN when one of them is";
  static constexpr int arity = 2;
  static constexpr bool commutative = true;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  std::optional<std::vector<Dim>> contents(const At&) const;
  template <class N>
  static N f(N x, N y) {
    return x > y || x != x ? x : y;  // NOLINT(misc-redundant-expression): NaN is not itself
  }
};
struct minimum {
  static constexpr auto doc = "the smaller of x and y; NaN when one of them is";
  static constexpr int arity = 2;
  static constexpr bool commutative = true;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  std::optional<std::vector<Dim>> contents(const At&) const;
  template <class N>
  static N f(N x, N y) {
    return x < y || x != x ? x : y;  // NOLINT(misc-redundant-expression): NaN is not itself
  }
};
struct equal {
  static constexpr auto doc = "x == y";
  static constexpr int arity = 2;
  static constexpr bool commutative = true;
  static constexpr DType result = DType::boolean;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  template <class N>
  static bool f(N x, N y) {
    return x == y;
  }
};
struct not_equal {
  static constexpr auto doc = "x != y";
  static constexpr int arity = 2;
  static constexpr bool commutative = true;
  static constexpr DType result = DType::boolean;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  template <class N>
  static bool f(N x, N y) {
    return x != y;
  }
};
struct less {
  static constexpr auto doc = "x < y";
  static constexpr int arity = 2;
  static constexpr DType result = DType::boolean;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  template <class N>
  static bool f(N x, N y) {
    return x < y;
  }
};
struct less_equal {
  static constexpr auto doc = "x <= y";
  static constexpr int arity = 2;
  static constexpr DType result = DType::boolean;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  template <class N>
  static bool f(N x, N y) {
    return x <= y;
  }
};
struct greater {
  static constexpr auto doc = "x > y";
  static constexpr int arity = 2;
  static constexpr DType result = DType::boolean;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  template <class N>
  static bool f(N x, N y) {
    return x > y;
  }
};
struct greater_equal {
  static constexpr auto doc = "x >= y";
  static constexpr int arity = 2;
  static constexpr DType result = DType::boolean;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(y, T);
  template <class N>
  static bool f(N x, N y) {
    return x >= y;
  }
};
struct logical_and {
  static constexpr auto doc = "true where both are";
  static constexpr int arity = 2;
  static constexpr bool commutative = true;
  static constexpr TypeVar T{'T', dtypes::boolean};
  POM_IN(x, T);
  POM_IN(y, T);
  static bool f(std::int64_t x, std::int64_t y) { return x && y; }
};
struct logical_or {
  static constexpr auto doc = "true where at least one is";
  static constexpr int arity = 2;
  static constexpr bool commutative = true;
  static constexpr TypeVar T{'T', dtypes::boolean};
  POM_IN(x, T);
  POM_IN(y, T);
  static bool f(std::int64_t x, std::int64_t y) { return x || y; }
};
struct logical_xor {
  static constexpr auto doc = "true where exactly one is";
  static constexpr int arity = 2;
  static constexpr bool commutative = true;
  static constexpr TypeVar T{'T', dtypes::boolean};
  POM_IN(x, T);
  POM_IN(y, T);
  static bool f(std::int64_t x, std::int64_t y) { return !x != !y; }
};
struct select {
  static constexpr auto doc = "a where cond is true, else b; all three broadcast";
  static constexpr int arity = 3;
  static constexpr TypeVar T{'T', dtypes::fp_ib};
  POM_IN(cond, {0, dtypes::boolean});
  POM_IN(a, T);
  POM_IN(b, T);
  Result<Types> infer(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
  template <class N>
  static N f(N cond, N a, N b) {
    return cond != 0 ? a : b;
  }
};

}  // namespace pomona::mil
