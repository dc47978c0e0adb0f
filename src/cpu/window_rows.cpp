#include "cpu/window_rows.h"

namespace pomona::cpu {

WindowGrid::WindowGrid(const std::vector<mil::Window>& windows) {
  std::size_t filled = 3 - windows.size();
  for (std::size_t d = 0; d < 3; ++d) {
    size[d] = kernel[d] = stride[d] = dilation[d] = positions[d] = 1;
    before[d] = 0;
    if (d < filled) continue;
    const mil::Window& w = windows[d - filled];
    size[d] = w.size.value();
    kernel[d] = w.kernel.value();
    stride[d] = w.stride;
    dilation[d] = w.dilation;
    before[d] = w.before.value();
    positions[d] = w.positions.value();
  }
}

void WindowGrid::flatten() {
  for (std::size_t d = 0; d < 3; ++d)
    if (kernel[d] != 1 || stride[d] != 1 || before[d] != 0 || positions[d] != size[d]) return;
  size[2] = positions[2] = size[0] * size[1] * size[2];
  size[0] = positions[0] = size[1] = positions[1] = 1;
}

void window_pointers(const WindowGrid& g, std::size_t line, std::size_t position, std::size_t count, const float* x,
                     std::size_t channels, const float* outside, const float** out) {
  std::int64_t d0 = std::int64_t(line) / g.positions[1] * g.stride[0] - g.before[0],
               h0 = std::int64_t(line) % g.positions[1] * g.stride[1] - g.before[1],
               w0 = std::int64_t(position) * g.stride[2] - g.before[2];
  std::int64_t last = w0 + std::int64_t(count - 1) * g.stride[2];
  std::ptrdiff_t step = g.stride[2] * std::int64_t(channels);
  for (std::int64_t kd = 0; kd < g.kernel[0]; ++kd)
    for (std::int64_t kh = 0; kh < g.kernel[1]; ++kh) {
      std::int64_t d = d0 + kd * g.dilation[0], h = h0 + kh * g.dilation[1];
      bool inside = d >= 0 && d < g.size[0] && h >= 0 && h < g.size[1];
      std::int64_t row = (d * g.size[1] + h) * g.size[2];
      for (std::int64_t kw = 0; kw < g.kernel[2]; ++kw, out += count) {
        std::int64_t shift = kw * g.dilation[2], w = w0 + shift;
        if (inside && w >= 0 && last + shift < g.size[2]) {
          const float* from = x + (row + w) * std::int64_t(channels);
          for (std::size_t i = 0; i < count; ++i) out[i] = from + std::ptrdiff_t(i) * step;
        } else {
          for (std::size_t i = 0; i < count; ++i, w += g.stride[2])
            out[i] = inside && w >= 0 && w < g.size[2] ? x + (row + w) * std::int64_t(channels) : outside;
        }
      }
    }
}

}  // namespace pomona::cpu
