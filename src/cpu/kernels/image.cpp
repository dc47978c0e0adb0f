// Resizing: each result pixel is one pixel, or a mean of four. Tables of places and shares are made while planning.
#include "ops/image.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/threads.h"
#include "cpu/kernels/kernels.h"
#include "cpu/layout.h"

namespace pomona::cpu {
namespace {

// For each result index: the two elements between which it lies, and the share of the second.
struct Taps {
  std::vector<std::size_t> low, high;
  std::vector<float> share;
};

double grid_point(std::int64_t i, double size, double result, const std::string& mode) {
  if (mode == "STRICT_ALIGN_CORNERS") return result == 1 ? 0 : double(i) * (size - 1) / (result - 1);
  if (mode == "ALIGN_CORNERS") return result == 1 ? (size - 1) / 2 : double(i) * (size - 1) / (result - 1);
  if (mode == "UNALIGN_CORNERS") return (double(i) + 0.5) * size / result - 0.5;
  if (mode == "OFFSET_CORNERS") return (double(i) + 0.5) * std::max(1.0, size - 1) / result;
  return double(i) * size / result;
}

Taps linear_taps(std::int64_t size, std::int64_t result, const std::string& mode) {
  Taps taps;
  for (std::int64_t i = 0; i < result; ++i) {
    double at = std::clamp(grid_point(i, double(size), double(result), mode), 0.0, double(size - 1));
    double low = std::floor(at);
    taps.low.push_back(std::size_t(low));
    taps.high.push_back(std::min(std::size_t(low) + 1, std::size_t(size - 1)));
    taps.share.push_back(float(at - low));
  }
  return taps;
}

struct ResizePlan {
  Taps rows, columns;
  std::size_t planes, height, width, channels;  // of x; channels: elements per pixel that lie together
  SlotNumber x, y;
  Finish finish;
  bool nearest;
};

void resize_line(const ResizePlan& p, const float* plane, std::size_t row, float* out) {
  const float *top = plane + p.rows.low[row] * p.width * p.channels,
              *bottom = plane + p.rows.high[row] * p.width * p.channels;
  float down = p.rows.share[row];
  for (std::size_t i = 0; i < p.columns.low.size(); ++i, out += p.channels) {
    std::size_t left = p.columns.low[i] * p.channels, right = p.columns.high[i] * p.channels;
    if (p.nearest) {
      if (p.channels == 1)
        *out = top[left];
      else
        std::memcpy(out, top + left, p.channels * sizeof(float));
      continue;
    }
    float across = p.columns.share[i];
    for (std::size_t c = 0; c < p.channels; ++c) {
      float a = top[left + c] + (top[right + c] - top[left + c]) * across;
      float b = bottom[left + c] + (bottom[right + c] - bottom[left + c]) * across;
      out[c] = a + (b - a) * down;
    }
  }
}

Kernel resize_kernel(ResizePlan plan, const InputField& x, PlanContext& at) {
  Sizes sizes = known_sizes(x.shape());
  if (element_count(at.result_sizes()) == 0) return {};
  std::size_t rank = sizes.size();
  if (at.channels_last && rank != 4) return {};
  plan.height = std::size_t(sizes[rank - 2]);
  plan.width = std::size_t(sizes[rank - 1]);
  plan.channels = at.channels_last ? std::size_t(sizes[1]) : 1;
  plan.planes = std::size_t(element_count(sizes)) / (plan.height * plan.width * plan.channels);
  plan.x = at.source(x);
  plan.y = at.result();
  plan.finish = at.finish;
  auto shared = std::make_shared<const ResizePlan>(std::move(plan));
  auto run = [shared](const Frame& f) {
    const ResizePlan& p = *shared;
    std::size_t lines = p.rows.low.size(), line = p.columns.low.size() * p.channels;
    parallel_for(p.planes * lines, 1 + 16384 / line, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        const float* plane = f.read<float>(p.x) + i / lines * p.height * p.width * p.channels;
        resize_line(p, plane, i % lines, f.write<float>(p.y) + i * line);
      }
      p.finish(f, first * line, (last - first) * line);
    });
  };
  return {.run = std::move(run), .name = "resize"};
}

struct Extent {
  std::int64_t height, width, new_height, new_width;
};
Extent extent_of(const InputField& x, PlanContext& at) {
  Sizes from = known_sizes(x.shape()), to = at.result_sizes();
  return {from[from.size() - 2], from.back(), to[to.size() - 2], to.back()};
}
Kernel bilinear(const InputField& x, const std::string& mode, PlanContext& at) {
  Extent e = extent_of(x, at);
  ResizePlan plan{};
  plan.rows = linear_taps(e.height, e.new_height, mode);
  plan.columns = linear_taps(e.width, e.new_width, mode);
  return resize_kernel(std::move(plan), x, at);
}
// floor((i + offset) * size / result), in whole numbers.
Taps nearest_taps(std::int64_t size, std::int64_t result, bool from_centre) {
  Taps taps;
  for (std::int64_t i = 0; i < result; ++i) {
    std::int64_t at = from_centre ? (2 * i + 1) * size / (2 * result) : i * size / result;
    taps.low.push_back(std::size_t(std::min(at, size - 1)));
  }
  taps.high = taps.low;
  taps.share.assign(taps.low.size(), 0.0f);
  return taps;
}
Kernel nearest(const InputField& x, bool from_centre, PlanContext& at) {
  Extent e = extent_of(x, at);
  ResizePlan plan{};
  plan.nearest = true;
  plan.rows = nearest_taps(e.height, e.new_height, from_centre);
  plan.columns = nearest_taps(e.width, e.new_width, from_centre);
  return resize_kernel(std::move(plan), x, at);
}

Kernel plan_resize_bilinear(const mil::resize_bilinear& op, PlanContext& at) {
  return bilinear(op.x, *op.sampling_mode, at);
}
Kernel plan_resize_nearest(const mil::resize_nearest_neighbor& op, PlanContext& at) { return nearest(op.x, true, at); }
Kernel plan_resize(const mil::resize& op, PlanContext& at) {
  if (op.resized_dims != 2 || !is_float(op.x.dtype())) return {};
  if (*op.interpolation_mode == "LINEAR") return bilinear(op.x, *op.sampling_mode, at);
  return *op.sampling_mode == "DEFAULT" ? nearest(op.x, true, at) : Kernel();
}
// Whole factors only: of others, the rounding of the grid is the reference's business.
bool whole_factor(std::int64_t size, std::int64_t result, double factor) {
  return double(result) == double(size) * factor;
}
Kernel plan_upsample_nearest(const mil::upsample_nearest_neighbor& op, PlanContext& at) {
  Extent e = extent_of(op.x, at);
  if (!whole_factor(e.height, e.new_height, op.scale_factor_height) ||
      !whole_factor(e.width, e.new_width, op.scale_factor_width))
    return {};
  return nearest(op.x, false, at);
}
Kernel plan_upsample_bilinear(const mil::upsample_bilinear& op, PlanContext& at) {
  Extent e = extent_of(op.x, at);
  if (!whole_factor(e.height, e.new_height, op.scale_factor_height) ||
      !whole_factor(e.width, e.new_width, op.scale_factor_width))
    return {};
  bool half_pixels = op.half_pixel_centers->value_or(!op.align_corners);
  return bilinear(op.x, op.align_corners ? "STRICT_ALIGN_CORNERS" : half_pixels ? "UNALIGN_CORNERS" : "DEFAULT", at);
}

}  // namespace

std::vector<KernelRule> image_kernels() {
  constexpr KernelTraits traits{.finishes = true, .layouts = Layouts::either};
  return {
      kernel<mil::resize_bilinear, plan_resize_bilinear>(traits),
      kernel<mil::resize_nearest_neighbor, plan_resize_nearest>(traits),
      kernel<mil::resize, plan_resize>(traits),
      kernel<mil::upsample_nearest_neighbor, plan_upsample_nearest>(traits),
      kernel<mil::upsample_bilinear, plan_upsample_bilinear>(traits),
  };
}

}  // namespace pomona::cpu
