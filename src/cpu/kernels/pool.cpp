// Poolings over tensors with channels last.
#include "ops/pool.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "cpu/channel_kernels.h"
#include "cpu/kernels/kernels.h"
#include "cpu/window_rows.h"

namespace pomona::cpu {
namespace {

struct PoolPlan {
  explicit PoolPlan(const std::vector<mil::Window>& windows) : grid(windows) {}
  WindowGrid grid;
  std::int64_t after[3] = {0, 0, 0};
  std::size_t images, channels;
  Pooling pooling;
  bool average = false, without_padding = false, root = false;
  SlotNumber x, y;
  Finish finish;
};

// How many elements the window has at a position: all, or those that are not in the padding (or past it, which a
// window may be with ceil_mode).
float window_elements(const PoolPlan& p, std::size_t line, std::size_t position) {
  const WindowGrid& g = p.grid;
  std::int64_t at[3] = {std::int64_t(line) / g.positions[1], std::int64_t(line) % g.positions[1],
                        std::int64_t(position)};
  std::int64_t count = 1;
  for (std::size_t d = 0; d < 3; ++d) {
    std::int64_t begin = at[d] * g.stride[d] - g.before[d], end = begin + g.kernel[d];
    std::int64_t low = p.without_padding ? 0 : -g.before[d],
                 high = p.without_padding ? g.size[d] : g.size[d] + p.after[d];
    count *= std::max<std::int64_t>(std::min(end, high) - std::max(begin, low), 0);
  }
  return float(count);
}

void pool_line(const PoolPlan& p, const Frame& f, std::size_t image, std::size_t line) {
  const WindowGrid& g = p.grid;
  std::size_t pixels = std::size_t(g.positions[2]), begin = (image * g.lines() + line) * pixels * p.channels;
  const float* x = f.read<float>(p.x) + image * g.input_pixels() * p.channels;
  float* y = f.write<float>(p.y) + begin;
  std::vector<const float*> pointers(most_pixels * g.taps());
  for (std::size_t i = 0; i < pixels; i += most_pixels) {
    std::size_t rows = std::min(most_pixels, pixels - i);
    window_pointers(g, line, i, rows, x, p.channels, nullptr, pointers.data());
    pool_pixels({pointers.data(), g.taps(), rows, p.channels, y + i * p.channels}, p.pooling);
    for (std::size_t r = 0; p.average && r < rows; ++r) {
      float count = window_elements(p, line, i + r), *out = y + (i + r) * p.channels;
      for (std::size_t k = 0; k < p.channels; ++k) out[k] /= count;
    }
  }
  for (std::size_t k = 0; p.root && k < pixels * p.channels; ++k) y[k] = std::sqrt(y[k]);
  p.finish(f, begin, pixels * p.channels);
}

template <class Op, Pooling pooling>
Kernel plan_pool(const Op& op, PlanContext& at) {
  Sizes x = known_sizes(op.x.shape());
  if (element_count(at.result_sizes()) == 0) return {};
  auto windows = mil::sliding_windows({.sizes = Shape(op.x.shape().begin() + 2, op.x.shape().end()),
                                       .kernel = to_shape(*op.kernel_sizes),
                                       .strides = op.strides,
                                       .pad_type = op.pad_type,
                                       .pad = op.pad,
                                       .ceil_mode = op.ceil_mode},
                                      {at.opset});
  if (!windows) return {};
  auto plan = std::make_shared<PoolPlan>(*windows);
  for (std::size_t d = 0; d < windows->size(); ++d) plan->after[3 - windows->size() + d] = (*windows)[d].after.value();
  plan->images = std::size_t(x[0]);
  plan->channels = std::size_t(x[1]);
  plan->pooling = pooling;
  plan->root = pooling == Pooling::sum_of_squares;
  if constexpr (requires { op.exclude_padding_from_average; }) {
    plan->average = true;
    plan->without_padding = op.exclude_padding_from_average;
  }
  plan->x = at.source(op.x);
  plan->y = at.result();
  plan->finish = at.finish;
  auto run = [plan](const Frame& f) {
    std::size_t lines = plan->grid.lines(), elements = std::size_t(plan->grid.positions[2]) * plan->channels;
    parallel_for(plan->images * lines, 1 + 16384 / (elements + 1), [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) pool_line(*plan, f, i / lines, i % lines);
    });
  };
  return {.run = std::move(run), .name = "pool"};
}

}  // namespace

std::vector<KernelRule> pool_kernels() {
  constexpr KernelTraits traits{.finishes = true, .layouts = Layouts::channels_last};
  return {
      kernel<mil::avg_pool, plan_pool<mil::avg_pool, Pooling::sum>>(traits),
      kernel<mil::max_pool, plan_pool<mil::max_pool, Pooling::maximum>>(traits),
      kernel<mil::l2_pool, plan_pool<mil::l2_pool, Pooling::sum_of_squares>>(traits),
  };
}

}  // namespace pomona::cpu
