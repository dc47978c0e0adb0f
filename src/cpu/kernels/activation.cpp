// Kernels of the activations that are not elementwise.
#include "ops/activation.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "base/threads.h"
#include "cpu/kernels/kernels.h"

namespace pomona::cpu {
namespace {

void softmax_row(const float* x, float* y, std::size_t length, std::size_t stride) {
  float most = -INFINITY, sum = 0;
  for (std::size_t i = 0; i < length; ++i) most = std::max(most, x[i * stride]);
  for (std::size_t i = 0; i < length; ++i) sum += y[i * stride] = std::exp(x[i * stride] - most);
  float scale = 1 / sum;
  for (std::size_t i = 0; i < length; ++i) y[i * stride] *= scale;
}

Kernel plan_softmax(const mil::softmax& op, PlanContext& at) {
  Sizes sizes = at.result_sizes();
  std::size_t axis = *normal_axis(op.axis, sizes.size()), length = std::size_t(sizes[axis]);
  std::size_t stride = std::size_t(strides_of(sizes)[axis]), count = std::size_t(element_count(sizes));
  if (count == 0) return {};
  SlotNumber x = at.source(op.x), y = at.result();
  bool rounds = at.rounds();
  auto run = [=](const Frame& f) {
    const float* in = f.read<float>(x);
    float* out = f.write<float>(y);
    parallel_for(count / length, 1 + 4096 / length, [&](std::size_t first, std::size_t last) {
      for (std::size_t row = first; row < last; ++row) {
        std::size_t begin = row / stride * stride * length + row % stride;
        softmax_row(in + begin, out + begin, length, stride);
      }
    });
    if (rounds) round_to_half({out, count});
  };
  return {.run = run, .name = "softmax"};
}

}  // namespace

std::vector<KernelRule> activation_kernels() { return {kernel<mil::softmax, plan_softmax>()}; }

}  // namespace pomona::cpu
