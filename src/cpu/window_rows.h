// Windows that slide over channels-last tensors, as pointers to the pixels they see: what convolutions and poolings
// share. See gemm.h for how products use them.
#pragma once
#include <vector>

#include "ops/window.h"

namespace pomona::cpu {

// One to three spatial axes, filled up to three in front.
struct WindowGrid {
  explicit WindowGrid(const std::vector<mil::Window>& windows);
  // Becomes one long line when the window is a single element that moves one by one without padding.
  void flatten();
  std::size_t taps() const { return std::size_t(kernel[0] * kernel[1] * kernel[2]); }
  std::size_t lines() const { return std::size_t(positions[0] * positions[1]); }
  std::size_t input_pixels() const { return std::size_t(size[0] * size[1] * size[2]); }
  std::size_t output_pixels() const { return lines() * std::size_t(positions[2]); }

  std::int64_t size[3], kernel[3], stride[3], dilation[3], before[3], positions[3];
};

// The pixels seen by `count` neighbouring positions of a line: out[tap * count + i]. `x` is the image, `channels` its
// elements per pixel, and `outside` what is seen in the padding.
void window_pointers(const WindowGrid& grid, std::size_t line, std::size_t position, std::size_t count, const float* x,
                     std::size_t channels, const float* outside, const float** out);

}  // namespace pomona::cpu
