// Normalisations: along rows of memory; batch_norm as an elementwise op of the channels.
#include "ops/norm.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "cpu/kernels/kernels.h"
#include "cpu/row_kernels.h"

namespace pomona::cpu {
namespace {

RegisterNumber emit_batch_norm(const mil::batch_norm& op, VectorEmitter& e) {
  std::size_t channels = op.mean.tensor().count();
  std::vector<float> scale, shift;
  for (std::size_t c = 0; c < channels; ++c) {
    double factor =
        (op.gamma ? op.gamma.tensor().number(c) : 1) / std::sqrt(op.variance.tensor().number(c) + op.epsilon);
    scale.push_back(float(factor));
    shift.push_back(float((op.beta ? op.beta.tensor().number(c) : 0) - op.mean.tensor().number(c) * factor));
  }
  RegisterNumber x = e.operand(op.x);
  RegisterNumber s = e.numbers_along_channels(std::move(scale)), t = e.numbers_along_channels(std::move(shift));
  return e.emit(Opcode::multiply_add, x, s, t);
}

struct RowNorm {
  SlotNumber x, y, gamma = no_slot, beta = no_slot;
  std::size_t rows, length;
  float epsilon;
};
// The axes must be the last ones, so that what is normalised is a row of memory.
Kernel plan_layer_norm(const mil::layer_norm& op, PlanContext& at) {
  Sizes sizes = known_sizes(op.x.shape());
  std::vector<bool> chosen(sizes.size(), op.axes->empty());
  for (std::int64_t axis : *op.axes) chosen[*normal_axis(axis, sizes.size())] = true;
  std::size_t first = std::size_t(std::find(chosen.begin(), chosen.end(), true) - chosen.begin());
  if (!std::all_of(chosen.begin() + std::ptrdiff_t(first), chosen.end(), [](bool c) { return c; })) return {};
  RowNorm n{at.source(op.x), at.result()};
  if (op.gamma) n.gamma = at.source(op.gamma);
  if (op.beta) n.beta = at.source(op.beta);
  n.length = std::size_t(element_count(Sizes(sizes.begin() + std::ptrdiff_t(first), sizes.end())));
  n.rows = std::size_t(element_count(Sizes(sizes.begin(), sizes.begin() + std::ptrdiff_t(first))));
  n.epsilon = float(op.epsilon);
  if (n.length == 0) return {};
  auto run = [n, finish = at.finish](const Frame& f) {
    const float *gamma = n.gamma == no_slot ? nullptr : f.read<float>(n.gamma),
                *beta = n.beta == no_slot ? nullptr : f.read<float>(n.beta);
    parallel_for(n.rows, 1 + 16384 / n.length, [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r)
        normalise_row(f.read<float>(n.x) + r * n.length, f.write<float>(n.y) + r * n.length, n.length, n.epsilon, gamma,
                      beta);
      finish(f, begin * n.length, (end - begin) * n.length);
    });
  };
  return {.run = std::move(run), .name = "layer_norm"};
}

Kernel plan_instance_norm(const mil::instance_norm& op, PlanContext& at) {
  Sizes sizes = known_sizes(op.x.shape());
  RowNorm n{at.source(op.x), at.result()};
  if (op.gamma) n.gamma = at.source(op.gamma);
  if (op.beta) n.beta = at.source(op.beta);
  std::size_t channels = std::size_t(sizes[1]);
  n.rows = std::size_t(sizes[0]) * channels;
  n.length = n.rows ? std::size_t(element_count(sizes)) / n.rows : 0;
  n.epsilon = float(op.epsilon);
  if (n.length == 0) return {};
  auto run = [n, channels, finish = at.finish](const Frame& f) {
    parallel_for(n.rows, 1 + 16384 / n.length, [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) {
        float* y = f.write<float>(n.y) + r * n.length;
        normalise_row(f.read<float>(n.x) + r * n.length, y, n.length, n.epsilon, nullptr, nullptr);
        float scale = n.gamma == no_slot ? 1 : f.read<float>(n.gamma)[r % channels],
              shift = n.beta == no_slot ? 0 : f.read<float>(n.beta)[r % channels];
        for (std::size_t i = 0; i < n.length; ++i) y[i] = y[i] * scale + shift;
      }
      finish(f, begin * n.length, (end - begin) * n.length);
    });
  };
  return {.run = std::move(run), .name = "instance_norm"};
}

Kernel plan_l2_norm(const mil::l2_norm& op, PlanContext& at) {
  Sizes sizes = known_sizes(op.x.shape());
  if (sizes.size() < 3 || element_count(sizes) == 0) return {};
  std::size_t length = std::size_t(element_count(Sizes(sizes.end() - 3, sizes.end())));
  std::size_t rows = std::size_t(element_count(sizes)) / length;
  SlotNumber x = at.source(op.x), y = at.result();
  float epsilon = float(op.epsilon);
  auto run = [=, finish = at.finish](const Frame& f) {
    parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) {
        const float* in = f.read<float>(x) + r * length;
        float scale = 1 / std::sqrt(reduce_row(Reduction::sum_of_squares, in, length) + epsilon);
        for (std::size_t i = 0; i < length; ++i) f.write<float>(y)[r * length + i] = in[i] * scale;
      }
      finish(f, begin * length, (end - begin) * length);
    });
  };
  return {.run = std::move(run), .name = "l2_norm"};
}

}  // namespace

std::vector<KernelRule> norm_kernels() {
  return {
      kernel<mil::layer_norm, plan_layer_norm>({.finishes = true}),
      kernel<mil::instance_norm, plan_instance_norm>({.finishes = true}),
      kernel<mil::l2_norm, plan_l2_norm>({.finishes = true}),
  };
}

std::vector<ElementwiseRule> norm_elementwise() { return {elementwise<mil::batch_norm, emit_batch_norm>()}; }

}  // namespace pomona::cpu
