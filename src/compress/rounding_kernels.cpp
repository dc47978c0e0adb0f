#include "compress/rounding_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compress/rounding_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pomona::compress::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

double dot_in_lanes(const double* x, const double* y, std::size_t count) {
  const hn::ScalableTag<double> d;
  const std::size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(d), b = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    a = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), a);
    b = hn::MulAdd(hn::LoadU(d, x + i + lanes), hn::LoadU(d, y + i + lanes), b);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(a, b)));
  for (; i < count; ++i) sum += x[i] * y[i];
  return sum;
}

template <class Element>
HWY_INLINE void take_away(Element factor, const Element* from, Element* to, std::size_t count) {
  const hn::ScalableTag<Element> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto by = hn::Set(d, factor);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(hn::NegMulAdd(by, hn::LoadU(d, from + i), hn::LoadU(d, to + i)), d, to + i);
  for (; i < count; ++i) to[i] -= factor * from[i];
}
void take_away_doubles(double factor, const double* from, double* to, std::size_t count) {
  take_away(factor, from, to, count);
}
void take_away_floats(float factor, const float* from, float* to, std::size_t count) {
  take_away(factor, from, to, count);
}

}  // namespace pomona::compress::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pomona::compress {

HWY_EXPORT(dot_in_lanes);
HWY_EXPORT(take_away_doubles);
HWY_EXPORT(take_away_floats);

double dot(const double* x, const double* y, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(dot_in_lanes)(x, y, count);
}
void take_away(double factor, const double* from, double* to, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(take_away_doubles)(factor, from, to, count);
}
void take_away(float factor, const float* from, float* to, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(take_away_floats)(factor, from, to, count);
}

}  // namespace pomona::compress
#endif
