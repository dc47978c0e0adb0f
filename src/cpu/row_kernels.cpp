#include "cpu/row_kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/row_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/vector_math-inl.h"
#include "cpu/vector_parts-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pomona::cpu::HWY_NAMESPACE {

using Floats = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Floats>;

// For each vector of a row, the last one filled up with `fill`: f(v, i, lanes that count).
template <class F>
HWY_INLINE void for_vectors(const float* x, std::size_t count, float fill, const F& f) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) f(hn::LoadU(d, x + i), i, lanes);
  if (i < count) {
    f(hn::IfThenElse(hn::FirstN(d, count - i), load_first(d, x + i, count - i), hn::Set(d, fill)), i, count - i);
  }
}
struct Largest {
  Vector& most;
  HWY_INLINE void operator()(Vector v, std::size_t, std::size_t) const { most = hn::Max(most, v); }
};
struct Exponentials {
  Vector most;
  Vector& sum;
  float* y;
  HWY_INLINE void operator()(Vector v, std::size_t i, std::size_t n) const {
    const Floats d;
    const Vector x = hn::Sub(v, most);
    Vector e = vector_exp_of_negative(d, hn::Min(hn::Zero(d), x));
    e = hn::IfThenElse(hn::Eq(x, x), e, x);
    sum = hn::Add(sum, e);
    store_first(d, e, y + i, n);
  }
};
struct Scaled {
  Vector factor;
  float* y;
  HWY_INLINE void operator()(Vector v, std::size_t i, std::size_t n) const {
    store_first(Floats(), hn::Mul(v, factor), y + i, n);
  }
};
void softmax_here(const float* x, float* y, std::size_t count) {
  const Floats d;
  const float lowest = -std::numeric_limits<float>::infinity();
  Vector most = hn::Set(d, lowest), sum = hn::Zero(d);
  for_vectors(x, count, lowest, Largest{most});
  most = hn::MaxOfLanes(d, most);
  for_vectors(x, count, lowest, Exponentials{most, sum, y});
  for_vectors(y, count, 0, Scaled{hn::Div(hn::Set(d, 1.0f), hn::SumOfLanes(d, sum)), y});
}

struct Summed {
  Vector& sum;
  HWY_INLINE void operator()(Vector v, std::size_t, std::size_t) const { sum = hn::Add(sum, v); }
};
struct SquaresAround {
  Vector mean;
  Vector& sum;
  HWY_INLINE void operator()(Vector v, std::size_t, std::size_t n) const {
    const Floats d;
    const Vector apart = hn::IfThenElseZero(hn::FirstN(d, n), hn::Sub(v, mean));
    sum = hn::MulAdd(apart, apart, sum);
  }
};
struct Normalised {
  Vector mean, factor;
  const float *gamma, *beta;
  float* y;
  HWY_INLINE void operator()(Vector v, std::size_t i, std::size_t n) const {
    Vector out = hn::Mul(hn::Sub(v, mean), factor);
    if (gamma) out = hn::Mul(out, load_first(Floats(), gamma + i, n));
    if (beta) out = hn::Add(out, load_first(Floats(), beta + i, n));
    store_first(Floats(), out, y + i, n);
  }
};
void normalise_here(const float* x, float* y, std::size_t count, float epsilon, const float* gamma, const float* beta) {
  const Floats d;
  Vector sum = hn::Zero(d), squares = hn::Zero(d);
  for_vectors(x, count, 0, Summed{sum});
  const Vector one_by_count = hn::Set(d, 1 / float(count));
  const Vector mean = hn::Mul(hn::SumOfLanes(d, sum), one_by_count);
  for_vectors(x, count, 0, SquaresAround{mean, squares});
  const Vector variance = hn::Mul(hn::SumOfLanes(d, squares), one_by_count);
  const Vector factor = hn::Div(hn::Set(d, 1.0f), hn::Sqrt(hn::Add(variance, hn::Set(d, epsilon))));
  for_vectors(x, count, 0, Normalised{mean, factor, gamma, beta, y});
}

template <Reduction reduction>
struct Into {
  HWY_INLINE Vector operator()(Vector a, Vector x) const {
    if constexpr (reduction == Reduction::sum)
      return hn::Add(a, x);
    else if constexpr (reduction == Reduction::sum_of_squares)
      return hn::MulAdd(x, x, a);
    else if constexpr (reduction == Reduction::sum_of_magnitudes)
      return hn::Add(a, hn::Abs(x));
    else if constexpr (reduction == Reduction::maximum)
      return larger(a, x);
    else if constexpr (reduction == Reduction::minimum)
      return smaller(a, x);
    else
      return hn::Mul(a, x);
  }
};
template <Reduction reduction>
float reduce_lanes(const float* x, std::size_t count, float start) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const Into<reduction> into;
  Vector sums[4] = {hn::Set(d, start), hn::Set(d, start), hn::Set(d, start), hn::Set(d, start)};
  std::size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    HWY_UNROLL(4) for (std::size_t v = 0; v < 4; ++v) sums[v] = into(sums[v], hn::LoadU(d, x + i + v * lanes));
  }
  for (; i + lanes <= count; i += lanes) sums[0] = into(sums[0], hn::LoadU(d, x + i));
  HWY_ALIGN float lanes_of[4][16];
  for (std::size_t v = 0; v < 4; ++v) hn::Store(sums[v], d, lanes_of[v]);
  constexpr Reduction joining =
      reduction == Reduction::sum_of_squares || reduction == Reduction::sum_of_magnitudes ? Reduction::sum : reduction;
  float total = start;
  for (std::size_t v = 0; v < 4; ++v)
    for (std::size_t l = 0; l < lanes; ++l) total = combine(joining, total, lanes_of[v][l]);
  for (; i < count; ++i) total = combine(reduction, total, x[i]);
  return total;
}
float reduce_row_here(Reduction reduction, const float* x, std::size_t count) {
  const float start = neutral(reduction);
  switch (reduction) {
    case Reduction::sum:
      return reduce_lanes<Reduction::sum>(x, count, start);
    case Reduction::sum_of_squares:
      return reduce_lanes<Reduction::sum_of_squares>(x, count, start);
    case Reduction::sum_of_magnitudes:
      return reduce_lanes<Reduction::sum_of_magnitudes>(x, count, start);
    case Reduction::maximum:
      return reduce_lanes<Reduction::maximum>(x, count, start);
    case Reduction::minimum:
      return reduce_lanes<Reduction::minimum>(x, count, start);
    default:
      return reduce_lanes<Reduction::product>(x, count, start);
  }
}

template <Reduction reduction>
void reduce_columns(const float* x, std::size_t count, std::size_t stride, std::size_t columns, float* into) {
  const Into<reduction> one;
  const std::size_t lanes = hn::Lanes(Floats());
  for (std::size_t k = 0; k < columns; k += lanes) {
    const std::size_t left = columns - k;
    Vector sum = load_first(Floats(), into + k, left);
    for (std::size_t i = 0; i < count; ++i) sum = one(sum, load_first(Floats(), x + i * stride + k, left));
    store_first(Floats(), sum, into + k, left);
  }
}
void reduce_rows_here(Reduction reduction, const float* x, std::size_t count, std::size_t stride, std::size_t columns,
                      float* into) {
  switch (reduction) {
    case Reduction::sum:
      return reduce_columns<Reduction::sum>(x, count, stride, columns, into);
    case Reduction::sum_of_squares:
      return reduce_columns<Reduction::sum_of_squares>(x, count, stride, columns, into);
    case Reduction::sum_of_magnitudes:
      return reduce_columns<Reduction::sum_of_magnitudes>(x, count, stride, columns, into);
    case Reduction::maximum:
      return reduce_columns<Reduction::maximum>(x, count, stride, columns, into);
    case Reduction::minimum:
      return reduce_columns<Reduction::minimum>(x, count, stride, columns, into);
    default:
      return reduce_columns<Reduction::product>(x, count, stride, columns, into);
  }
}

}  // namespace pomona::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pomona::cpu {
namespace {

HWY_EXPORT(softmax_here);
HWY_EXPORT(normalise_here);
HWY_EXPORT(reduce_row_here);
HWY_EXPORT(reduce_rows_here);

}  // namespace

float neutral(Reduction reduction) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  return reduction == Reduction::maximum   ? -infinity
         : reduction == Reduction::minimum ? infinity
         : reduction == Reduction::product ? 1.0f
                                           : 0.0f;
}
float combine(Reduction reduction, float a, float b) {
  switch (reduction) {
    case Reduction::sum:
      return a + b;
    case Reduction::sum_of_squares:
      return a + b * b;
    case Reduction::sum_of_magnitudes:
      return a + std::fabs(b);
    case Reduction::maximum:
      return a > b || a != a ? a : b;
    case Reduction::minimum:
      return a < b || a != a ? a : b;
    default:
      return a * b;
  }
}

void softmax_row(const float* x, float* y, std::size_t count) { HWY_DYNAMIC_DISPATCH(softmax_here)(x, y, count); }
void normalise_row(const float* x, float* y, std::size_t count, float epsilon, const float* gamma, const float* beta) {
  HWY_DYNAMIC_DISPATCH(normalise_here)(x, y, count, epsilon, gamma, beta);
}
float reduce_row(Reduction reduction, const float* x, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(reduce_row_here)(reduction, x, count);
}
void reduce_rows(Reduction reduction, const float* x, std::size_t count, std::size_t stride, std::size_t columns,
                 float* into) {
  HWY_DYNAMIC_DISPATCH(reduce_rows_here)(reduction, x, count, stride, columns, into);
}

}  // namespace pomona::cpu
#endif
