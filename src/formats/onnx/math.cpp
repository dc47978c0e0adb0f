#include <cmath>
#include <numbers>

#include "formats/onnx/lowering.h"
#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"

// Arithmetic of ONNX, element by element.
namespace pomona::onnx {
namespace {

// Functions that MIL has under one op, for floats.
template <class Op>
struct Unary {
  ONNX_IN(input);
  Status lower(Lowering& g) const { return g.result(g.add(Op{.x = input})); }
};
// The same for operators that take integers as well; narrow results are wrapped.
template <class Op>
struct UnaryNumber {
  ONNX_IN(X);
  Status lower(Lowering& g) const { return g.result(g.wrap(g.add(Op{.x = X}), X.elem())); }
};

struct Neg {
  ONNX_IN(X);
  Status lower(Lowering& g) const { return g.result(g.wrap(g.times(X, -1), X.elem())); }
};
struct Reciprocal {
  ONNX_IN(X);
  Status lower(Lowering& g) const { return g.result(g.over(g.number(X, 1), X)); }
};
struct Log {
  ONNX_IN(input);
  Status lower(Lowering& g) const { return g.result(g.add(mil::log{.x = input, .epsilon = 0.0})); }
};
// acosh x = ln(x + sqrt(x^2 - 1)), with x^2 - 1 = (x - 1)(x + 1), which loses less
struct Acosh {
  ONNX_IN(input);
  Status lower(Lowering& g) const {
    Value root = g.add(mil::sqrt{.x = g.times(g.minus(input, 1), g.plus(input, 1))});
    return g.result(g.add(mil::log{.x = g.plus(input, root), .epsilon = 0.0}));
  }
};
// asinh x = sign(x) ln(|x| + sqrt(x^2 + 1))
struct Asinh {
  ONNX_IN(input);
  Status lower(Lowering& g) const {
    Value size = g.add(mil::abs{.x = input});
    Value root = g.add(mil::sqrt{.x = g.plus(g.times(input, input), 1)});
    Value log = g.add(mil::log{.x = g.plus(size, root), .epsilon = 0.0});
    return g.result(g.times(g.add(mil::sign{.x = input}), log));
  }
};

// Up to operator set 6, B was lined up with A's axes from `axis` on, or not broadcast at all.
Value aligned(Lowering& g, const InputField& a, const InputField& b, bool broadcast, const std::optional<int>& axis) {
  if (!broadcast || !axis) return b;
  std::size_t first = std::size_t(*axis < 0 ? *axis + int(a.rank()) : *axis);
  Ints axes;
  for (std::size_t i = first + b.rank(); i < a.rank(); ++i) axes.push_back(std::int64_t(b.rank() + axes.size()));
  return g.expand_dims(b, axes);
}

template <class Op>
struct Arithmetic {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_ATTR(broadcast, bool, .until = 7) = false;
  ONNX_ATTR(axis, std::optional<int>, .until = 7);
  Status lower(Lowering& g) const {
    return g.result(g.wrap(g.add(Op{.x = A, .y = aligned(g, A, B, broadcast, axis)}), A.elem()));
  }
};

// C's integer division, which cuts towards zero, from MIL's, which rounds down.
Value divide_integers(Lowering& g, Value a, Value b, Elem elem) {
  Value floor = g.add(mil::floor_div{.x = a, .y = b});
  auto shape_like = a ? a.contents() : std::nullopt;
  auto divisor = b ? b.number() : std::nullopt;
  if (is_unsigned_integer(elem) || (shape_like && !a.literal() && divisor && *divisor > 0)) return floor;
  Value negative = g.add(mil::less{.x = floor, .y = g.integer(0)});
  Value inexact = g.add(mil::not_equal{.x = g.times(floor, b), .y = a});
  Value up = g.cast(g.add(mil::logical_and{.x = negative, .y = inexact}), DType::int32);
  return g.plus(floor, up);
}

struct Div {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_ATTR(broadcast, bool, .until = 7) = false;
  ONNX_ATTR(axis, std::optional<int>, .until = 7);
  Status lower(Lowering& g) const {
    Value b = aligned(g, A, B, broadcast, axis);
    if (A.dtype() != DType::int32) return g.result(g.over(A, b));
    return g.result(g.wrap(divide_integers(g, A, b, A.elem()), A.elem()));
  }
};

struct Mod {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_ATTR(fmod, bool) = false;
  Status lower(Lowering& g) const {
    if (!fmod) return g.result(g.add(mil::mod{.x = A, .y = B}));
    // The sign is the dividend's.
    Value rest = g.add(mil::mod{.x = g.add(mil::abs{.x = A}), .y = g.add(mil::abs{.x = B})});
    return g.result(g.times(g.add(mil::sign{.x = A}), rest));
  }
};

struct Pow {
  ONNX_IN(X);
  ONNX_IN(Y);
  ONNX_ATTR(broadcast, bool, .until = 7) = false;
  ONNX_ATTR(axis, std::optional<int>, .until = 7);
  Status lower(Lowering& g) const {
    Value y = aligned(g, X, Y, broadcast, axis);
    if (X.dtype() == DType::int32 && is_float(Y.dtype())) {
      Value power = g.add(mil::pow{.x = g.cast(X, Y.dtype()), .y = y});
      return g.result(g.wrap(g.cast(power, DType::int32), X.elem()), X.elem());
    }
    y = g.cast(y, X.dtype());
    auto base = X.number();
    // Core ML is known to read pow(2, y) as y^2.
    if (base && *base == 2 && is_float(X.dtype()) && X.literal()->count() == 1)
      return g.result(g.add(mil::exp2{.x = g.with_rank(y, X.rank())}), X.elem());
    auto exponent = y ? y.number() : std::nullopt;
    if (exponent && *exponent == 2 && y.literal()->count() == 1 && y.rank() <= X.rank())
      return g.result(g.wrap(g.times(X, X), X.elem()), X.elem());
    return g.result(g.wrap(g.add(mil::pow{.x = X, .y = y}), X.elem()), X.elem());
  }
};

template <class Op, bool Mean = false>
struct Variadic {
  ONNX_VARIADIC(data);
  Status lower(Lowering& g) const {
    POM_REQUIRE(data.size() > 0, "there is no input");
    Value all = data[0];
    for (std::size_t i = 1; i < data.size(); ++i) all = g.add(Op{.x = all, .y = data[i]});
    if (Mean && data.size() > 1) all = g.over(all, double(data.size()));
    return g.result(all);
  }
};

struct Clip {
  ONNX_IN(input);
  ONNX_OPTIONAL(min_input, .since = 11);
  ONNX_OPTIONAL(max_input, .since = 11);
  ONNX_ATTR(min, std::optional<float>, .until = 11);
  ONNX_ATTR(max, std::optional<float>, .until = 11);
  Status lower(Lowering& g) const {
    Value low = min->has_value() ? g.number(input, **min) : *min_input;
    Value high = max->has_value() ? g.number(input, **max) : *max_input;
    std::optional<double> a, b;
    if (low) a = low.number();
    if (high) b = high.number();
    if (a && b && *a < *b && is_float(input.dtype()))
      return g.result(g.add(mil::clip{.x = input, .alpha = *a, .beta = *b}));
    Value y = input;
    if (low) y = g.add(mil::maximum{.x = y, .y = low});
    if (high) y = g.add(mil::minimum{.x = y, .y = high});
    return g.result(y);
  }
};

}  // namespace

Rules math_chapter() {
  return {
      rule<UnaryNumber<mil::abs>>("Abs", 6),
      rule<Unary<mil::acos>>("Acos"),
      rule<Acosh>("Acosh"),
      rule<Arithmetic<mil::add>>("Add", 6),
      rule<Unary<mil::asin>>("Asin"),
      rule<Asinh>("Asinh"),
      rule<Unary<mil::atan>>("Atan"),
      rule<Unary<mil::atanh>>("Atanh"),
      rule<Unary<mil::ceil>>("Ceil", 6),
      rule<Clip>("Clip", 6),
      rule<Unary<mil::cos>>("Cos"),
      rule<Unary<mil::cosh>>("Cosh"),
      rule<Div>("Div", 6),
      rule<Unary<mil::erf>>("Erf"),
      rule<Unary<mil::exp>>("Exp", 6),
      rule<Unary<mil::floor>>("Floor", 6),
      rule<Log>("Log", 6),
      rule<Variadic<mil::maximum>>("Max", 6),
      rule<Variadic<mil::add, true>>("Mean", 6),
      rule<Variadic<mil::minimum>>("Min", 6),
      rule<Mod>("Mod"),
      rule<Arithmetic<mil::mul>>("Mul", 6),
      rule<Neg>("Neg", 6),
      rule<Pow>("Pow"),
      rule<Reciprocal>("Reciprocal", 6),
      rule<Unary<mil::round>>("Round"),
      rule<UnaryNumber<mil::sign>>("Sign"),
      rule<Unary<mil::sin>>("Sin"),
      rule<Unary<mil::sinh>>("Sinh"),
      rule<Unary<mil::sqrt>>("Sqrt", 6),
      rule<Arithmetic<mil::sub>>("Sub", 6),
      rule<Variadic<mil::add>>("Sum", 6),
      rule<Unary<mil::tan>>("Tan"),
      rule<Unary<mil::tanh>>("Tanh", 6),
  };
}

}  // namespace pomona::onnx
