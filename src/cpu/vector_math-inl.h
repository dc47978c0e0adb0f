// Elementary functions on Highway vectors of floats, within 3 ulp. Included once per target, by the kernels that
// dispatch. Coefficients: least-squares minimax fits of our own.
#if defined(POMONA_CPU_VECTOR_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef POMONA_CPU_VECTOR_MATH_INL_H
#undef POMONA_CPU_VECTOR_MATH_INL_H
#else
#define POMONA_CPU_VECTOR_MATH_INL_H
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pomona::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// 2^k for whole k in [-126, 127].
template <class D, class V>
HWY_INLINE V power_of_two(D d, V k) {
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::NearestInt(k), hn::Set(di, 127))));
}

// x, or the bound that it is beyond. NaN stays NaN; hn::Max and hn::Min drop it on some targets.
template <class V>
HWY_INLINE V not_below(V x, V bound) {
  return hn::IfThenElse(hn::Lt(x, bound), bound, x);
}
template <class V>
HWY_INLINE V not_above(V x, V bound) {
  return hn::IfThenElse(hn::Gt(x, bound), bound, x);
}
// The larger and the smaller one; NaN if either is.
template <class V>
HWY_INLINE V larger(V x, V y) {
  return hn::IfThenElse(hn::Eq(x, x), not_below(y, x), x);
}
template <class V>
HWY_INLINE V smaller(V x, V y) {
  return hn::IfThenElse(hn::Eq(x, x), not_above(y, x), x);
}

// exp(x) without x = k ln 2: the factor for the rest, near 1.
template <class D, class V>
HWY_INLINE V exp_parts(D d, V x, V& k) {
  k = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  V r = hn::NegMulAdd(k, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(k, hn::Set(d, -2.12194440e-4f), r);
  V q = hn::MulAdd(hn::Set(d, 0.0013942164f), r, hn::Set(d, 0.008363776f));
  q = hn::MulAdd(q, r, hn::Set(d, 0.041666362f));
  q = hn::MulAdd(q, r, hn::Set(d, 0.16666573f));
  q = hn::MulAdd(q, r, hn::Set(d, 0.5f));
  return hn::MulAdd(hn::Mul(r, r), q, r);  // minus 1
}
template <class D, class V>
HWY_INLINE V vector_exp(D d, V x) {
  // The bounds are past the largest and smallest results.
  V clamped = hn::Max(hn::Set(d, -105.0f), hn::Min(hn::Set(d, 89.0f), x)), k;
  V p = hn::Add(exp_parts(d, clamped, k), hn::Set(d, 1.0f));
  V half = hn::Floor(hn::Mul(k, hn::Set(d, 0.5f)));  // in two steps, so that results reach into the subnormal range
  V y = hn::Mul(hn::Mul(p, power_of_two(d, half)), power_of_two(d, hn::Sub(k, half)));
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}
// For x <= 0 that is not NaN; results below 2^-126 are 0.
template <class D, class V>
HWY_INLINE V vector_exp_of_negative(D d, V x) {
  V k, clamped = hn::Max(hn::Set(d, -88.0f), x);
  V p = exp_parts(d, clamped, k);
  V scale = power_of_two(d, k);
  return hn::IfThenElseZero(hn::Ge(x, hn::Set(d, -87.3f)), hn::MulAdd(p, scale, scale));
}
template <class D, class V>
HWY_INLINE V vector_sigmoid(D d, V x) {
  V one = hn::Set(d, 1.0f), e = vector_exp_of_negative(d, hn::Neg(hn::Abs(x)));
  V y = hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e));
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}
template <class D, class V>
HWY_INLINE V vector_tanh(D d, V x) {
  V a = hn::Abs(x), s = hn::Mul(x, x), one = hn::Set(d, 1.0f);
  V p = hn::MulAdd(hn::Set(d, -0.006113192f), s, hn::Set(d, 0.021010082f));
  p = hn::MulAdd(p, s, hn::Set(d, -0.05385407f));
  p = hn::MulAdd(p, s, hn::Set(d, 0.13332795f));
  p = hn::MulAdd(p, s, hn::Set(d, -0.33333328f));
  V near = hn::MulAdd(hn::Mul(p, s), x, x);
  V e = vector_exp_of_negative(d, hn::Mul(a, hn::Set(d, -2.0f)));
  V far = hn::CopySign(hn::Div(hn::Sub(one, e), hn::Add(one, e)), x);
  V y = hn::IfThenElse(hn::Lt(a, hn::Set(d, 0.625f)), near, far);
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}
template <class D, class V>
HWY_INLINE V vector_erf(D d, V x) {
  V a = hn::Min(hn::Abs(x), hn::Set(d, 4.0f)), s = hn::Mul(x, x);
  V p = hn::MulAdd(hn::Set(d, 8.215426e-5f), s, hn::Set(d, -8.105966e-4f));
  p = hn::MulAdd(p, s, hn::Set(d, 0.0051977974f));
  p = hn::MulAdd(p, s, hn::Set(d, -0.026858104f));
  p = hn::MulAdd(p, s, hn::Set(d, 0.112836726f));
  p = hn::MulAdd(p, s, hn::Set(d, -0.37612632f));
  p = hn::MulAdd(p, s, hn::Set(d, 0.12837917f));
  V near = hn::MulAdd(p, x, x);
  // -log(1 - erf(a)) is a smooth function of a.
  V g = hn::MulAdd(hn::Set(d, 2.1162354e-5f), a, hn::Set(d, -4.3522354e-4f));
  g = hn::MulAdd(g, a, hn::Set(d, 0.0041746632f));
  g = hn::MulAdd(g, a, hn::Set(d, -0.025128674f));
  g = hn::MulAdd(g, a, hn::Set(d, 0.10829402f));
  g = hn::MulAdd(g, a, hn::Set(d, 0.63333458f));
  g = hn::MulAdd(g, a, hn::Set(d, 1.1295209f));
  g = hn::MulAdd(g, a, hn::Set(d, -1.758794e-4f));
  V far = hn::CopySign(hn::Sub(hn::Set(d, 1.0f), vector_exp_of_negative(d, hn::Neg(g))), x);
  V y = hn::IfThenElse(hn::Lt(a, hn::Set(d, 0.95f)), near, far);
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}
template <class D, class V>
HWY_INLINE V vector_gelu(D d, V x) {
  V half = hn::Mul(x, hn::Set(d, 0.5f));
  return hn::MulAdd(half, vector_erf(d, hn::Mul(x, hn::Set(d, 0.70710678f))), half);
}

}  // namespace pomona::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
