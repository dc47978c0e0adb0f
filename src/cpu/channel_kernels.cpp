#include "cpu/channel_kernels.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/channel_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/vector_parts-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pomona::cpu::HWY_NAMESPACE {

using Floats = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Floats>;

template <int rows>
void depthwise_rows(const PixelBlock& in, const float* weight, const float* bias) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t k = 0; k < in.channels; k += lanes) {
    const std::size_t left = in.channels - k;
    Vector sums[rows];
    const Vector start = bias ? load_first(Floats(), bias + k, left) : hn::Zero(d);
    HWY_UNROLL(4) for (int r = 0; r < rows; ++r) sums[r] = start;
    for (std::size_t tap = 0; tap < in.taps; ++tap) {
      const Vector w = load_first(Floats(), weight + tap * in.channels + k, left);
      HWY_UNROLL(4)
      for (int r = 0; r < rows; ++r)
        sums[r] = hn::MulAdd(load_first(Floats(), in.a[tap * rows + r] + k, left), w, sums[r]);
    }
    HWY_UNROLL(4) for (int r = 0; r < rows; ++r) store_first(Floats(), sums[r], in.c + r * in.channels + k, left);
  }
}
void depthwise_here(const PixelBlock& in, const float* weight, const float* bias) {
  switch (in.rows) {
    case 1:
      return depthwise_rows<1>(in, weight, bias);
    case 2:
      return depthwise_rows<2>(in, weight, bias);
    case 3:
      return depthwise_rows<3>(in, weight, bias);
    default:
      return depthwise_rows<4>(in, weight, bias);
  }
}

void pool_here(const PixelBlock& in, Pooling pooling) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t k = 0; k < in.channels; k += lanes)
    for (std::size_t r = 0; r < in.rows; ++r) {
      const std::size_t left = in.channels - k;
      Vector sum = pooling == Pooling::maximum ? hn::Set(d, -std::numeric_limits<float>::infinity()) : hn::Zero(d);
      for (std::size_t tap = 0; tap < in.taps; ++tap) {
        const float* from = in.a[tap * in.rows + r];
        if (!from) continue;
        const Vector x = load_first(Floats(), from + k, left);
        if (pooling == Pooling::maximum)
          sum = hn::IfThenElse(hn::Eq(sum, sum), hn::IfThenElse(hn::Gt(sum, x), sum, x), sum);
        else
          sum = pooling == Pooling::sum ? hn::Add(sum, x) : hn::MulAdd(x, x, sum);
      }
      store_first(Floats(), sum, in.c + r * in.channels + k, left);
    }
}

}  // namespace pomona::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pomona::cpu {
namespace {

HWY_EXPORT(depthwise_here);
HWY_EXPORT(pool_here);

}  // namespace

void depthwise_pixels(const PixelBlock& block, const float* weight, const float* bias) {
  HWY_DYNAMIC_DISPATCH(depthwise_here)(block, weight, bias);
}
void pool_pixels(const PixelBlock& block, Pooling pooling) { HWY_DYNAMIC_DISPATCH(pool_here)(block, pooling); }

}  // namespace pomona::cpu
#endif
