#include "formats/onnx/open_axis.h"

#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::onnx {

Value count_up(Lowering& g, Value begin, Value end) {
  return g.add(mil::range_1d{.end = end, .start = begin, .step = g.integer(1)});
}
Value count_up(Lowering& g, Value count) { return count_up(g, g.integer(0), count); }

Value taken(Lowering& g, Value x, Value places, std::size_t axis) {
  return g.through_numbers(x,
                           [&](Value v) { return g.add(mil::gather{.x = v, .indices = places, .axis = int(axis)}); });
}

Value sliced(Lowering& g, Value x, std::size_t axis, Value begin, Value end) {
  if (!x) return {};
  Ints open(x.rank(), 1);
  open[axis] = 0;
  Values from(x.rank(), g.ints({0})), to = from;
  from[axis] = g.expand_dims(begin, {0});
  to[axis] = g.expand_dims(end, {0});
  return g.add(mil::slice_by_index{.x = x,
                                   .begin = g.concat(from, 0),
                                   .end = g.concat(to, 0),
                                   .stride = Ints(x.rank(), 1),
                                   .begin_mask = open,
                                   .end_mask = open});
}

namespace {

Value real(Lowering& g, Value x) { return g.cast(x, DType::fp32); }
Value floored(Lowering& g, Value x) { return g.add(mil::floor{.x = x}); }
Value least(Lowering& g, Value a, Value b) { return g.add(mil::minimum{.x = a, .y = b}); }
Value most(Lowering& g, Value a, Value b) { return g.add(mil::maximum{.x = a, .y = b}); }
Value clamped(Lowering& g, Value places, Value size) {
  return most(g, least(g, places, g.minus(size, 1)), g.integer(0));
}

// Where in the input the output's samples lie, step by step as ONNX Runtime computes it in fp32.
Value grid_points(Lowering& g, const ResizeOptions& o, const OpenResize& a) {
  Value i = real(g, count_up(g, a.out)), in = real(g, a.in), out = real(g, a.out);
  if (o.grid == "align_corners") {
    // With one sample it lies at 0, whatever is divided by.
    constexpr double never_zero = 1e-6;
    Value steps = g.minus(a.length, 1);
    return g.over(g.times(i, g.minus(in, 1)), most(g, steps, g.number(steps, never_zero)));
  }
  if (o.grid == "asymmetric") return g.over(i, a.scale);
  Value middle = g.over(g.plus(i, 0.5), a.scale);
  if (o.grid == "half_pixel_symmetric") {
    Value ratio = g.over(out, g.times(a.scale, in)), one = g.number(ratio, 1);
    return g.minus(g.plus(g.times(g.over(in, 2), g.minus(one, ratio)), middle), 0.5);
  }
  Value points = g.minus(middle, 0.5);
  if (o.grid != "pytorch_half_pixel") return points;
  Value several = real(g, g.add(mil::greater{.x = a.out, .y = g.integer(1)}));
  return g.times(points, several);
}

Value nearest(Lowering& g, const ResizeOptions& o, Value points) {
  if (o.nearest == "round_prefer_floor") return g.add(mil::ceil{.x = g.minus(points, half_and_a_bit)});
  if (o.nearest == "round_prefer_ceil") return floored(g, g.plus(points, half_and_a_bit));
  return o.nearest == "floor" ? floored(g, points) : g.add(mil::ceil{.x = points});
}

// The cubic kernel at a distance in [0, 1] or [1, 2].
Value cubic(Lowering& g, double a, Value d, bool near) {
  auto times_plus = [&](Value x, double plus) { return g.plus(g.times(x, d), plus); };
  if (near) return times_plus(g.times(g.plus(g.times(d, a + 2), -(a + 3)), d), 1);
  return g.plus(g.times(times_plus(g.plus(g.times(d, a), -5 * a), 8 * a), d), -4 * a);
}

// The weight of a sample at a distance, in fp32.
Value weight_at(Lowering& g, const ResizeOptions& o, Value distance) {
  Value d = g.add(mil::abs{.x = distance}), zero = g.number(d, 0);
  if (o.mode == "linear") return most(g, g.minus(g.number(d, 1), d), zero);
  Value far = g.select(g.add(mil::less{.x = d, .y = g.number(d, 2)}), cubic(g, o.cubic_a, d, false), zero);
  return g.select(g.add(mil::less_equal{.x = d, .y = g.number(d, 1)}), cubic(g, o.cubic_a, d, true), far);
}

// As a product with the matrix of all weights, [out, in] and some samples beyond either end, which repeat the last
// ones.
Value resize_by_matrix(Lowering& g, Value x, const ResizeOptions& o, const OpenResize& a, Value points) {
  Value one = g.scalar(DType::fp32, 1), stretch = o.antialias ? least(g, a.scale, one) : one;
  Value reach = g.over(g.times(one, o.mode == "cubic" ? 2 : 1), stretch);
  Value beyond = g.cast(g.plus(g.add(mil::ceil{.x = reach}), 1), DType::int32);
  Value places = count_up(g, g.minus(g.integer(0), beyond), g.plus(a.in, beyond));
  Value apart = g.minus(g.expand_dims(real(g, places), {0}), g.expand_dims(points, {1}));
  Value weights = weight_at(g, o, g.times(apart, stretch));
  if (o.exclude_outside) {
    Value inside = g.add(mil::logical_and{.x = g.add(mil::greater_equal{.x = places, .y = g.integer(0)}),
                                          .y = g.add(mil::less{.x = places, .y = a.in})});
    weights = g.times(weights, g.expand_dims(real(g, inside), {0}));
  }
  weights = g.over(weights, g.add(mil::reduce_sum{.x = weights, .axes = Ints{1}, .keep_dims = true}));
  Value samples = taken(g, x, clamped(g, places, a.in), a.axis);
  if (!samples || !weights) return {};
  Ints perm, back(x.rank());
  for (std::size_t i = 0; i < x.rank(); ++i)
    if (i != a.axis) perm.push_back(std::int64_t(i));
  perm.push_back(std::int64_t(a.axis));
  for (std::size_t i = 0; i < perm.size(); ++i) back[std::size_t(perm[i])] = std::int64_t(i);
  Value y = g.add(mil::matmul{.x = g.transpose(samples, perm), .y = g.cast(weights, x.dtype()), .transpose_y = true});
  return g.transpose(y, back);
}

}  // namespace

Result<Value> resize_open(Lowering& g, Value x, const ResizeOptions& o, const OpenResize& a) {
  POM_REQUIRE(o.grid != "tf_crop_and_resize", "tf_crop_and_resize needs sizes that are known");
  POM_REQUIRE(o.grid != "half_pixel_symmetric" || o.mode != "nearest" || (o.nearest != "floor" && o.nearest != "ceil"),
              "'half_pixel_symmetric' with nearest_mode '{}' is decided by the last digits of fp64, which Core ML does "
              "not have; it needs sizes that are known",
              o.nearest);
  Value points = grid_points(g, o, a);
  if (a.stays) points = g.select(a.stays, real(g, count_up(g, a.out)), points);
  if (o.mode == "nearest") return taken(g, x, clamped(g, g.cast(nearest(g, o, points), DType::int32), a.in), a.axis);
  POM_REQUIRE(is_float(x.dtype()), "integers are resized by 'nearest' only");
  if (o.antialias || (o.mode == "cubic" && o.exclude_outside)) {
    Value y = resize_by_matrix(g, x, o, a, points);
    if (!y) return g.status().error();
    return y;
  }
  Value below = floored(g, points), share = g.minus(points, below), place = g.cast(below, DType::int32);
  Value rest = g.minus(g.number(share, 1), share), sum;
  bool is_cubic = o.mode == "cubic";
  struct Tap {
    std::int64_t offset;
    Value weight;
  };
  std::vector<Tap> taps{{0, rest}, {1, share}};
  if (is_cubic)
    taps = {{-1, cubic(g, o.cubic_a, g.plus(share, 1), false)},
            {0, cubic(g, o.cubic_a, share, true)},
            {1, cubic(g, o.cubic_a, rest, true)},
            {2, cubic(g, o.cubic_a, g.plus(rest, 1), false)}};
  for (const Tap& tap : taps) {
    Value part = taken(g, x, clamped(g, g.plus(place, double(tap.offset)), a.in), a.axis);
    Value weight = g.cast(tap.weight, x.dtype());
    if (!weight) return g.status().error();
    Ints axes;
    for (std::size_t i = 0; i < x.rank(); ++i)
      if (i != a.axis) axes.push_back(std::int64_t(i));
    part = g.times(part, g.expand_dims(weight, axes));
    sum = sum ? g.plus(sum, part) : part;
  }
  if (!sum) return g.status().error();
  return sum;
}

}  // namespace pomona::onnx
