#include "rewrite/passes/engine_windows.h"

#include <algorithm>

#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/pool.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "rewrite/rule.h"

namespace pomona::rewrite {
namespace {

constexpr std::int64_t widest_stride = 32, widest_pool = 13;
// More pieces of a kernel than this cost more than leaving the engine.
constexpr std::int64_t most_pieces = 16;

bool product_of_twos_and_threes(std::int64_t n) {
  while (n > 1 && n % 2 == 0) n /= 2;
  while (n > 1 && n % 3 == 0) n /= 3;
  return n == 1;
}

// A spatial axis as a window sees it.
struct Axis {
  std::int64_t size = 0, kernel = 0, stride = 1, dilation = 1, before = 0, after = 0, positions = 0;
  std::int64_t reach() const { return (kernel - 1) * dilation + 1; }
};
using Axes = std::vector<Axis>;

struct WindowAttributes {
  Sizes kernel;
  Ints strides, dilations, pad;
  std::string pad_type;
};

// All but the batch.
bool is_fixed(const Shape& shape) {
  return std::all_of(shape.begin() + 1, shape.end(), [](const Dim& size) { return size.known(); });
}

// -1 for an open batch.
Sizes sizes_of(Value x) {
  Sizes sizes;
  for (const Dim& size : x.shape()) sizes.push_back(size.known() ? size.value() : -1);
  return sizes;
}

// Empty when a size other than the batch's is not known.
Axes axes_of(const Node& node, Value x, const WindowAttributes& window) {
  if (!is_fixed(x.shape()) || !is_fixed(node.output().shape())) return {};
  Axes axes(window.kernel.size());
  for (std::size_t i = 0; i < axes.size(); ++i) {
    Axis& axis = axes[i];
    axis.size = x.shape()[i + 2].value();
    axis.kernel = window.kernel[i];
    axis.positions = node.output().shape()[i + 2].value();
    if (!window.strides.empty()) axis.stride = window.strides[i];
    if (!window.dilations.empty()) axis.dilation = window.dilations[i];
    if (window.pad_type == "custom" && !window.pad.empty()) {
      axis.before = window.pad[2 * i];
      axis.after = window.pad[2 * i + 1];
    } else if (window.pad_type == "same" || window.pad_type == "same_lower") {
      std::int64_t all = std::max<std::int64_t>((axis.positions - 1) * axis.stride + axis.reach() - axis.size, 0);
      axis.before = window.pad_type == "same" ? all / 2 : all - all / 2;
      axis.after = all - axis.before;
    }
  }
  return axes;
}

Axes axes_of_conv(const Node& node) {
  auto op = view<mil::conv>(node);
  Value weight = node.input("weight");
  if (!weight.literal() || (node.input("bias") && !node.input("bias").literal())) return {};
  Sizes sizes = known_sizes(weight.shape());
  return axes_of(node, node.input("x"),
                 {Sizes(sizes.begin() + 2, sizes.end()), op.strides, op.dilations, op.pad, op.pad_type});
}

bool has_pad(const Axes& axes) {
  return std::any_of(axes.begin(), axes.end(), [](const Axis& a) { return a.before > 0 || a.after > 0; });
}

// Zeros before and after the spatial axes.
Value padded(Builder& g, Value x, const Axes& axes) {
  if (!has_pad(axes)) return x;
  Ints amounts(4, 0);
  for (const Axis& axis : axes) amounts.insert(amounts.end(), {axis.before, axis.after});
  return g.add(mil::pad{.x = x, .pad = g.ints(amounts)});
}

// x[.., begin:end:stride, ..] of one axis.
Value sliced(Builder& g, Value x, std::size_t axis, std::int64_t begin, std::int64_t end, std::int64_t stride = 1) {
  if (!x || (begin == 0 && stride == 1 && x.shape()[axis] == Dim(end))) return x;
  Ints begins(x.rank(), 0), ends = sizes_of(x), strides(x.rank(), 1), open(x.rank(), 0);
  open[0] = !x.shape()[0].known();
  begins[axis] = begin;
  ends[axis] = end;
  strides[axis] = stride;
  mil::slice_by_index slice{.x = x, .begin = g.ints(begins), .end = g.ints(ends)};
  if (stride != 1) slice.stride = strides;
  if (open[0]) slice.end_mask = open;
  return g.add(slice);
}

Ints pads_of(const Axes& axes) {
  Ints pads;
  for (const Axis& axis : axes) pads.insert(pads.end(), {axis.before, axis.after});
  return pads;
}

// The convolution of axes whose padding may be in the op.
Value convolved(Builder& g, Value x, Value weight, Value bias, const Axes& axes, int groups) {
  Ints strides, dilations;
  for (const Axis& axis : axes) {
    strides.push_back(axis.stride);
    dilations.push_back(axis.dilation);
  }
  mil::conv op{
      .x = x, .weight = weight, .strides = strides, .pad_type = "valid", .dilations = dilations, .groups = groups};
  if (bias) op.bias = bias;
  if (has_pad(axes)) {
    op.pad_type = std::string("custom");
    op.pad = pads_of(axes);
  }
  return g.add(op);
}

// [.., s*n, ..] at `axis` as [.., c*s, .., n, ..] with the s next elements as channels, in steps of rank 5 at most. A
// weight's steps are folded as they are made.
Value stride_to_channels(Builder& g, Value x, std::size_t axis, std::int64_t stride, bool weight) {
  if (!x) return x;
  auto step = [&](const auto& op) { return weight ? folded(g, g.add(op)) : g.add(op); };
  Sizes sizes = sizes_of(x), apart, together = sizes;
  Ints order;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    apart.push_back(i == axis ? sizes[i] / stride : sizes[i]);
    if (i == axis) apart.push_back(stride);
  }
  for (std::size_t i = 0; i < apart.size(); ++i) {
    if (i == axis + 1) continue;
    order.push_back(std::int64_t(i));
    if (i == 1) order.push_back(std::int64_t(axis + 1));
  }
  together[1] *= stride;
  together[axis] /= stride;
  Value split = step(mil::reshape{.x = x, .shape = g.ints(apart)});
  Value turned = step(mil::transpose{.x = split, .perm = order});
  return step(mil::reshape{.x = turned, .shape = g.ints(together)});
}

// A weight whose kernel is filled with zeros to a multiple of the stride.
Value filled_kernel(Builder& g, Value weight, std::size_t axis, std::int64_t stride) {
  std::int64_t kernel = weight.shape()[axis].value(), missing = (stride - kernel % stride) % stride;
  if (!missing) return weight;
  Ints amounts(2 * weight.rank(), 0);
  amounts[2 * axis + 1] = missing;
  return folded(g, g.add(mil::pad{.x = weight, .pad = g.ints(amounts)}));
}

}  // namespace

Value fold_strides(const Node& node, Builder& g, const EngineLimits& limits) {
  if (!is<mil::conv>(&node)) return {};
  Axes axes = axes_of_conv(node);
  Value x = node.input("x"), weight = node.input("weight");
  if (x.rank() > 4) return {};  // rank 6 on the way
  bool any = false;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    Axis& axis = axes[i];
    bool odd = axis.stride > widest_stride || !product_of_twos_and_threes(axis.stride);
    bool wide = axis.kernel > limits.kernel && axis.stride > 1;
    if ((!odd && !wide) || axis.dilation != 1 || !x || !weight) continue;
    std::int64_t stride = axis.stride, kernel = (axis.kernel + stride - 1) / stride;
    // What the windows see and no more: a multiple of the stride.
    std::int64_t needed = stride * (axis.positions - 1 + kernel), have = axis.size + axis.before;
    Axes only(axes.size());
    only[i].before = axis.before;
    only[i].after = std::max<std::int64_t>(needed - have, 0);
    x = sliced(g, padded(g, x, only), i + 2, 0, needed);
    x = stride_to_channels(g, x, i + 2, stride, false);
    weight = stride_to_channels(g, filled_kernel(g, weight, i + 2, stride), i + 2, stride, true);
    if (!x || !weight) return {};
    axis = Axis{.size = needed / stride, .kernel = kernel, .positions = axis.positions};
    any = true;
  }
  if (!any) return {};
  return convolved(g, x, weight, node.input("bias"), axes, int(std::get<std::int64_t>(node.attribute("groups"))));
}

namespace {

// A piece of the kernel along every axis: first element and length.
using Piece = std::vector<std::pair<std::int64_t, std::int64_t>>;

std::vector<Piece> pieces_of(const Axes& axes, const EngineLimits& limits) {
  std::vector<Piece> pieces{{}};
  for (const Axis& axis : axes) {
    // A single element has no dilation.
    std::int64_t most = product_of_twos_and_threes(axis.dilation) ? limits.kernel : 1;
    std::int64_t count = (axis.kernel + most - 1) / most, length = (axis.kernel + count - 1) / count;
    std::vector<Piece> more;
    for (const Piece& piece : pieces)
      for (std::int64_t begin = 0; begin < axis.kernel; begin += length) {
        more.push_back(piece);
        more.back().emplace_back(begin, std::min(length, axis.kernel - begin));
      }
    pieces = std::move(more);
    if (std::int64_t(pieces.size()) > most_pieces) break;
  }
  return pieces;
}

}  // namespace

Value split_kernel(const Node& node, Builder& g, const EngineLimits& limits) {
  if (!is<mil::conv>(&node)) return {};
  Axes axes = axes_of_conv(node);
  if (axes.empty()) return {};
  std::vector<Piece> pieces = pieces_of(axes, limits);
  if (pieces.size() == 1 || std::int64_t(pieces.size()) > most_pieces) return {};
  Value whole = padded(g, node.input("x"), axes), sum;
  for (const Piece& piece : pieces) {
    Value x = whole, weight = node.input("weight");
    Axes part = axes;
    for (std::size_t i = 0; i < axes.size(); ++i) {
      auto [begin, length] = piece[i];
      part[i].kernel = length;
      part[i].before = part[i].after = 0;
      std::int64_t first = begin * axes[i].dilation;
      if (length == 1) part[i].dilation = 1;
      std::int64_t end = first + (axes[i].positions - 1) * axes[i].stride + part[i].reach();
      if (length == axes[i].kernel) {
        first = 0;
        end = x.shape()[i + 2].value();
      }
      x = sliced(g, x, i + 2, first, end);
      if (length < axes[i].kernel) weight = folded(g, sliced(g, weight, i + 2, begin, begin + length));
      if (!x || !weight) return {};
    }
    Value bias = sum ? Value() : node.input("bias");
    Value one = convolved(g, x, weight, bias, part, int(std::get<std::int64_t>(node.attribute("groups"))));
    sum = sum ? g.add(mil::add{.x = sum, .y = one}) : one;
  }
  return sum;
}

namespace {

bool pools(const Node& node) { return is<mil::avg_pool>(&node) || is<mil::max_pool>(&node); }

// The pooling with other windows.
Value pooled(Builder& g, const Node& node, Value x, const Ints& kernel, const Ints& strides, const Ints& pad) {
  std::string type = pad.empty() ? "valid" : "custom";
  if (is<mil::max_pool>(&node)) {
    mil::max_pool op{.x = x, .kernel_sizes = kernel, .strides = strides, .pad_type = type};
    if (!pad.empty()) op.pad = pad;
    return g.add(op);
  }
  bool exclude = std::get<bool>(node.attribute("exclude_padding_from_average"));
  mil::avg_pool op{
      .exclude_padding_from_average = exclude, .x = x, .kernel_sizes = kernel, .strides = strides, .pad_type = type};
  if (!pad.empty()) op.pad = pad;
  return g.add(op);
}

// Windows side by side whose size is a product of 2 and 4: first groups of 4 and 2, then groups of those.
Value pooled_in_groups(Builder& g, const Node& node, Axes axes) {
  Value x = node.input("x");
  for (int step = 0; step < 12; ++step) {
    Ints kernel;
    bool more = false;
    for (Axis& axis : axes) {
      std::int64_t by = axis.kernel % 4 == 0 ? 4 : axis.kernel % 2 == 0 ? 2 : 1;
      if (by == 1 && axis.kernel > 1) return {};
      kernel.push_back(by);
      axis.kernel /= by;
      more |= axis.kernel > 1;
    }
    x = pooled(g, node, x, kernel, kernel, {});
    if (!more) return x;
  }
  return {};
}

}  // namespace

Value pool_in_steps(const Node& node, Builder& g, const EngineLimits&) {
  if (!pools(node)) return {};
  Ints kernel = std::get<Ints>(node.attribute("kernel_sizes")), strides = std::get<Ints>(node.attribute("strides"));
  Axes axes = axes_of(node, node.input("x"),
                      {Sizes(kernel.begin(), kernel.end()),
                       strides,
                       {},
                       std::get<Ints>(node.attribute("pad")),
                       std::get<std::string>(node.attribute("pad_type"))});
  auto odd = [](const Axis& a) { return (a.stride != 1 && a.stride != 2 && a.stride != 4) || a.kernel > widest_pool; };
  if (axes.empty() || std::none_of(axes.begin(), axes.end(), odd)) return {};
  bool pad = has_pad(axes);
  Ints spatial;
  bool everything = !pad, side_by_side = !pad, steps = true;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const Axis& a = axes[i];
    spatial.push_back(std::int64_t(i + 2));
    everything &= a.kernel == a.size && a.positions == 1;
    side_by_side &= a.kernel == a.stride && a.positions * a.stride == a.size;
    // The stride-th positions of stride 1 are there, and the windows are not too wide.
    steps &= a.kernel <= widest_pool && a.size + a.before + a.after - a.kernel >= a.stride * (a.positions - 1);
  }
  Value x = node.input("x");
  if (everything && is<mil::max_pool>(&node)) return g.add(mil::reduce_max{.x = x, .axes = spatial, .keep_dims = true});
  if (everything) return g.add(mil::reduce_mean{.x = x, .axes = spatial, .keep_dims = true});
  if (side_by_side)
    if (Value grouped = pooled_in_groups(g, node, axes)) return grouped;
  if (!steps) return {};
  Value all = pooled(g, node, x, kernel, Ints(axes.size(), 1), pad ? pads_of(axes) : Ints{});
  for (std::size_t i = 0; i < axes.size() && all; ++i) {
    std::int64_t end = axes[i].stride * (axes[i].positions - 1) + 1;
    all = sliced(g, all, i + 2, 0, end, axes[i].stride);
  }
  return all;
}

}  // namespace pomona::rewrite
