#include <limits>

#include "formats/onnx/lowering.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/reduction.h"

// Comparison, logic, selection and arithmetic on bits.
namespace pomona::onnx {
namespace {

template <class Op>
struct Logical {
  ONNX_IN(A);
  ONNX_IN(B);
  Status lower(Lowering& g) const { return g.result(g.add(Op{.x = A, .y = B}), Elem::boolean); }
};

struct Not {
  ONNX_IN(X);
  Status lower(Lowering& g) const { return g.result(g.add(mil::logical_not{.x = X})); }
};

template <class Op>
struct Comparison {
  ONNX_IN(A);
  ONNX_IN(B);
  Status lower(Lowering& g) const {
    Value a = A, b = B;
    if (a.dtype() == DType::boolean) {
      a = g.cast(a, DType::int32);
      b = g.cast(b, DType::int32);
    }
    return g.result(g.add(Op{.x = a, .y = b}), Elem::boolean);
  }
};

struct Where {
  ONNX_IN(condition);
  ONNX_IN(X);
  ONNX_IN(Y);
  Status lower(Lowering& g) const { return g.result(g.select(condition, X, Y), X.elem()); }
};

struct IsNaN {
  ONNX_IN(X);
  Status lower(Lowering& g) const { return g.result(g.add(mil::not_equal{.x = X, .y = X}), Elem::boolean); }
};

struct IsInf {
  ONNX_IN(X);
  ONNX_ATTR(detect_negative, bool) = true;
  ONNX_ATTR(detect_positive, bool) = true;
  Status lower(Lowering& g) const {
    double infinity = std::numeric_limits<double>::infinity();
    Value x = X;
    if (detect_negative && detect_positive) x = g.add(mil::abs{.x = x});
    if (!detect_negative && !detect_positive)
      return g.result(g.add(mil::logical_and{.x = g.add(mil::less{.x = x, .y = x}), .y = g.scalar(DType::boolean, 0)}));
    double wanted = detect_positive ? infinity : -infinity;
    return g.result(g.add(mil::equal{.x = x, .y = g.number(x, wanted)}), Elem::boolean);
  }
};

// Bits an integer has in the int32 that stands for it. Unsigned 32-bit and wider values lie below 2^31.
unsigned bits_of(Elem elem) {
  unsigned bits = elem_info(elem).bits;
  return bits < 32 ? bits : elem_info(elem).is_signed ? 32 : 31;
}

// 2^0, 2^1, ..., the last one wrapped to the sign bit when there are 32.
Value powers_of_two(Lowering& g, unsigned count) {
  Ints powers;
  for (unsigned i = 0; i < count; ++i) powers.push_back(std::int32_t(std::uint32_t(1) << i));
  return g.ints(powers);
}

// x's bits in a new last dim, lowest first, as 0 and 1. Two's complement falls out of rounding down.
Value bits(Lowering& g, Value x, unsigned count) {
  Value wide = g.expand_dims(x, {std::int64_t(x.rank())});
  Value low = g.add(
      mil::mod{.x = g.add(mil::floor_div{.x = wide, .y = powers_of_two(g, std::min(count, 31u))}), .y = g.integer(2)});
  if (count < 32) return low;
  Value sign = g.cast(g.add(mil::less{.x = wide, .y = g.integer(0)}), DType::int32);
  return g.concat({low, sign}, int(x.rank()));
}

Value from_bits(Lowering& g, Value x, Elem elem) {
  unsigned count = bits_of(elem);
  Value sum = g.add(mil::reduce_sum{
      .x = g.times(x, powers_of_two(g, count)), .axes = Ints{std::int64_t(x.rank()) - 1}, .keep_dims = false});
  return g.wrap(sum, elem);
}

constexpr std::size_t most_dims = 5;

enum class Bitwise { both, either, one };
template <Bitwise Kind>
struct BitwiseBinary {
  ONNX_IN(A);
  ONNX_IN(B);
  Status lower(Lowering& g) const {
    POM_REQUIRE(is_integer_elem(A.elem()), "{} has no bits to combine", elem_info(A.elem()).name);
    unsigned count = bits_of(A.elem());
    Value a = A, b = B;
    std::size_t rank = std::max(a.rank(), b.rank());
    // Bits are a dim of their own, for which five others leave no room: elements go in a line meanwhile.
    bool in_line = rank >= most_dims;
    Value shape;
    if (in_line) {
      Value nothing = g.plus(g.times(a, 0), g.times(b, 0));
      shape = g.shape_of(nothing);
      a = g.reshape(g.plus(a, nothing), Shape{Dim(-1)});
      b = g.reshape(g.plus(b, nothing), Shape{Dim(-1)});
      rank = 1;
    }
    a = bits(g, g.with_rank(a, rank), count);
    b = bits(g, g.with_rank(b, rank), count);
    Value c;
    if (Kind == Bitwise::both)
      c = g.times(a, b);
    else if (Kind == Bitwise::either)
      c = g.add(mil::maximum{.x = a, .y = b});
    else
      c = g.cast(g.add(mil::not_equal{.x = a, .y = b}), DType::int32);
    if (!g.status()) return g.status().error();
    Value y = from_bits(g, c, A.elem());
    return g.result(in_line ? g.reshape(y, shape) : y, A.elem());
  }
};

struct BitwiseNot {
  ONNX_IN(X);
  Status lower(Lowering& g) const {
    POM_REQUIRE(is_integer_elem(X.elem()), "{} has no bits to turn round", elem_info(X.elem()).name);
    unsigned bits = elem_info(X.elem()).bits;
    if (!is_unsigned_integer(X.elem())) return g.result(g.minus(g.number(X, -1), X));
    POM_REQUIRE(bits < 32, "the complement of {} does not fit into Core ML's 32-bit integers",
                elem_info(X.elem()).name);
    return g.result(g.minus(g.number(X, double((1u << bits) - 1)), X));
  }
};

struct BitShift {
  ONNX_IN(X);
  ONNX_IN(Y);
  ONNX_ATTR(direction, std::string, .required = true);
  Status lower(Lowering& g) const {
    POM_REQUIRE(is_integer_elem(X.elem()), "{} has no bits to shift", elem_info(X.elem()).name);
    bool left = *direction == "LEFT";
    POM_REQUIRE(left || *direction == "RIGHT", "direction is '{}', not LEFT or RIGHT", *direction);
    // By negative amounts, or by all bits and more: nothing is left but the sign of a shift to the right.
    Value bits = g.integer(elem_info(X.elem()).bits);
    Value beyond = g.add(mil::logical_or{.x = g.add(mil::less{.x = Y, .y = g.integer(0)}),
                                         .y = g.add(mil::greater_equal{.x = Y, .y = bits})});
    Value amount = g.add(mil::maximum{.x = g.add(mil::minimum{.x = Y, .y = g.integer(31)}), .y = g.integer(0)});
    auto power = [&](Value exponent) {
      return g.add(mil::gather{.x = powers_of_two(g, 32), .indices = exponent, .axis = 0});
    };
    if (left) {
      Value shifted = g.times(X, power(amount));
      return g.result(g.wrap(g.select(beyond, g.times(shifted, 0), shifted), X.elem()));
    }
    // 2^31 is no int32: such a shift takes two steps.
    Value most = g.add(mil::minimum{.x = amount, .y = g.integer(30)});
    Value shifted = g.add(mil::floor_div{.x = X, .y = power(most)});
    shifted = g.add(mil::floor_div{.x = shifted, .y = power(g.minus(amount, most))});
    Value sign = g.times(g.cast(g.add(mil::less{.x = X, .y = g.integer(0)}), DType::int32), -1);
    return g.result(g.select(beyond, g.plus(sign, g.times(shifted, 0)), shifted));
  }
};

}  // namespace

Rules logical_chapter() {
  return {
      rule<Logical<mil::logical_and>>("And", 7),
      rule<BitShift>("BitShift"),
      rule<BitwiseBinary<Bitwise::both>>("BitwiseAnd"),
      rule<BitwiseNot>("BitwiseNot"),
      rule<BitwiseBinary<Bitwise::either>>("BitwiseOr"),
      rule<BitwiseBinary<Bitwise::one>>("BitwiseXor"),
      rule<Comparison<mil::equal>>("Equal", 7),
      rule<Comparison<mil::greater>>("Greater", 7),
      rule<Comparison<mil::greater_equal>>("GreaterOrEqual"),
      rule<IsInf>("IsInf"),
      rule<IsNaN>("IsNaN"),
      rule<Comparison<mil::less>>("Less", 7),
      rule<Comparison<mil::less_equal>>("LessOrEqual"),
      rule<Not>("Not"),
      rule<Logical<mil::logical_or>>("Or", 7),
      rule<Where>("Where"),
      rule<Logical<mil::logical_xor>>("Xor", 7),
  };
}

}  // namespace pomona::onnx
