// Layout ops: other shapes of the same memory, and boxes of elements moved.
#include "ops/shape.h"

#include <cstring>

#include "cpu/element_moves.h"
#include "cpu/kernels/kernels.h"
#include "cpu/layout.h"
#include "cpu/slice.h"

namespace pomona::cpu {
namespace {

Sizes sizes_of(const InputField& x) { return known_sizes(x.shape()); }

template <class Op>
Kernel plan_alias(const Op& op, PlanContext& at) {
  return {.name = "alias", .alias_of = at.source(op.x)};
}

Kernel box_kernel(BoxCopy box, SlotNumber from, SlotNumber to, std::string_view name) {
  return {.run = [box = simplified(std::move(box)), from,
                  to](const Frame& f) { copy_box(box, f.read<std::uint8_t>(from), f.write<std::uint8_t>(to)); },
          .name = name};
}

Kernel plan_transpose(const mil::transpose& op, PlanContext& at) {
  Sizes from = sizes_of(op.x), strides = strides_of(from);
  BoxCopy box{at.result_sizes(), {}, strides_of(at.result_sizes()), 0, 0, storage_bytes(op.x.dtype())};
  for (std::int64_t axis : *op.perm) box.from_strides.push_back(strides[*normal_axis(axis, from.size())]);
  box = simplified(std::move(box));
  if (box.sizes.size() == 1 && box.from_strides[0] == 1 && box.to_strides[0] == 1)
    return {.name = "alias", .alias_of = at.source(op.x)};
  bool matrices = box.sizes.size() >= 2 && box.sizes.size() <= 3;
  std::size_t last = box.sizes.size() - 1;
  matrices = matrices && box.from_strides[last - 1] == 1 && box.from_strides[last] == box.sizes[last - 1] &&
             (last == 1 || box.from_strides[0] == box.sizes[1] * box.sizes[2]);
  SlotNumber x = at.source(op.x), y = at.result();
  if (!matrices) return box_kernel(std::move(box), x, y, "transpose");
  std::size_t count = last == 1 ? 1 : std::size_t(box.sizes[0]), rows = std::size_t(box.sizes[last]),
              columns = std::size_t(box.sizes[last - 1]), bytes = box.element_bytes;
  return {.run =
              [=](const Frame& f) {
                transpose_matrices(f.read<std::uint8_t>(x), f.write<std::uint8_t>(y), count, rows, columns, bytes);
              },
          .name = "transpose"};
}

Kernel plan_slice_by_index(const mil::slice_by_index& op, PlanContext& at) {
  Sizes from = sizes_of(op.x), strides = strides_of(from);
  auto slice = slice_of(op, from);
  if (!slice) return {};
  Sizes sizes = with_squeezed(at.result_sizes(), *op.squeeze_mask, from.size());
  BoxCopy box{sizes, {}, strides_of(sizes), 0, 0, storage_bytes(op.x.dtype())};
  for (std::size_t d = 0; d < from.size(); ++d) {
    box.from_offset += slice->begin[d] * strides[d];
    box.from_strides.push_back(slice->stride[d] * strides[d]);
  }
  return box_kernel(std::move(box), at.source(op.x), at.result(), "slice");
}

Kernel plan_slice_by_size(const mil::slice_by_size& op, PlanContext& at) {
  const Tensor* begin = op.begin.known();
  if (!begin) return {};
  Sizes from = sizes_of(op.x), strides = strides_of(from), sizes = at.result_sizes();
  BoxCopy box{sizes, strides, strides_of(sizes), 0, 0, storage_bytes(op.x.dtype())};
  for (std::size_t d = 0; d < from.size(); ++d) {
    std::int64_t first = std::int64_t(begin->number(d));
    box.from_offset += (first < 0 ? first + from[d] : first) * strides[d];
  }
  return box_kernel(std::move(box), at.source(op.x), at.result(), "slice");
}

Kernel plan_slice_update(const mil::slice_update& op, PlanContext& at) {
  Sizes whole = sizes_of(op.x), strides = strides_of(whole);
  auto slice = slice_of(op, whole);
  if (!slice) return {};
  Sizes sizes = with_squeezed(sizes_of(op.update), *op.squeeze_mask, whole.size());
  BoxCopy box{sizes, strides_of(sizes), {}, 0, 0, storage_bytes(op.x.dtype())};
  for (std::size_t d = 0; d < whole.size(); ++d) {
    box.to_offset += slice->begin[d] * strides[d];
    box.to_strides.push_back(slice->stride[d] * strides[d]);
  }
  box = simplified(std::move(box));
  SlotNumber x = at.source(op.x), update = at.source(op.update), y = at.result();
  std::size_t bytes = std::size_t(element_count(whole)) * box.element_bytes;
  return {.run =
              [=](const Frame& f) {
                std::memcpy(f.write<std::uint8_t>(y), f.read<std::uint8_t>(x), bytes);
                copy_box(box, f.read<std::uint8_t>(update), f.write<std::uint8_t>(y));
              },
          .name = "slice_update"};
}

Kernel plan_reverse(const mil::reverse& op, PlanContext& at) {
  Sizes sizes = sizes_of(op.x);
  BoxCopy box{sizes, strides_of(sizes), strides_of(sizes), 0, 0, storage_bytes(op.x.dtype())};
  Ints axes = *op.axes;
  if (axes.empty())
    for (std::size_t d = 0; d < sizes.size(); ++d) axes.push_back(std::int64_t(d));
  for (std::int64_t axis : axes) {
    std::size_t d = *normal_axis(axis, sizes.size());
    if (box.from_strides[d] < 0) continue;
    box.from_offset += (sizes[d] - 1) * box.from_strides[d];
    box.from_strides[d] = -box.from_strides[d];
  }
  return box_kernel(std::move(box), at.source(op.x), at.result(), "reverse");
}

Kernel plan_sliding_windows(const mil::sliding_windows& op, PlanContext& at) {
  Sizes from = strides_of(sizes_of(op.x)), sizes = at.result_sizes();
  std::size_t axis = *normal_axis(op.axis, from.size());
  BoxCopy box{sizes, from, strides_of(sizes), 0, 0, storage_bytes(op.x.dtype())};
  box.from_strides.insert(box.from_strides.begin() + std::ptrdiff_t(axis) + 1, from[axis]);
  box.from_strides[axis] *= op.stride;
  return box_kernel(std::move(box), at.source(op.x), at.result(), "sliding_windows");
}

// [n, c, h, w] with one side's channel split in blocks: every such op is a transpose of a six-dimensional view.
struct BlockMove {
  bool block_first;  // the channel of the deep side is (i*b + j)*C + c; else c*b*b + i*b + j
  bool to_space;
};
Kernel plan_block_move(const InputField& x, std::int64_t b, BlockMove move, PlanContext& at) {
  Sizes deep = move.to_space ? sizes_of(x) : at.result_sizes();
  std::int64_t n = deep[0], c = deep[1] / (b * b), h = deep[2], w = deep[3], plane = h * w;
  Sizes sizes{n, c, h, b, w, b};  // in the order of the wide side: n, c, h, i, w, j
  Sizes wide = strides_of(sizes);
  std::int64_t channel = move.block_first ? plane : b * b * plane, i = move.block_first ? b * c * plane : b * plane,
               j = move.block_first ? c * plane : plane;
  Sizes deep_strides{deep[1] * plane, channel, w, i, 1, j};
  BoxCopy box{sizes, deep_strides, wide, 0, 0, storage_bytes(x.dtype())};
  if (!move.to_space) std::swap(box.from_strides, box.to_strides);
  return box_kernel(std::move(box), at.source(x), at.result(), "block_move");
}
Kernel plan_depth_to_space(const mil::depth_to_space& op, PlanContext& at) {
  return plan_block_move(op.x, op.block_size, {true, true}, at);
}
Kernel plan_space_to_depth(const mil::space_to_depth& op, PlanContext& at) {
  return plan_block_move(op.x, op.block_size, {true, false}, at);
}
Kernel plan_pixel_shuffle(const mil::pixel_shuffle& op, PlanContext& at) {
  return plan_block_move(op.x, op.upscale_factor, {false, true}, at);
}
Kernel plan_pixel_unshuffle(const mil::pixel_unshuffle& op, PlanContext& at) {
  return plan_block_move(op.x, op.downscale_factor, {false, false}, at);
}

}  // namespace

std::vector<KernelRule> shape_kernels() {
  return {
      kernel<mil::expand_dims, plan_alias<mil::expand_dims>>(),
      kernel<mil::squeeze, plan_alias<mil::squeeze>>(),
      kernel<mil::reshape, plan_alias<mil::reshape>>(),
      kernel<mil::reshape_like, plan_alias<mil::reshape_like>>(),
      kernel<mil::transpose, plan_transpose>(),
      kernel<mil::slice_by_index, plan_slice_by_index>(),
      kernel<mil::slice_by_size, plan_slice_by_size>(),
      kernel<mil::slice_update, plan_slice_update>(),
      kernel<mil::reverse, plan_reverse>(),
      kernel<mil::sliding_windows, plan_sliding_windows>(),
      kernel<mil::depth_to_space, plan_depth_to_space>(),
      kernel<mil::space_to_depth, plan_space_to_depth>(),
      kernel<mil::pixel_shuffle, plan_pixel_shuffle>(),
      kernel<mil::pixel_unshuffle, plan_pixel_unshuffle>(),
  };
}

}  // namespace pomona::cpu
