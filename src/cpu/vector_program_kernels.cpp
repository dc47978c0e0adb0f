#include "cpu/vector_program_kernels.h"

#include <cmath>
#include <cstring>

#include "base/half.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/vector_program_kernels.cpp"
#include <hwy/foreach_target.h>

// What follows is compiled once per target, so it comes after.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "cpu/vector_math-inl.h"
#include "cpu/vector_parts-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pomona::cpu::HWY_NAMESPACE {

using Floats = hn::CappedTag<float, largest_chunk>;
using Integers = hn::RebindToSigned<Floats>;
using F = hn::Vec<Floats>;
using I = hn::Vec<Integers>;

constexpr Floats floats;
constexpr Integers integers;

// y[i] = Function::of(x[i]), by lanes of D giving lanes of E.
template <class Function, class D, class E>
HWY_INLINE void map(D d, E e, const void* xs, void* ys, std::size_t count, const Function& f) {
  const auto* x = static_cast<const hn::TFromD<D>*>(xs);
  auto* y = static_cast<hn::TFromD<E>*>(ys);
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(f(hn::LoadU(d, x + i)), e, y + i);
  if (i < count) store_first(e, f(load_first(d, x + i, count - i)), y + i, count - i);
}
template <class Function, class D, class E>
HWY_INLINE void map_two(D d, E e, ChunkArgument xs, ChunkArgument ys, void* zs, std::size_t count, const Function& f) {
  const auto* x = static_cast<const hn::TFromD<D>*>(xs.data);
  const auto* y = static_cast<const hn::TFromD<D>*>(ys.data);
  auto* z = static_cast<hn::TFromD<E>*>(zs);
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  if (ys.scalar) {
    const auto b = hn::Set(d, *y);
    for (; i + lanes <= count; i += lanes) hn::StoreU(f(hn::LoadU(d, x + i), b), e, z + i);
    if (i < count) store_first(e, f(load_first(d, x + i, count - i), b), z + i, count - i);
  } else if (xs.scalar) {
    const auto a = hn::Set(d, *x);
    for (; i + lanes <= count; i += lanes) hn::StoreU(f(a, hn::LoadU(d, y + i)), e, z + i);
    if (i < count) store_first(e, f(a, load_first(d, y + i, count - i)), z + i, count - i);
  } else {
    for (; i + lanes <= count; i += lanes) hn::StoreU(f(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), e, z + i);
    if (i < count)
      store_first(e, f(load_first(d, x + i, count - i), load_first(d, y + i, count - i)), z + i, count - i);
  }
}

#define POMONA_FLOAT_FUNCTION(name, ...)                    \
  struct name {                                             \
    float alpha, beta;                                      \
    HWY_INLINE F operator()(F x) const {                    \
      [[maybe_unused]] const F a = hn::Set(floats, alpha);  \
      [[maybe_unused]] const F b = hn::Set(floats, beta);   \
      [[maybe_unused]] const F zero = hn::Zero(floats);     \
      [[maybe_unused]] const F one = hn::Set(floats, 1.0f); \
      return __VA_ARGS__;                                   \
    }                                                       \
  }
#define POMONA_TWO(name, type, result, ...)                                    \
  struct name {                                                                \
    HWY_INLINE result operator()(type x, type y) const { return __VA_ARGS__; } \
  }

// Of Max and Min, the second argument is the one that is returned when there is a NaN.
HWY_INLINE F log_of(F x) {
  const F infinite = hn::Inf(floats);
  F y = hn::Log(floats, x);
  y = hn::IfThenElse(hn::Eq(x, infinite), infinite, y);
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(floats)), hn::Neg(infinite), y);
  return hn::IfThenElse(hn::Ge(x, hn::Zero(floats)), y, hn::NaN(floats));
}
POMONA_FLOAT_FUNCTION(Absolute, hn::Abs(x));
POMONA_FLOAT_FUNCTION(SquareRoot, hn::Sqrt(x));
POMONA_FLOAT_FUNCTION(FloorOf, hn::Floor(x));
POMONA_FLOAT_FUNCTION(CeilOf, hn::Ceil(x));
POMONA_FLOAT_FUNCTION(RoundOf, hn::Round(x));
POMONA_FLOAT_FUNCTION(SignOf, hn::IfThenElse(hn::Gt(x, zero), one, hn::IfThenElse(hn::Lt(x, zero), hn::Neg(one), x)));
POMONA_FLOAT_FUNCTION(Square, hn::Mul(x, x));
POMONA_FLOAT_FUNCTION(ExpOf, vector_exp(floats, x));
POMONA_FLOAT_FUNCTION(LogOf, log_of(hn::Add(x, a)));
POMONA_FLOAT_FUNCTION(Rsqrt, hn::Div(one, hn::Sqrt(hn::Add(x, a))));
POMONA_FLOAT_FUNCTION(Reciprocal, hn::Div(one, hn::Add(x, a)));
POMONA_FLOAT_FUNCTION(TanhOf, vector_tanh(floats, x));
POMONA_FLOAT_FUNCTION(ErfOf, vector_erf(floats, x));
POMONA_FLOAT_FUNCTION(Sigmoid, vector_sigmoid(floats, x));
POMONA_FLOAT_FUNCTION(SigmoidWeighted, hn::Mul(x, vector_sigmoid(floats, hn::Mul(a, x))));
POMONA_FLOAT_FUNCTION(Gelu, vector_gelu(floats, x));
POMONA_FLOAT_FUNCTION(GeluTanh, [&]() HWY_ATTR {
  const F cube = hn::Mul(hn::Mul(x, x), x);
  const F inner = hn::MulAdd(cube, hn::Set(floats, 0.044715f), x);
  return hn::Mul(x, vector_sigmoid(floats, hn::Mul(inner, hn::Set(floats, 1.5957691f))));
}());
POMONA_FLOAT_FUNCTION(Softplus, [&]() HWY_ATTR {
  const F e = vector_exp_of_negative(floats, hn::Neg(hn::Abs(x)));
  const F y = hn::Add(hn::Log1p(floats, e), hn::Max(zero, x));
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}());
POMONA_FLOAT_FUNCTION(Softsign, hn::Div(x, hn::Add(one, hn::Abs(x))));
POMONA_FLOAT_FUNCTION(Elu, [&]() HWY_ATTR {
  // exp(x) - 1 for x <= 0, without cancellation near 0.
  const F limited = hn::Max(hn::Set(floats, -80.0f), hn::Min(zero, x));
  F k;
  const F p = exp_parts(floats, limited, k);
  const F power = power_of_two(floats, k);
  const F minus_one = hn::MulAdd(p, power, hn::Sub(power, one));
  return hn::IfThenElse(hn::Gt(x, zero), x, hn::IfThenElse(hn::Eq(x, x), hn::Mul(a, minus_one), x));
}());
POMONA_FLOAT_FUNCTION(LeakyRelu, hn::IfThenElse(hn::Ge(x, zero), x, hn::Mul(a, x)));
POMONA_FLOAT_FUNCTION(ThresholdedRelu, hn::IfThenElse(hn::Lt(x, a), zero, x));
POMONA_FLOAT_FUNCTION(AtLeast, not_below(x, a));
POMONA_FLOAT_FUNCTION(Clip, not_above(not_below(x, a), b));
POMONA_FLOAT_FUNCTION(ClampedRelu, [&]() HWY_ATTR {
  const F y = hn::IfThenElse(hn::Ge(x, zero), x, hn::Mul(a, x));
  return hn::IfThenElse(hn::Lt(y, b), y, b);  // fmin: of beta and NaN it is beta
}());
POMONA_FLOAT_FUNCTION(HardSigmoid, not_above(not_below(hn::MulAdd(a, x, b), zero), one));
POMONA_FLOAT_FUNCTION(Scale, hn::Mul(a, x));
POMONA_FLOAT_FUNCTION(Shift, hn::Add(x, b));
POMONA_FLOAT_FUNCTION(Affine, hn::MulAdd(a, x, b));

POMONA_TWO(AddTwo, F, F, hn::Add(x, y));
POMONA_TWO(SubtractTwo, F, F, hn::Sub(x, y));
POMONA_TWO(MultiplyTwo, F, F, hn::Mul(x, y));
POMONA_TWO(DivideTwo, F, F, hn::Div(x, y));
POMONA_TWO(MaximumTwo, F, F, larger(x, y));
POMONA_TWO(MinimumTwo, F, F, smaller(x, y));
POMONA_TWO(Prelu, F, F, hn::IfThenElse(hn::Gt(x, hn::Zero(floats)), x, hn::Mul(y, x)));

HWY_INLINE I zero_or_one(hn::Mask<Floats> mask) {
  return hn::IfThenElseZero(hn::RebindMask(integers, mask), hn::Set(integers, 1));
}
HWY_INLINE I zero_or_one_integer(hn::Mask<Integers> mask) { return hn::IfThenElseZero(mask, hn::Set(integers, 1)); }
POMONA_TWO(EqualTwo, F, I, zero_or_one(hn::Eq(x, y)));
POMONA_TWO(NotEqualTwo, F, I, zero_or_one(hn::Not(hn::Eq(x, y))));  // Ne is false for NaN on some
POMONA_TWO(LessTwo, F, I, zero_or_one(hn::Lt(x, y)));
POMONA_TWO(LessEqualTwo, F, I, zero_or_one(hn::Le(x, y)));
POMONA_TWO(IntegerAdd, I, I, hn::Add(x, y));
POMONA_TWO(IntegerSubtract, I, I, hn::Sub(x, y));
POMONA_TWO(IntegerMultiply, I, I, hn::Mul(x, y));
POMONA_TWO(IntegerMaximum, I, I, hn::Max(x, y));
POMONA_TWO(IntegerMinimum, I, I, hn::Min(x, y));
POMONA_TWO(IntegerEqual, I, I, zero_or_one_integer(hn::Eq(x, y)));
POMONA_TWO(IntegerNotEqual, I, I, zero_or_one_integer(hn::Ne(x, y)));
POMONA_TWO(IntegerLess, I, I, zero_or_one_integer(hn::Lt(x, y)));
POMONA_TWO(IntegerLessEqual, I, I, zero_or_one_integer(hn::Not(hn::Gt(x, y))));
POMONA_TWO(LogicalAnd, I, I, hn::And(x, y));
POMONA_TWO(LogicalOr, I, I, hn::Or(x, y));
POMONA_TWO(LogicalXor, I, I, hn::Xor(x, y));

struct LogicalNot {
  HWY_INLINE I operator()(I x) const { return hn::Xor(x, hn::Set(integers, 1)); }
};
struct FloatFromInteger {
  HWY_INLINE F operator()(I x) const { return hn::ConvertTo(floats, x); }
};
struct BoolFromFloat {
  HWY_INLINE I operator()(F x) const { return zero_or_one(hn::Not(hn::Eq(x, hn::Zero(floats)))); }
};
struct BoolFromInteger {
  HWY_INLINE I operator()(I x) const { return zero_or_one_integer(hn::Ne(x, hn::Zero(integers))); }
};
template <int bits, bool is_signed>
struct Narrow {
  HWY_INLINE I operator()(I x) const {
    if constexpr (is_signed)
      return hn::ShiftRight<32 - bits>(hn::ShiftLeft<32 - bits>(x));
    else
      return hn::And(x, hn::Set(integers, (1 << bits) - 1));
  }
};

void multiply_add(ChunkArgument xs, ChunkArgument ys, ChunkArgument zs, float* out, std::size_t count) {
  const auto* x = static_cast<const float*>(xs.data);
  const auto* y = static_cast<const float*>(ys.data);
  const auto* z = static_cast<const float*>(zs.data);
  const std::size_t lanes = hn::Lanes(floats);
  for (std::size_t i = 0; i < count; i += lanes) {
    const std::size_t n = count - i;
    const F b = ys.scalar ? hn::Set(floats, *y) : load_first(floats, y + i, n);
    const F c = zs.scalar ? hn::Set(floats, *z) : load_first(floats, z + i, n);
    store_first(floats, hn::MulAdd(load_first(floats, x + i, n), b, c), out + i, n);
  }
}
void select(const std::int32_t* condition, ChunkArgument ys, ChunkArgument zs, std::int32_t* out, std::size_t count) {
  const auto* y = static_cast<const std::int32_t*>(ys.data);
  const auto* z = static_cast<const std::int32_t*>(zs.data);
  const std::size_t lanes = hn::Lanes(integers);
  for (std::size_t i = 0; i < count; i += lanes) {
    const std::size_t n = count - i;
    const I c = load_first(integers, condition + i, n);
    const I a = ys.scalar ? hn::Set(integers, *y) : load_first(integers, y + i, n);
    const I b = zs.scalar ? hn::Set(integers, *z) : load_first(integers, z + i, n);
    store_first(integers, hn::IfThenElse(hn::Ne(c, hn::Zero(integers)), a, b), out + i, n);
  }
}

// NOLINTBEGIN(bugprone-macro-parentheses): types take none
void run_one_of_one(const Instruction& c, const void* x, void* y, std::size_t n) {
  const float a = c.alpha, b = c.beta;
#define POMONA_CASE(opcode, name) \
  case Opcode::opcode:            \
    return map(floats, floats, x, y, n, name{a, b})
  switch (c.op) {
    POMONA_CASE(absolute, Absolute);
    POMONA_CASE(square_root, SquareRoot);
    POMONA_CASE(floor, FloorOf);
    POMONA_CASE(ceil, CeilOf);
    POMONA_CASE(round, RoundOf);
    POMONA_CASE(sign, SignOf);
    POMONA_CASE(square, Square);
    POMONA_CASE(exp, ExpOf);
    POMONA_CASE(log, LogOf);
    POMONA_CASE(rsqrt, Rsqrt);
    POMONA_CASE(reciprocal, Reciprocal);
    POMONA_CASE(tanh, TanhOf);
    POMONA_CASE(erf, ErfOf);
    POMONA_CASE(sigmoid, Sigmoid);
    POMONA_CASE(sigmoid_weighted, SigmoidWeighted);
    POMONA_CASE(gelu, Gelu);
    POMONA_CASE(gelu_tanh, GeluTanh);
    POMONA_CASE(softplus, Softplus);
    POMONA_CASE(softsign, Softsign);
    POMONA_CASE(elu, Elu);
    POMONA_CASE(leaky_relu, LeakyRelu);
    POMONA_CASE(thresholded_relu, ThresholdedRelu);
    POMONA_CASE(at_least, AtLeast);
    POMONA_CASE(clip, Clip);
    POMONA_CASE(clamped_relu, ClampedRelu);
    POMONA_CASE(hard_sigmoid, HardSigmoid);
    POMONA_CASE(scale, Scale);
    POMONA_CASE(shift, Shift);
    POMONA_CASE(affine, Affine);
#undef POMONA_CASE
    case Opcode::logical_not:
      return map(integers, integers, x, y, n, LogicalNot{});
    case Opcode::float_from_integer:
      return map(integers, floats, x, y, n, FloatFromInteger{});
    case Opcode::bool_from_float:
      return map(floats, integers, x, y, n, BoolFromFloat{});
    case Opcode::bool_from_integer:
      return map(integers, integers, x, y, n, BoolFromInteger{});
    case Opcode::int8_from_integer:
      return map(integers, integers, x, y, n, Narrow<8, true>{});
    case Opcode::uint8_from_integer:
      return map(integers, integers, x, y, n, Narrow<8, false>{});
    case Opcode::int16_from_integer:
      return map(integers, integers, x, y, n, Narrow<16, true>{});
    case Opcode::uint16_from_integer:
      return map(integers, integers, x, y, n, Narrow<16, false>{});
    default:
      return;
  }
}

void run_one(const Instruction& c, ChunkArgument x, ChunkArgument y, ChunkArgument z, void* out, std::size_t n) {
#define POMONA_CASE(opcode, d, e, name) \
  case Opcode::opcode:                  \
    return map_two(d, e, x, y, out, n, name{})
  switch (c.op) {
    POMONA_CASE(add, floats, floats, AddTwo);
    POMONA_CASE(subtract, floats, floats, SubtractTwo);
    POMONA_CASE(multiply, floats, floats, MultiplyTwo);
    POMONA_CASE(divide, floats, floats, DivideTwo);
    POMONA_CASE(maximum, floats, floats, MaximumTwo);
    POMONA_CASE(minimum, floats, floats, MinimumTwo);
    POMONA_CASE(prelu, floats, floats, Prelu);
    POMONA_CASE(equal, floats, integers, EqualTwo);
    POMONA_CASE(not_equal, floats, integers, NotEqualTwo);
    POMONA_CASE(less, floats, integers, LessTwo);
    POMONA_CASE(less_equal, floats, integers, LessEqualTwo);
    POMONA_CASE(integer_add, integers, integers, IntegerAdd);
    POMONA_CASE(integer_subtract, integers, integers, IntegerSubtract);
    POMONA_CASE(integer_multiply, integers, integers, IntegerMultiply);
    POMONA_CASE(integer_maximum, integers, integers, IntegerMaximum);
    POMONA_CASE(integer_minimum, integers, integers, IntegerMinimum);
    POMONA_CASE(integer_equal, integers, integers, IntegerEqual);
    POMONA_CASE(integer_not_equal, integers, integers, IntegerNotEqual);
    POMONA_CASE(integer_less, integers, integers, IntegerLess);
    POMONA_CASE(integer_less_equal, integers, integers, IntegerLessEqual);
    POMONA_CASE(logical_and, integers, integers, LogicalAnd);
    POMONA_CASE(logical_or, integers, integers, LogicalOr);
    POMONA_CASE(logical_xor, integers, integers, LogicalXor);
#undef POMONA_CASE
    case Opcode::multiply_add:
      return multiply_add(x, y, z, static_cast<float*>(out), n);
    case Opcode::select:
      return select(static_cast<const std::int32_t*>(x.data), y, z, static_cast<std::int32_t*>(out), n);
    default:
      return run_one_of_one(c, x.data, out, n);
  }
}
// NOLINTEND(bugprone-macro-parentheses)

}  // namespace pomona::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pomona::cpu {
namespace {

HWY_EXPORT(run_one);

// Functions too rare to be worth vectors, element by element.
bool run_rare(const Instruction& c, ChunkArgument xs, ChunkArgument ys, void* out, std::size_t count) {
  const auto* x = static_cast<const float*>(xs.data);
  const auto* y = static_cast<const float*>(ys.data);
  const auto* i = static_cast<const std::int32_t*>(xs.data);
  const auto* k = static_cast<const std::int32_t*>(ys.data);
  auto* floats = static_cast<float*>(out);
  auto* integers = static_cast<std::int32_t*>(out);
  std::size_t dx = xs.scalar ? 0 : 1, dy = ys.scalar ? 0 : 1;
  switch (c.op) {
    case Opcode::call:
      for (std::size_t n = 0; n < count; ++n) floats[n] = float(c.function.of_one(x[n]));
      return true;
    case Opcode::call_two:
      for (std::size_t n = 0; n < count; ++n) floats[n] = float(c.function.of_two(x[n * dx], y[n * dy]));
      return true;
    case Opcode::integer_call:
      for (std::size_t n = 0; n < count; ++n) integers[n] = std::int32_t(c.function.of_integer(i[n]));
      return true;
    case Opcode::integer_call_two:
      for (std::size_t n = 0; n < count; ++n)
        integers[n] = std::int32_t(c.function.of_two_integers(i[n * dx], k[n * dy]));
      return true;
    case Opcode::integer_from_float:
      for (std::size_t n = 0; n < count; ++n)
        integers[n] = x[n] >= -0x1p63f && x[n] < 0x1p63f ? std::int32_t(std::int64_t(x[n])) : 0;
      return true;
    case Opcode::copy:
      std::memmove(out, xs.data, count * 4);
      return true;
    default:
      return false;
  }
}

}  // namespace

void run_instruction(const Instruction& instruction, ChunkArgument x, ChunkArgument y, ChunkArgument z, void* result,
                     std::size_t count) {
  if (!run_rare(instruction, x, y, result, count)) HWY_DYNAMIC_DISPATCH(run_one)(instruction, x, y, z, result, count);
  if (instruction.rounds) round_to_half({static_cast<float*>(result), count});
}

}  // namespace pomona::cpu
#endif
