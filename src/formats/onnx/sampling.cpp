#include "formats/onnx/sampling.h"

#include <array>

#include "base/half.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/image.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::onnx {

Image::Image(Lowering& g, Value x) : g_(&g) {
  if (!x || x.rank() < 3) return;
  batch_ = x.shape()[0];
  channels_ = x.shape()[1];
  Dim count = 1;
  for (std::size_t i = 2; i < x.rank(); ++i) {
    spatial_.push_back(x.shape()[i]);
    count = count * x.shape()[i];
    sizes_.push_back(g.cast(g.dim(x, i), DType::fp32));
  }
  rows_ = g.transpose(g.reshape(x, Shape{batch_, channels_, count}), {0, 2, 1});
}

Value Image::at(const Values& places, bool masked) const {
  Lowering& g = *g_;
  Value index, inside;
  for (std::size_t i = 0; i < places.size(); ++i) {
    Value last = g.minus(sizes_[i], 1), place = between(g, places[i], g.number(sizes_[i], 0), last);
    if (masked) {
      Value in = g.add(mil::equal{.x = place, .y = places[i]});
      inside = inside ? g.add(mil::logical_and{.x = inside, .y = in}) : in;
    }
    Value whole = g.cast(place, DType::int32);
    index = index ? g.plus(g.times(index, g.cast(sizes_[i], DType::int32)), whole) : whole;
  }
  Value read = g.add(mil::gather{.x = rows_, .indices = index, .axis = 1, .batch_dims = 1});
  if (!masked) return read;
  return g.times(read, g.expand_dims(g.cast(inside, read ? read.dtype() : DType::fp32), {2}));
}

Value Image::linear(const Values& places) const {
  Lowering& g = *g_;
  Values low, part;
  for (Value place : places) {
    low.push_back(g.add(mil::floor{.x = place}));
    part.push_back(g.minus(place, low.back()));
  }
  Value sum;
  for (std::size_t corner = 0; corner < std::size_t(1) << places.size(); ++corner) {
    Values at_corner;
    Value weight;
    for (std::size_t i = 0; i < places.size(); ++i) {
      bool upper = corner >> i & 1;
      at_corner.push_back(upper ? g.plus(low[i], 1) : low[i]);
      Value w = upper ? part[i] : g.minus(g.number(part[i], 1), part[i]);
      weight = weight ? g.times(weight, w) : w;
    }
    Value read = at(at_corner, true);
    if (!read) return {};
    Value term = g.times(read, g.expand_dims(g.cast(weight, read.dtype()), {2}));
    sum = sum ? g.plus(sum, term) : term;
  }
  return sum;
}

Value Image::channels_first(Value y, const Shape& spatial) const {
  Shape shape{batch_, channels_};
  shape.insert(shape.end(), spatial.begin(), spatial.end());
  return g_->reshape(g_->transpose(y, {0, 2, 1}), shape);
}

Value between(Lowering& g, Value x, Value low, Value high) {
  return g.add(mil::minimum{.x = g.add(mil::maximum{.x = x, .y = low}), .y = high});
}

Value mirrored(Lowering& g, Value x, Value low, Value high) {
  Value range = g.minus(high, low), twice = g.times(range, 2);
  // An interval without extent has one place only; any divisor will do.
  Value one = g.number(twice, 1),
        divisor = g.select(g.add(mil::equal{.x = twice, .y = g.number(twice, 0)}), one, twice);
  Value along = g.add(mil::mod{.x = g.minus(x, low), .y = divisor});
  return g.plus(low, g.add(mil::minimum{.x = along, .y = g.minus(twice, along)}));
}

namespace {

struct GridSample {
  ONNX_IN(X);
  ONNX_IN(grid);
  ONNX_ATTR(align_corners, bool) = false;
  ONNX_ATTR(mode, std::string) = "linear";
  ONNX_ATTR(padding_mode, std::string) = "zeros";
  Status lower(Lowering& g) const {
    std::size_t dims = X.rank() - 2;
    POM_REQUIRE(X.rank() == grid.rank() && (dims == 2 || dims == 3), "the input has rank {}, the grid rank {}",
                X.rank(), grid.rank());
    bool linear = *mode == "linear" || *mode == "bilinear", cubic = *mode == "cubic" || *mode == "bicubic";
    POM_REQUIRE(linear || cubic || *mode == "nearest", "mode is '{}'", *mode);
    POM_REQUIRE(*padding_mode == "zeros" || *padding_mode == "border" || *padding_mode == "reflection",
                "padding_mode is '{}'", *padding_mode);
    if (dims == 2 && !cubic) return lower_resample(g, linear);
    return lower_gathers(g, dims, linear, cubic);
  }

 private:
  Status lower_resample(Lowering& g, bool linear) const {
    std::string padding = *padding_mode == "zeros"    ? "constant"
                          : *padding_mode == "border" ? "border"
                          : align_corners             ? "reflection"
                                                      : "symmetric";
    return g.result(g.add(mil::resample{.x = X,
                                        .coordinates = grid,
                                        .sampling_mode = linear ? "bilinear" : "nearest",
                                        .padding_mode = padding,
                                        .padding_value = 0.0,
                                        .coordinates_mode = "normalized_minus_one_to_one",
                                        .align_corners = *align_corners}));
  }
  Status lower_gathers(Lowering& g, std::size_t dims, bool linear, bool cubic) const {
    Image image(g, X);
    Dim points = 1;
    Shape spatial;
    for (std::size_t i = 1; i + 1 < grid.rank(); ++i) {
      spatial.push_back(grid.shape()[i]);
      points = points * grid.shape()[i];
    }
    Value flat = g.cast(g.reshape(grid, Shape{grid.shape()[0], points, int(dims)}), DType::fp32);
    Values places;
    for (std::size_t i = 0; i < dims; ++i) {
      auto last = std::int64_t(dims - 1 - i);  // x comes first in the grid, last in the image
      Value v = g.squeeze(g.slice(flat, 2, last, last + 1), {2});
      places.push_back(prepared(g, v, image.size(i), linear, cubic));
    }
    if (!g.status()) return g.status();
    Value y = cubic ? cubic_read(g, image, places) : linear ? image.linear(places) : image.at(places, true);
    return g.result(image.channels_first(y, spatial), X.elem());
  }
  // From -1..1 to pixels, and into the image as the padding says.
  Value prepared(Lowering& g, Value v, Value size, bool linear, bool cubic) const {
    Value last = g.minus(size, 1), zero = g.number(size, 0);
    Value x =
        align_corners ? g.times(g.over(g.plus(v, 1), 2), last) : g.over(g.minus(g.times(g.plus(v, 1), size), 1), 2);
    if (!linear && !cubic) x = g.add(mil::round{.x = x});
    // Cubic reads keep their fractions outside, too, where each of the sixteen places is moved in by itself.
    if (*padding_mode == "border") return cubic ? x : between(g, x, zero, last);
    return *padding_mode == "reflection" ? reflected(g, x, size) : x;
  }
  Value reflected(Lowering& g, Value x, Value size) const {
    Value low = align_corners ? g.number(size, 0) : g.number(size, -0.5);
    Value high = g.minus(size, align_corners ? 1 : 0.5);
    return mirrored(g, x, low, high);
  }
  Value cubic_read(Lowering& g, const Image& image, const Values& places) const {
    std::vector<std::array<Value, 4>> weights, at;
    for (std::size_t i = 0; i < places.size(); ++i) {
      Value low = g.add(mil::floor{.x = places[i]}), t = g.minus(places[i], low);
      weights.push_back({outer(g, g.plus(t, 1)), inner(g, t), inner(g, g.minus(g.number(t, 1), t)),
                         outer(g, g.minus(g.number(t, 2), t))});
      std::array<Value, 4> near;
      for (int k = 0; k < 4; ++k) {
        Value p = g.plus(low, k - 1);
        // Mirroring whole places about half pixels gives whole places again.
        near[std::size_t(k)] = *padding_mode == "reflection" ? reflected(g, p, image.size(i)) : p;
      }
      at.push_back(near);
    }
    Value sum;
    for (std::size_t tap = 0; tap < std::size_t(1) << 2 * places.size(); ++tap) {
      Values spot;
      Value weight;
      for (std::size_t i = 0; i < places.size(); ++i) {
        std::size_t k = tap >> 2 * i & 3;
        spot.push_back(at[i][k]);
        weight = weight ? g.times(weight, weights[i][k]) : weights[i][k];
      }
      Value read = image.at(spot, *padding_mode == "zeros");
      if (!read) return {};
      Value term = g.times(read, g.expand_dims(g.cast(weight, read.dtype()), {2}));
      sum = sum ? g.plus(sum, term) : term;
    }
    return sum;
  }
  // Keys' kernel with a = -0.75, at distances below 1 and between 1 and 2.
  static Value inner(Lowering& g, Value t) {
    return g.plus(g.times(g.times(g.minus(g.times(t, 1.25), 2.25), t), t), 1);
  }
  static Value outer(Lowering& g, Value t) {
    Value a = g.plus(g.times(t, -0.75), 3.75);
    return g.plus(g.times(g.plus(g.times(a, t), -6), t), 3);
  }
};

struct RoiAlign {
  ONNX_IN(X);
  ONNX_IN(rois);
  ONNX_IN(batch_indices);
  ONNX_ATTR(coordinate_transformation_mode, std::string, .since = 16) = "half_pixel";
  ONNX_ATTR(mode, std::string) = "avg";
  ONNX_ATTR(output_height, int) = 1;
  ONNX_ATTR(output_width, int) = 1;
  ONNX_ATTR(sampling_ratio, int) = 0;
  ONNX_ATTR(spatial_scale, float) = 1;

  // Along one axis: where it is sampled [R, bins * samples], and which samples count [R, samples] (all, when empty).
  struct Axis {
    Value low, part, inside, counts, samples;
    Dim bins = 1, each = 1;
  };
  Status lower(Lowering& g) const {
    POM_REQUIRE(X.rank() == 4 && rois.rank() == 2 && batch_indices.rank() == 1,
                "X, rois and batch_indices have the ranks {}, {} and {}", X.rank(), rois.rank(), batch_indices.rank());
    POM_REQUIRE(*mode == "avg" || *mode == "max", "mode is '{}'", *mode);
    POM_REQUIRE(
        *coordinate_transformation_mode == "half_pixel" || *coordinate_transformation_mode == "output_half_pixel",
        "coordinate_transformation_mode is '{}'", *coordinate_transformation_mode);
    POM_REQUIRE(*output_height > 0 && *output_width > 0 && *sampling_ratio >= 0 && *sampling_ratio < 1024,
                "the output is {} by {}, sampling_ratio {}", *output_height, *output_width, *sampling_ratio);
    Value box = g.cast(rois, DType::fp32);
    Axis rows = axis(g, box, 1, *output_height, 2), columns = axis(g, box, 0, *output_width, 3);
    if (!g.status()) return g.status();
    return g.result(pooled(g, rows, columns), X.elem());
  }

 private:
  bool half() const { return *coordinate_transformation_mode == "half_pixel"; }
  Axis axis(Lowering& g, Value box, int first, int bins, std::size_t dim) const {
    Axis a;
    a.bins = bins;
    auto edge = [&](int i) {
      Value e = g.times(g.slice(box, 1, i, i + 1), double(*spatial_scale));
      return half() && g.opset() >= 16 ? g.minus(e, 0.5) : e;
    };
    Value begin = edge(first), length = g.minus(edge(first + 2), begin);
    if (!half() || g.opset() < 16) length = g.add(mil::maximum{.x = length, .y = g.number(length, 1)});
    Value bin = g.over(length, double(bins)), places;
    if (*sampling_ratio > 0) {
      a.each = *sampling_ratio;
      a.samples = g.number(bin, double(*sampling_ratio));
      std::vector<double> steps;
      for (int i = 0; i < *sampling_ratio; ++i) steps.push_back(i + 0.5);
      places = g.constant(Tensor::from_numbers(DType::fp32, {1, std::int64_t(*sampling_ratio)}, steps));
    } else {
      // As many samples as pixels in a bin, different from box to box: all get the largest number, and some do not
      // count.
      a.samples = g.add(mil::maximum{.x = g.add(mil::ceil{.x = bin}), .y = g.number(bin, 0)});
      Value most = g.add(mil::maximum{
          .x = g.add(mil::reduce_max{.x = a.samples, .axes = Ints{0, 1}, .keep_dims = false}), .y = g.number(bin, 1)});
      Value line =
          g.expand_dims(g.add(mil::range_1d{.end = most, .start = g.number(bin, 0), .step = g.number(bin, 1)}), {0});
      if (!line) return a;
      a.each = line.shape()[1];
      a.counts = g.cast(g.add(mil::less{.x = line, .y = a.samples}), DType::fp32);
      places = g.plus(line, 0.5);
    }
    // begin + (p + (i + 0.5) / samples) * bin: [R, bins, samples]
    std::vector<double> numbers;
    for (int p = 0; p < bins; ++p) numbers.push_back(p);
    Value bin_starts = g.times(g.constant(Tensor::from_numbers(DType::fp32, {1, bins}, numbers)), bin);
    Value safe = g.add(mil::maximum{.x = a.samples, .y = g.number(bin, 1)});
    Value inner = g.over(g.times(places, bin), safe);
    Value all = g.plus(g.plus(g.expand_dims(bin_starts, {2}), g.expand_dims(inner, {1})), g.expand_dims(begin, {2}));
    if (!all) return a;
    Value place = g.reshape(all, Shape{all.shape()[0], a.bins * a.each});
    Value size = g.cast(g.dim(X, dim), DType::fp32);
    a.inside = g.cast(g.add(mil::logical_and{.x = g.add(mil::greater_equal{.x = place, .y = g.number(place, -1)}),
                                             .y = g.add(mil::less_equal{.x = place, .y = size})}),
                      DType::fp32);
    place = between(g, place, g.number(place, 0), g.minus(size, 1));
    a.low = g.add(mil::floor{.x = place});
    a.part = g.minus(place, a.low);
    return a;
  }
  Value pooled(Lowering& g, const Axis& rows, const Axis& columns) const {
    Value height = g.dim(X, 2), width = g.dim(X, 3);
    Dim channels = X.shape()[1], boxes = rois.shape()[0];
    Dim nx = columns.bins * columns.each;
    // [N*H*W, C]
    Value table = g.reshape(g.transpose(X, {0, 2, 3, 1}), Shape{X.shape()[0] * X.shape()[2] * X.shape()[3], channels});
    Value first = g.times(batch_indices, g.times(height, width));
    bool largest = *mode == "max";
    Value result;
    for (int corner = 0; corner < 4; ++corner) {
      auto side = [&](const Axis& a, Value size, bool upper) {
        Value at = g.cast(upper ? g.plus(a.low, 1) : a.low, DType::int32);
        Value weight = g.times(upper ? a.part : g.minus(g.number(a.part, 1), a.part), a.inside);
        return std::pair(g.add(mil::minimum{.x = at, .y = g.minus(size, 1)}), weight);
      };
      auto [y, wy] = side(rows, height, corner & 2);
      auto [x, wx] = side(columns, width, corner & 1);
      Value index =
          g.plus(g.plus(g.expand_dims(g.times(y, width), {2}), g.expand_dims(x, {1})), g.expand_dims(first, {1, 2}));
      Value weight = g.times(g.expand_dims(wy, {2}), g.expand_dims(wx, {1}));
      Value read = g.add(mil::gather{.x = table, .indices = index, .axis = 0});
      if (!read) return {};
      Value term = g.times(read, g.expand_dims(g.cast(weight, read.dtype()), {3}));
      result = !result ? term : largest ? g.add(mil::maximum{.x = result, .y = term}) : g.plus(result, term);
    }
    // [R, ny, nx, C] to bins: the samples of a bin along one axis, then along the other.
    result = reduced(g, g.reshape(result, Shape{boxes * rows.bins, rows.each, nx * channels}), rows, boxes, largest);
    result = reduced(g, g.reshape(result, Shape{boxes * rows.bins * columns.bins, columns.each, channels}), columns,
                     boxes, largest);
    return g.transpose(g.reshape(result, Shape{boxes, rows.bins, columns.bins, channels}), {0, 3, 1, 2});
  }
  // Over axis 1 of v [R * .., samples, ..].
  Value reduced(Lowering& g, Value v, const Axis& a, Dim boxes, bool largest) const {
    if (!v) return {};
    Shape own = v.shape();
    Value grouped, counts;
    if (a.counts) {
      // Box by box: [R, .., samples * ..] would lose the axis; so the mask is repeated for the rows of a box.
      auto repeats = exact_div(own[0], boxes);
      if (!repeats || !repeats->known()) return {};
      Value mask = g.expand_dims(g.cast(a.counts, v.dtype()), {1, 3});
      grouped = g.reshape(v, Shape{boxes, *repeats, own[1], own[2]});
      counts = mask;
      if (largest) {
        Value low = g.number(v, v.dtype() == DType::fp16 ? -largest_half : -3.4e38);
        Value on = g.add(mil::greater{.x = mask, .y = g.number(mask, 0)});
        grouped = g.select(on, grouped, low);
        grouped = g.add(mil::reduce_max{.x = grouped, .axes = Ints{2}, .keep_dims = false});
      } else {
        Value divisor = g.cast(g.add(mil::maximum{.x = a.samples, .y = g.number(a.samples, 1)}), v.dtype());
        grouped = g.over(g.add(mil::reduce_sum{.x = g.times(grouped, mask), .axes = Ints{2}, .keep_dims = false}),
                         g.expand_dims(divisor, {1}));
      }
      return g.reshape(grouped, Shape{own[0], own[2]});
    }
    if (largest) return g.add(mil::reduce_max{.x = v, .axes = Ints{1}, .keep_dims = false});
    return g.add(mil::reduce_mean{.x = v, .axes = Ints{1}, .keep_dims = false});
  }
};

// A convolution whose taps are moved by offsets that are computed.
struct DeformConv {
  ONNX_IN(X);
  ONNX_IN(W);
  ONNX_IN(offset);
  ONNX_OPTIONAL(B);
  ONNX_OPTIONAL(mask);
  ONNX_ATTR(dilations, Ints);
  ONNX_ATTR(group, int) = 1;
  ONNX_ATTR(kernel_shape, Ints);
  ONNX_ATTR(offset_group, int) = 1;
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    POM_REQUIRE(X.rank() == 4 && W.rank() == 4 && offset.rank() == 4, "only images (rank 4) are supported, not rank {}",
                X.rank());
    POM_REQUIRE(all_known(W.shape()) && offset.shape()[2].known() && offset.shape()[3].known() &&
                    X.shape()[1].known() && *group > 0 && *offset_group > 0,
                "weights and offsets need known sizes");
    auto entry = [](const Ints& list, std::size_t i, std::int64_t standard) {
      return i < list.size() ? list[i] : standard;
    };
    std::int64_t kh = W.shape()[2].value(), kw = W.shape()[3].value(), taps = kh * kw;
    std::int64_t oh = offset.shape()[2].value(), ow = offset.shape()[3].value(), points = oh * ow;
    std::int64_t channels = X.shape()[1].value(), groups = *offset_group, out = W.shape()[0].value();
    POM_REQUIRE(offset.shape()[1] == 2 * groups * taps && channels % groups == 0 && channels % *group == 0 &&
                    out % *group == 0 && taps * points < (1 << 26),
                "offset {} does not fit the weight {}", to_string(offset.shape()), to_string(W.shape()));
    Dim batch = X.shape()[0], images = batch * groups;
    Image image(g, g.reshape(X, Shape{images, channels / groups, X.shape()[2], X.shape()[3]}));
    // Where the taps are without offsets, [1, taps, points].
    Value moved = g.cast(g.reshape(offset, Shape{images, taps, 2, points}), DType::fp32);
    Values places;
    for (std::size_t d = 0; d < 2; ++d) {
      std::vector<double> base;
      for (std::int64_t tap = 0; tap < taps; ++tap)
        for (std::int64_t p = 0; p < points; ++p) {
          std::int64_t k = d == 0 ? tap / kw : tap % kw, o = d == 0 ? p / ow : p % ow;
          base.push_back(double(o * entry(strides, d, 1) - entry(pads, d, 0) + k * entry(dilations, d, 1)));
        }
      auto at = std::int64_t(d);
      Value shift = g.squeeze(g.slice(moved, 2, at, at + 1), {2});
      Value place = g.plus(shift, g.constant(Tensor::from_numbers(DType::fp32, {1, taps, points}, base)));
      places.push_back(g.reshape(place, Shape{images, taps * points}));
    }
    Value read = image.linear(places);  // [N * groups, taps * points, C / groups]
    if (!read) return g.status();
    if (mask) read = g.times(read, g.reshape(mask, Shape{images, taps * points, 1}));
    std::int64_t inner = channels / groups;
    // [N, groups, taps, points, inner] to [N, points, groups, inner, taps]
    read = g.transpose(g.reshape(read, Shape{batch, groups, taps, points, inner}), {0, 3, 1, 4, 2});
    std::int64_t width = channels / *group * taps;
    read = g.transpose(g.reshape(read, Shape{batch, points, *group, width}), {0, 2, 1, 3});
    Value weight = g.reshape(W, Shape{1, *group, out / *group, width});
    Value y = g.add(mil::matmul{.x = weight, .y = read, .transpose_y = true});
    y = g.reshape(y, Shape{batch, out, oh, ow});
    if (B) y = g.plus(y, g.per_channel(B, 4));
    return g.result(y, X.elem());
  }
};

}  // namespace

Rules sampling_chapter() {
  return {
      rule<DeformConv>("DeformConv"),
      rule<GridSample>("GridSample"),
      rule<RoiAlign>("RoiAlign"),
  };
}

}  // namespace pomona::onnx
