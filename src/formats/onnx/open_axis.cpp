#include "formats/onnx/open_axis.h"

#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
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

}  // namespace

Result<Value> resize_open(Lowering& g, Value x, const ResizeOptions& o, const OpenResize& a) {
  POM_REQUIRE(o.grid != "tf_crop_and_resize" && !o.antialias && (o.mode != "cubic" || !o.exclude_outside),
              "resizing with antialias, exclude_outside or tf_crop_and_resize needs sizes that are known");
  POM_REQUIRE(o.grid != "half_pixel_symmetric" || o.mode != "nearest" || (o.nearest != "floor" && o.nearest != "ceil"),
              "'half_pixel_symmetric' with nearest_mode '{}' is decided by the last digits of fp64, which Core ML does "
              "not have; it needs sizes that are known",
              o.nearest);
  Value points = grid_points(g, o, a);
  if (a.stays) points = g.select(a.stays, real(g, count_up(g, a.out)), points);
  if (o.mode == "nearest") return taken(g, x, clamped(g, g.cast(nearest(g, o, points), DType::int32), a.in), a.axis);
  POM_REQUIRE(is_float(x.dtype()), "integers are resized by 'nearest' only");
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
