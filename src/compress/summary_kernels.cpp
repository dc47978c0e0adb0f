#include "compress/summary_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compress/summary_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pomona::compress::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Squares are exact in double, so that neither tiny nor huge weights fall out of the sum.
FloatSummary summarise_in_lanes(const float* values, std::size_t count) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const std::size_t lanes = hn::Lanes(wide);
  auto largest = hn::Zero(narrow);
  auto poison = hn::Zero(narrow);  // x * 0 is NaN for infinities and NaN
  auto even = hn::Zero(wide), odd = hn::Zero(wide);
  std::size_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    const auto x = hn::LoadU(narrow, values + i), y = hn::LoadU(narrow, values + i + lanes);
    largest = hn::Max(largest, hn::Max(hn::Abs(x), hn::Abs(y)));
    poison = hn::MulAdd(x, hn::Zero(narrow), hn::MulAdd(y, hn::Zero(narrow), poison));
    const auto p = hn::PromoteTo(wide, x), q = hn::PromoteTo(wide, y);
    even = hn::MulAdd(p, p, even);
    odd = hn::MulAdd(q, q, odd);
  }
  FloatSummary summary;
  summary.largest_magnitude = hn::GetLane(hn::MaxOfLanes(narrow, largest));
  summary.sum_of_squares = hn::GetLane(hn::SumOfLanes(wide, hn::Add(even, odd)));
  summary.finite = hn::AllTrue(narrow, hn::Eq(poison, hn::Zero(narrow)));
  for (; i < count; ++i) {
    const float magnitude = std::fabs(values[i]);
    summary.largest_magnitude = std::max(summary.largest_magnitude, magnitude);
    summary.sum_of_squares += double(values[i]) * double(values[i]);
    summary.finite = summary.finite && magnitude <= std::numeric_limits<float>::max();
  }
  return summary;
}

}  // namespace pomona::compress::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pomona::compress {

HWY_EXPORT(summarise_in_lanes);

FloatSummary summarise_floats(std::span<const float> values) {
  return HWY_DYNAMIC_DISPATCH(summarise_in_lanes)(values.data(), values.size());
}

}  // namespace pomona::compress
#endif
