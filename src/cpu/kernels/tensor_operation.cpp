// Joining, splitting, padding and repeating tensors.
#include "ops/tensor_operation.h"

#include <algorithm>
#include <cstring>

#include "base/threads.h"
#include "cpu/element_moves.h"
#include "cpu/kernels/kernels.h"
#include "cpu/layout.h"

namespace pomona::cpu {
namespace {

Sizes place_strides(const Sizes& sizes, bool channels_last) {
  return channels_last && !same_in_both_layouts(sizes) ? channels_last_strides(sizes) : strides_of(sizes);
}
// The dims of a box in the order in which the given side lies, so that copies run along memory.
BoxCopy in_memory_order(BoxCopy box, bool channels_last) {
  if (!channels_last || box.sizes.size() < 3) return box;
  BoxCopy ordered = box;
  std::vector<std::size_t> order = channels_last_order(box.sizes.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    ordered.sizes[i] = box.sizes[order[i]];
    ordered.from_strides[i] = box.from_strides[order[i]];
    ordered.to_strides[i] = box.to_strides[order[i]];
  }
  return ordered;
}

struct Move {
  BoxCopy box;
  SlotNumber from, to;
};
Kernel moves_kernel(std::vector<Move> moves, std::string_view name) {
  for (Move& move : moves) move.box = simplified(std::move(move.box));
  return {.run =
              [moves = std::move(moves)](const Frame& f) {
                for (const Move& m : moves) copy_box(m.box, f.read<std::uint8_t>(m.from), f.write<std::uint8_t>(m.to));
              },
          .name = name};
}

Kernel plan_concat(const mil::concat& op, PlanContext& at) {
  Sizes sizes = at.result_sizes();
  if (op.values.size() == 0 || known_sizes(op.values.shape(0)).size() != sizes.size()) return {};
  std::size_t axis = *normal_axis(op.axis, sizes.size());
  Sizes strides = place_strides(sizes, at.channels_last);
  std::vector<Move> moves;
  std::int64_t offset = 0, count = std::int64_t(op.values.size());
  for (std::size_t i = 0; i < op.values.size(); ++i) {
    Sizes part = known_sizes(op.values.shape(i));
    BoxCopy box{part, place_strides(part, at.channels_last), strides, 0, 0, storage_bytes(op.values.type(i).dtype)};
    box.to_offset = (op.interleave ? std::int64_t(i) : offset) * strides[axis];
    if (op.interleave) box.to_strides[axis] *= count;
    offset += part[axis];
    moves.push_back({in_memory_order(std::move(box), at.channels_last), at.sources[0][i], at.result()});
  }
  return moves_kernel(std::move(moves), "concat");
}

Kernel plan_split(const mil::split& op, PlanContext& at) {
  Sizes sizes = known_sizes(op.x.shape());
  std::size_t axis = *normal_axis(op.axis, sizes.size());
  Sizes strides = place_strides(sizes, at.channels_last);
  std::vector<Move> moves;
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < at.results.size(); ++i) {
    Sizes part = at.result_sizes(i);
    BoxCopy box{
        part, strides, place_strides(part, at.channels_last), offset * strides[axis], 0, storage_bytes(op.x.dtype())};
    offset += part[axis];
    moves.push_back({in_memory_order(std::move(box), at.channels_last), at.source(op.x), at.result(i)});
  }
  return moves_kernel(std::move(moves), "split");
}

Kernel plan_stack(const mil::stack& op, PlanContext& at) {
  Sizes sizes = at.result_sizes(), strides = strides_of(sizes);
  std::size_t axis = *normal_axis(op.axis, sizes.size());
  std::vector<Move> moves;
  for (std::size_t i = 0; i < op.values.size(); ++i) {
    Sizes part = known_sizes(op.values.shape(i));
    Sizes to = strides;
    to.erase(to.begin() + std::ptrdiff_t(axis));
    BoxCopy box{part, strides_of(part), to, 0, std::int64_t(i) * strides[axis], storage_bytes(op.values.type(i).dtype)};
    moves.push_back({std::move(box), at.sources[0][i], at.result()});
  }
  return moves_kernel(std::move(moves), "stack");
}

// Repeating is copying from a view whose repeated dims have stride 0.
Kernel plan_tile(const mil::tile& op, PlanContext& at) {
  const Tensor* reps = op.reps.known();
  if (!reps) return {};
  Sizes from = known_sizes(op.x.shape()), strides = strides_of(from), to = strides_of(at.result_sizes());
  BoxCopy box{{}, {}, {}, 0, 0, storage_bytes(op.x.dtype())};
  for (std::size_t d = 0; d < from.size(); ++d) {
    box.sizes.insert(box.sizes.end(), {std::int64_t(reps->number(d)), from[d]});
    box.from_strides.insert(box.from_strides.end(), {0, strides[d]});
    box.to_strides.insert(box.to_strides.end(), {from[d] * to[d], to[d]});
  }
  return moves_kernel({{std::move(box), at.source(op.x), at.result()}}, "tile");
}

// Which element of the source each index along a padded dim shows; -1: the constant.
std::vector<std::int64_t> padded_indices(std::int64_t size, std::int64_t before, std::int64_t result,
                                         const std::string& mode) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < result; ++i) {
    std::int64_t at = i - before;
    if (at < 0 || at >= size) {
      if (mode == "constant")
        at = -1;
      else if (mode == "replicate")
        at = at < 0 ? 0 : size - 1;
      else
        at = at < 0 ? -at : 2 * (size - 1) - at;
    }
    indices.push_back(at);
  }
  return indices;
}

Kernel plan_pad_constant(const mil::pad& op, PlanContext& at, const std::vector<std::int64_t>& before) {
  Sizes from = known_sizes(op.x.shape()), sizes = at.result_sizes(), strides = place_strides(sizes, at.channels_last);
  BoxCopy box{from, place_strides(from, at.channels_last), strides, 0, 0, 4};
  // Negative padding cuts off.
  for (std::size_t d = 0; d < from.size(); ++d) {
    std::int64_t first = std::max<std::int64_t>(-before[d], 0);
    box.from_offset += first * box.from_strides[d];
    box.to_offset += std::max<std::int64_t>(before[d], 0) * strides[d];
    box.sizes[d] = std::min(from[d] - first, sizes[d] - std::max<std::int64_t>(before[d], 0));
  }
  box = simplified(in_memory_order(std::move(box), at.channels_last));
  SlotNumber x = at.source(op.x), y = at.result();
  float value = float(op.constant_val);
  std::size_t count = std::size_t(element_count(sizes));
  return {.run =
              [=](const Frame& f) {
                float* out = f.write<float>(y);
                parallel_for(count, 65536, [&](std::size_t a, std::size_t b) { std::fill(out + a, out + b, value); });
                copy_box(box, f.read<std::uint8_t>(x), f.write<std::uint8_t>(y));
              },
          .name = "pad"};
}

Kernel plan_pad(const mil::pad& op, PlanContext& at) {
  const Tensor* pad = op.pad.known();
  if (!pad) return {};
  Sizes from = known_sizes(op.x.shape()), sizes = at.result_sizes();
  std::size_t skipped = from.size() - pad->count() / 2;
  std::vector<std::int64_t> before(from.size(), 0);
  for (std::size_t i = 0; i < pad->count() / 2; ++i) before[skipped + i] = std::int64_t(pad->number(2 * i));
  if (*op.mode == "constant") return plan_pad_constant(op, at, before);
  if (at.channels_last) return {};
  std::vector<std::vector<std::int64_t>> offsets;
  Sizes strides = strides_of(from);
  for (std::size_t d = 0; d < from.size(); ++d) {
    offsets.push_back(padded_indices(from[d], before[d], sizes[d], *op.mode));
    for (std::int64_t& i : offsets.back()) {
      if (i < 0 || i >= from[d]) return {};
      i *= strides[d];
    }
  }
  SlotNumber x = at.source(op.x), y = at.result();
  std::size_t row = std::size_t(sizes.back()), rows = std::size_t(element_count(sizes)) / std::max<std::size_t>(row, 1);
  auto run = [=](const Frame& f) {
    const float* in = f.read<float>(x);
    float* out = f.write<float>(y);
    parallel_for(rows, 1 + 16384 / row, [&](std::size_t first, std::size_t last) {
      for (std::size_t r = first; r < last; ++r) {
        std::int64_t base = 0;
        std::size_t rest = r;
        for (std::size_t d = sizes.size() - 1; d-- > 0;) {
          base += offsets[d][rest % std::size_t(sizes[d])];
          rest /= std::size_t(sizes[d]);
        }
        for (std::size_t i = 0; i < row; ++i) out[r * row + i] = in[base + offsets.back()[i]];
      }
    });
  };
  return {.run = std::move(run), .name = "pad"};
}

Kernel plan_identity(const mil::identity& op, PlanContext& at) {
  return {.name = "alias", .alias_of = at.source(op.x)};
}
Kernel plan_flatten2d(const mil::flatten2d& op, PlanContext& at) {
  return {.name = "alias", .alias_of = at.source(op.x)};
}

}  // namespace

std::vector<KernelRule> tensor_operation_kernels() {
  return {
      kernel<mil::concat, plan_concat>({.layouts = Layouts::either}),
      kernel<mil::split, plan_split>({.layouts = Layouts::either}),
      kernel<mil::stack, plan_stack>(),
      kernel<mil::tile, plan_tile>(),
      kernel<mil::pad, plan_pad>({.layouts = Layouts::either}),
      kernel<mil::identity, plan_identity>({.layouts = Layouts::either}),
      kernel<mil::flatten2d, plan_flatten2d>(),
  };
}

}  // namespace pomona::cpu
