// Kernels along the channels of pixels that lie anywhere: convolutions that keep channels apart, and poolings.
#pragma once
#include <cstddef>

namespace pomona::cpu {

// `rows` pixels, at most 4, with `taps` pixels under each: a[tap * rows + r]. Null in a pooling: padding.
struct PixelBlock {
  const float* const* a;
  std::size_t taps, rows, channels;
  float* c;  // the results, one pixel after another
};
constexpr std::size_t most_pixels = 4;
// c[r][k] = bias[k] + sum over taps of a[tap][r][k] * weight[tap][k].
void depthwise_pixels(const PixelBlock& block, const float* weight, const float* bias);
enum class Pooling : unsigned char { maximum, sum, sum_of_squares };
void pool_pixels(const PixelBlock& block, Pooling pooling);

}  // namespace pomona::cpu
