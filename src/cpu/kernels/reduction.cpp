// Reductions over any axes of floats: along rows where the innermost axis goes, across rows where it stays.
#include "ops/reduction.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "cpu/kernels/kernels.h"
#include "cpu/layout.h"
#include "cpu/row_kernels.h"

namespace pomona::cpu {
namespace {

enum class After : std::uint8_t { nothing, divide, square_root, logarithm };

// A tensor's dimensions as they lie, split into those that stay and those that go. The innermost of either kind (as
// one dimension, where neighbours join) is `row`; if it stays, `across` is the innermost that goes.
struct ReducePlan {
  Sizes kept, kept_strides, gone, gone_strides;
  std::size_t row = 1;
  bool row_stays = false;
  std::size_t results() const { return std::size_t(element_count(kept)); }
  std::size_t gone_count() const { return std::size_t(element_count(gone)); }
};

std::int64_t offset_of(std::size_t index, const Sizes& sizes, const Sizes& strides) {
  std::int64_t offset = 0;
  for (std::size_t d = sizes.size(); d-- > 0;) {
    offset += std::int64_t(index % std::size_t(sizes[d])) * strides[d];
    index /= std::size_t(sizes[d]);
  }
  return offset;
}

ReducePlan reduce_plan(const Sizes& sizes, const Ints& axes, bool channels_last) {
  std::vector<bool> goes(sizes.size(), axes.empty());
  for (std::int64_t axis : axes) goes[*normal_axis(axis, sizes.size())] = true;
  Sizes strides = channels_last ? channels_last_strides(sizes) : strides_of(sizes);
  std::vector<std::size_t> order;
  for (std::size_t d = 0; d < sizes.size(); ++d) order.push_back(d);
  if (channels_last) order = channels_last_order(sizes.size());
  struct Part {
    std::int64_t size, stride;
    bool goes;
  };
  std::vector<Part> parts;
  for (std::size_t d : order) {
    if (sizes[d] == 1) continue;
    if (!parts.empty() && parts.back().goes == goes[d])
      parts.back() = {parts.back().size * sizes[d], strides[d], goes[d]};
    else
      parts.push_back({sizes[d], strides[d], goes[d]});
  }
  ReducePlan plan;
  if (!parts.empty()) {
    plan.row = std::size_t(parts.back().size);
    plan.row_stays = !parts.back().goes;
    parts.pop_back();
  }
  for (const Part& p : parts) {
    (p.goes ? plan.gone : plan.kept).push_back(p.size);
    (p.goes ? plan.gone_strides : plan.kept_strides).push_back(p.stride);
  }
  return plan;
}

// The sum of sums of 128: errors grow with neither.
void reduce_across(const ReducePlan& p, Reduction reduction, const float* x, float* out) {
  constexpr std::size_t rows_per_sum = 128;
  Reduction joining =
      reduction == Reduction::sum_of_squares || reduction == Reduction::sum_of_magnitudes ? Reduction::sum : reduction;
  std::size_t inner = p.gone.empty() ? 1 : std::size_t(p.gone.back()), outer = p.gone_count() / inner;
  std::int64_t stride = p.gone.empty() ? 0 : p.gone_strides.back();
  Sizes outer_sizes(p.gone.begin(), p.gone.end() - !p.gone.empty());
  std::vector<float> part(p.row);
  std::fill(out, out + p.row, neutral(reduction));
  for (std::size_t o = 0; o < outer; ++o) {
    const float* from = x + offset_of(o, outer_sizes, p.gone_strides);
    for (std::size_t i = 0; i < inner; i += rows_per_sum) {
      std::fill(part.begin(), part.end(), neutral(reduction));
      std::size_t rows = std::min(rows_per_sum, inner - i);
      reduce_rows(reduction, from + std::int64_t(i) * stride, rows, std::size_t(stride), p.row, part.data());
      reduce_rows(joining, part.data(), 1, 0, p.row, out);
    }
  }
}
float reduce_along(const ReducePlan& p, Reduction reduction, const float* x) {
  constexpr std::size_t elements_per_sum = 4096;
  Reduction joining =
      reduction == Reduction::sum_of_squares || reduction == Reduction::sum_of_magnitudes ? Reduction::sum : reduction;
  float total = neutral(reduction);
  for (std::size_t o = 0; o < p.gone_count(); ++o) {
    const float* from = x + offset_of(o, p.gone, p.gone_strides);
    for (std::size_t i = 0; i < p.row; i += elements_per_sum)
      total = combine(joining, total, reduce_row(reduction, from + i, std::min(elements_per_sum, p.row - i)));
  }
  return total;
}

void finish_values(After after, float count, float* values, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    if (after == After::divide) values[i] /= count;
    if (after == After::square_root) values[i] = std::sqrt(values[i]);
    if (after == After::logarithm) values[i] = std::log(values[i]);
  }
}

// Whether what is left of dims that lie channels last lies in the order of the result's type.
bool stays_in_order(const Sizes& sizes, const Ints& axes) {
  std::vector<bool> goes(sizes.size(), axes.empty());
  for (std::int64_t axis : axes) goes[*normal_axis(axis, sizes.size())] = true;
  std::size_t least = 0;
  for (std::size_t d : channels_last_order(sizes.size())) {
    if (goes[d] || sizes[d] == 1) continue;
    if (d < least) return false;
    least = d;
  }
  return true;
}

template <class Op, Reduction reduction, After after>
Kernel plan_reduce(const Op& op, PlanContext& at) {
  Sizes sizes = known_sizes(op.x.shape());
  if (!is_float(op.x.dtype()) || element_count(sizes) == 0) return {};
  Sizes result = at.result_sizes();
  // Of channels that lie last only results whose order in memory is that of their type, in whichever layout.
  bool plain = result.size() <= 2 || (result.size() == sizes.size() && same_in_both_layouts(result));
  if (at.channels_last && !(plain && stays_in_order(sizes, *op.axes))) return {};
  ReducePlan plan = reduce_plan(sizes, *op.axes, at.channels_last);
  float count = float(element_count(sizes)) / float(std::max<std::int64_t>(element_count(result), 1));
  SlotNumber x = at.source(op.x), y = at.result();
  Finish finish = at.finish;
  auto run = [=](const Frame& f) {
    const float* in = f.read<float>(x);
    float* out = f.write<float>(y);
    std::size_t each = plan.row_stays ? plan.row : 1, work = plan.row * plan.gone_count();
    parallel_for(plan.results(), 1 + 16384 / work, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        const float* from = in + offset_of(i, plan.kept, plan.kept_strides);
        if (plan.row_stays)
          reduce_across(plan, reduction, from, out + i * each);
        else
          out[i] = reduce_along(plan, reduction, from);
      }
      finish_values(after, count, out + first * each, (last - first) * each);
      finish(f, first * each, (last - first) * each);
    });
  };
  return {.run = std::move(run), .name = "reduce"};
}

template <class Op, Reduction reduction, After after = After::nothing>
KernelRule reducing() {
  return kernel<Op, plan_reduce<Op, reduction, after>>({.finishes = true, .layouts = Layouts::either});
}

// The first position of the extremum; a NaN is one.
template <class Op, bool largest>
Kernel plan_position(const Op& op, PlanContext& at) {
  Sizes sizes = known_sizes(op.x.shape());
  if (!is_float(op.x.dtype()) || element_count(sizes) == 0 || at.result_types[0].dtype != DType::int32) return {};
  std::size_t axis = *normal_axis(op.axis, sizes.size()), length = std::size_t(sizes[axis]);
  std::size_t stride = std::size_t(strides_of(sizes)[axis]);
  SlotNumber x = at.source(op.x), y = at.result();
  std::size_t rows = std::size_t(element_count(sizes)) / length;
  auto run = [=](const Frame& f) {
    const float* in = f.read<float>(x);
    std::int32_t* out = f.write<std::int32_t>(y);
    parallel_for(rows, 1 + 8192 / length, [&](std::size_t first, std::size_t last) {
      for (std::size_t row = first; row < last; ++row) {
        const float* from = in + row / stride * stride * length + row % stride;
        std::size_t best = 0;
        for (std::size_t i = 1; i < length && from[best * stride] == from[best * stride]; ++i) {
          float v = from[i * stride], b = from[best * stride];
          if ((largest ? v > b : v < b) || v != v) best = i;
        }
        out[row] = std::int32_t(best);
      }
    });
  };
  return {.run = std::move(run), .name = "position"};
}

}  // namespace

std::vector<KernelRule> reduction_kernels() {
  return {
      reducing<mil::reduce_l1_norm, Reduction::sum_of_magnitudes>(),
      reducing<mil::reduce_l2_norm, Reduction::sum_of_squares, After::square_root>(),
      reducing<mil::reduce_log_sum, Reduction::sum, After::logarithm>(),
      reducing<mil::reduce_max, Reduction::maximum>(),
      reducing<mil::reduce_mean, Reduction::sum, After::divide>(),
      reducing<mil::reduce_min, Reduction::minimum>(),
      reducing<mil::reduce_prod, Reduction::product>(),
      reducing<mil::reduce_sum, Reduction::sum>(),
      reducing<mil::reduce_sum_square, Reduction::sum_of_squares>(),
      kernel<mil::reduce_argmax, plan_position<mil::reduce_argmax, true>>(),
      kernel<mil::reduce_argmin, plan_position<mil::reduce_argmin, false>>(),
  };
}

}  // namespace pomona::cpu
