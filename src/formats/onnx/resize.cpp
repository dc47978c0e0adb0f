#include <algorithm>
#include <cmath>

#include "formats/onnx/open_axis.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/image.h"
#include "ops/linear.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Resizing and sampling of images. Where MIL has an op with the same sampling grid it is used; any other resizing along
// an axis is a gather (nearest) or the product with a constant matrix of interpolation weights.
namespace pomona::onnx {
namespace {

// Resizing along one axis, with known sizes.
struct AxisResize {
  std::size_t axis = 0;
  std::int64_t in = 0, out = 0;
  double scale = 1;
  double roi_begin = 0, roi_end = 1;
};

// In fp32, as everyone computes it: 10 times 0.7 is 7, which it is not in fp64.
std::int64_t scaled_size(std::int64_t in, double scale) { return std::int64_t(std::floor(float(in) * float(scale))); }

// Where in the input output sample i lies. Where that is the edge between two samples rounding decides, so each way
// has the precision, step by step, in which ONNX Runtime computes it.
float grid_point(const ResizeOptions& o, const AxisResize& a, std::int64_t i) {
  auto x = float(i), scale = float(a.scale), in = float(a.in), out = float(a.out);
  auto begin = float(a.roi_begin), end = float(a.roi_end);
  // ONNX takes the length before it is cut to a whole number here.
  auto length = float(a.scale * double(a.in));
  if (o.grid == "align_corners") return a.out == 1 || length == 1 ? 0 : x * (in - 1) / (length - 1);
  if (o.grid == "asymmetric") return x / scale;
  if (o.grid == "tf_crop_and_resize")
    return a.out > 1 ? begin * (in - 1) + x * (end - begin) * (in - 1) / (out - 1) : 0.5f * (begin + end) * (in - 1);
  if (o.grid == "pytorch_half_pixel" && a.out <= 1) return 0;
  if (o.grid != "half_pixel_symmetric") return (x + 0.5f) / scale - 0.5f;
  float offset = in / 2 * (1 - out / (scale * in));
  return float(double(offset) + double(x + 0.5f) / double(scale) - 0.5);
}

std::int64_t nearest_index(const ResizeOptions& o, float x) {
  if (o.nearest == "round_prefer_floor") return std::int64_t(std::ceil(x - float(half_and_a_bit)));
  if (o.nearest == "round_prefer_ceil") return std::int64_t(std::floor(x + float(half_and_a_bit)));
  return std::int64_t(o.nearest == "floor" ? std::floor(x) : std::ceil(x));
}

double cubic(double a, double x) {
  x = std::fabs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

// Weights of output sample i on the input's samples, [out, in].
Tensor weight_matrix(const ResizeOptions& o, const AxisResize& a) {
  std::vector<double> matrix(std::size_t(a.out * a.in), 0.0);
  double stretch = o.antialias ? std::min(a.scale, 1.0) : 1;
  double reach = (o.mode == "cubic" ? 2 : 1) / stretch;
  for (std::int64_t i = 0; i < a.out; ++i) {
    double x = grid_point(o, a, i), sum = 0;
    auto begin = std::int64_t(std::floor(x - reach)) + 1, end = std::int64_t(std::floor(x + reach));
    for (bool normalise : {false, true}) {
      for (std::int64_t k = begin; k <= end; ++k) {
        double distance = (double(k) - x) * stretch;
        double w = o.mode == "cubic" ? cubic(o.cubic_a, distance) : std::max(0.0, 1 - std::fabs(distance));
        if (o.exclude_outside && (k < 0 || k >= a.in)) w = 0;
        if (normalise)
          matrix[std::size_t(i * a.in + std::clamp<std::int64_t>(k, 0, a.in - 1))] += w / (sum != 0 ? sum : 1);
        else
          sum += w;
      }
    }
  }
  return Tensor::from_numbers(DType::fp32, {a.out, a.in}, matrix);
}

Value resize_axis(Lowering& g, Value x, const ResizeOptions& o, const AxisResize& a) {
  if (!x) return {};
  if (o.mode == "nearest") {
    Ints places;
    for (std::int64_t i = 0; i < a.out; ++i)
      places.push_back(std::clamp<std::int64_t>(nearest_index(o, grid_point(o, a, i)), 0, a.in - 1));
    return g.through_numbers(
        x, [&](Value v) { return g.add(mil::gather{.x = v, .indices = g.ints(places), .axis = int(a.axis)}); });
  }
  Value matrix = g.cast(g.constant(weight_matrix(o, a)), x.dtype());
  Ints perm;
  for (std::size_t i = 0; i < x.rank(); ++i)
    if (i != a.axis) perm.push_back(std::int64_t(i));
  perm.push_back(std::int64_t(a.axis));
  Ints back(perm.size());
  for (std::size_t i = 0; i < perm.size(); ++i) back[std::size_t(perm[i])] = std::int64_t(i);
  Value last = g.transpose(x, perm);
  return g.transpose(g.add(mil::matmul{.x = last, .y = matrix, .transpose_y = true}), back);
}

// True where output samples of a whole-number enlargement are floor(i / scale).
bool repeats(const ResizeOptions& o, std::int64_t scale) {
  if (o.grid != "asymmetric" && o.grid != "half_pixel" && o.grid != "pytorch_half_pixel") return false;
  AxisResize a{0, 2, 2 * scale, double(scale)};
  for (std::int64_t i = 0; i < 2 * scale; ++i)
    if (std::clamp<std::int64_t>(nearest_index(o, grid_point(o, a, i)), 0, 1) != i / scale) return false;
  return true;
}

// MIL's name for the sampling grid, or empty.
std::string sampling_mode(const ResizeOptions& o) {
  if (o.grid == "align_corners") return "STRICT_ALIGN_CORNERS";
  if (o.grid == "asymmetric") return "DEFAULT";
  return o.grid == "half_pixel" ? "UNALIGN_CORNERS" : "";
}

bool whole(double v) { return v >= 1 && v == std::floor(v) && v < 1 << 20; }

// Whether MIL's upsampling does it, the input's size being unknown.
bool upsamples(Value x, const ResizeOptions& o, const Floats& scales) {
  std::size_t rank = x.rank();
  if (rank < 3 || !is_float(x.dtype())) return false;
  for (std::size_t i = 0; i < rank; ++i)
    if (scales[i] != 1 && (i + 2 < rank || !whole(scales[i]))) return false;
  if (o.mode == "nearest")
    return repeats(o, std::int64_t(scales[rank - 2])) && repeats(o, std::int64_t(scales[rank - 1]));
  return o.mode == "linear" && !sampling_mode(o).empty() && !o.exclude_outside;
}

// By scales alone, the input's size being unknown.
Result<Value> resize_by_scale(Lowering& g, Value x, const ResizeOptions& o, const Floats& scales) {
  if (!upsamples(x, o, scales)) {
    std::vector<OpenResize> axes;
    bool may_stay = true;  // scales from 1 to 2 leave short axes as they are
    for (std::size_t i = 0; i < x.rank(); ++i) {
      if (scales[i] == 1) continue;
      Value in = g.dim(x, i), scale = g.scalar(DType::fp32, scales[i]);
      Value length = g.times(g.cast(in, DType::fp32), scale);
      Value out = whole(scales[i]) ? g.times(in, scales[i]) : g.cast(g.add(mil::floor{.x = length}), DType::int32);
      axes.push_back({i, in, out, scale, length, {}});
      may_stay = may_stay && scales[i] > 1 && scales[i] < 2;
    }
    Value stays;
    for (const OpenResize& a : axes) {
      if (!may_stay) break;
      Value here = g.add(mil::equal{.x = a.in, .y = a.out});
      stays = stays ? g.add(mil::logical_and{.x = stays, .y = here}) : here;
    }
    for (OpenResize& a : axes) {
      a.stays = stays;
      x = POM_TRY(resize_open(g, x, o, a));
    }
    return x;
  }
  double h = scales[x.rank() - 2], w = scales[x.rank() - 1];
  if (o.mode == "nearest")
    return g.add(mil::upsample_nearest_neighbor{.x = x, .scale_factor_height = h, .scale_factor_width = w});
  std::string grid = sampling_mode(o);
  return g.add(mil::upsample_bilinear{.x = x,
                                      .scale_factor_height = h,
                                      .scale_factor_width = w,
                                      .align_corners = grid == "STRICT_ALIGN_CORNERS",
                                      .half_pixel_centers = grid == "UNALIGN_CORNERS"});
}

Result<Value> resize(Lowering& g, Value x, const ResizeOptions& o, const std::vector<AxisResize>& axes) {
  std::vector<AxisResize> changed;
  bool same_size = std::all_of(axes.begin(), axes.end(), [](const AxisResize& a) { return a.in == a.out; });
  if (same_size && o.grid != "tf_crop_and_resize") return x;  // whatever the scales, as ONNX Runtime has it
  for (const AxisResize& a : axes)
    if (a.in != a.out || a.scale != 1 || o.grid == "tf_crop_and_resize") changed.push_back(a);
  if (changed.empty()) return x;
  bool images = is_float(x.dtype()) && x.rank() >= 3 && o.grid != "tf_crop_and_resize";
  bool exact = true, repeated = true;
  AxisResize h{x.rank() - 2, 1, 1}, w{x.rank() - 1, 1, 1};
  for (const AxisResize& a : changed) {
    images = images && a.axis + 2 >= x.rank();
    exact = exact && std::fabs(a.scale * double(a.in) - double(a.out)) < 1e-6 * double(a.out);
    repeated = repeated && whole(a.scale) && a.out == std::int64_t(a.scale) * a.in && repeats(o, std::int64_t(a.scale));
  }
  for (const AxisResize& a : axes) {
    if (a.axis == h.axis) h = a;
    if (a.axis == w.axis) w = a;
  }
  if (images && o.mode == "nearest" && repeated)
    return g.add(mil::upsample_nearest_neighbor{
        .x = x, .scale_factor_height = double(h.out / h.in), .scale_factor_width = double(w.out / w.in)});
  // A target size has to be given for both dims, also for one that stays as it is.
  bool both_known = x.rank() >= 2 && x.shape()[h.axis].known() && x.shape()[w.axis].known();
  bool plain_linear =
      both_known && o.mode == "linear" && !o.exclude_outside && !(o.antialias && (h.scale < 1 || w.scale < 1));
  if (images && exact && plain_linear && !sampling_mode(o).empty() && h.out < INT32_MAX && w.out < INT32_MAX)
    return g.add(mil::resize_bilinear{
        .x = x, .target_size_height = int(h.out), .target_size_width = int(w.out), .sampling_mode = sampling_mode(o)});
  POM_REQUIRE(is_float(x.dtype()) || o.mode == "nearest", "integers are resized by 'nearest' only");
  Value outside;
  for (const AxisResize& a : changed) {
    POM_REQUIRE(
        a.in > 0 && a.out > 0 && a.in < 1 << 20 && a.out < 1 << 20 && (o.mode == "nearest" || a.in * a.out < 1 << 24),
        "resizing {} to {} samples is not supported with these options", a.in, a.out);
    x = resize_axis(g, x, o, a);
    if (o.grid != "tf_crop_and_resize" || !x) continue;
    Tensor flags(DType::boolean, {a.out});
    flags.mutable_data();
    for (std::int64_t i = 0; i < a.out; ++i) {
      float point = grid_point(o, a, i);
      flags.set_number(std::size_t(i), point < 0 || point > float(a.in - 1));
    }
    Shape line(x.rank(), 1);
    line[a.axis] = a.out;
    Value here = g.reshape(g.constant(flags), line);
    outside = outside ? g.add(mil::logical_or{.x = outside, .y = here}) : here;
  }
  return outside ? g.select(outside, g.number(x, o.extrapolation), x) : x;
}

struct Resize {
  ONNX_IN(X);
  ONNX_OPTIONAL(roi, .since = 11);
  ONNX_OPTIONAL(scales);
  ONNX_OPTIONAL(sizes, .since = 11);
  ONNX_ATTR(antialias, bool, .since = 18) = false;
  ONNX_ATTR(axes, std::optional<Ints>, .since = 18);
  ONNX_ATTR(coordinate_transformation_mode, std::string, .since = 11) = "half_pixel";
  ONNX_ATTR(cubic_coeff_a, float, .since = 11) = -0.75f;
  ONNX_ATTR(exclude_outside, bool, .since = 11) = false;
  ONNX_ATTR(extrapolation_value, float, .since = 11) = 0.0f;
  ONNX_ATTR(keep_aspect_ratio_policy, std::string, .since = 18) = "stretch";
  ONNX_ATTR(mode, std::string) = "nearest";
  ONNX_ATTR(nearest_mode, std::string, .since = 11) = "round_prefer_floor";

  Status lower(Lowering& g) const {
    ResizeOptions o{coordinate_transformation_mode,
                    mode,
                    nearest_mode,
                    *cubic_coeff_a,
                    *extrapolation_value,
                    exclude_outside,
                    antialias};
    if (g.opset() < 11) {
      o.grid = "asymmetric";
      o.nearest = "floor";
    }
    for (const char* known : {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
                              "tf_half_pixel_for_nn", "tf_crop_and_resize"})
      if (o.grid == known) return lower_known(g, o);
    return fail("coordinate_transformation_mode is '{}'", o.grid);
  }
  Status lower_known(Lowering& g, const ResizeOptions& o) const {
    POM_REQUIRE(o.grid != "tf_half_pixel_for_nn",
                "coordinate_transformation_mode 'tf_half_pixel_for_nn' is not supported");
    POM_REQUIRE(o.mode == "nearest" || o.mode == "linear" || o.mode == "cubic", "mode is '{}'", o.mode);
    std::size_t rank = X.rank();
    std::vector<std::size_t> along;
    if (axes->has_value())
      for (std::int64_t a : **axes) along.push_back(POM_TRY(g.axis(a, rank)));
    else
      for (std::size_t i = 0; i < rank; ++i) along.push_back(i);
    Floats factors(rank, 1), rois(2 * rank, 0);
    std::fill(rois.begin() + std::ptrdiff_t(rank), rois.end(), 1.0);
    bool by_sizes = sizes && !(element_count(sizes.shape()) == 0);
    std::vector<AxisResize> changes;
    if (o.grid == "tf_crop_and_resize") POM_TRY(read_roi(g, along, rois));
    if (!by_sizes) {
      POM_REQUIRE(scales, "neither scales nor sizes are given");
      Floats given = POM_TRY(numbers(g, scales, "scales"));
      POM_REQUIRE(given.size() == along.size(), "there are {} scales for {} axes", given.size(), along.size());
      for (std::size_t i = 0; i < along.size(); ++i) factors[along[i]] = given[i];
      for (double f : factors) POM_REQUIRE(f > 0 && f < 1e6, "a scale is {}", f);
    }
    bool known = true;
    for (std::size_t i : along) known = known && (X.shape()[i].known() || (!by_sizes && factors[i] == 1));
    if (by_sizes && (!known || !g.constant_ints(sizes, "sizes"))) return lower_open_sizes(g, o, along);
    if (!known) {
      return g.result(POM_TRY(resize_by_scale(g, X, o, factors)), X.elem());
    }
    if (by_sizes) return lower_sizes(g, o, along, rois);
    for (std::size_t i : along) {
      if (!X.shape()[i].known()) continue;
      std::int64_t in = X.shape()[i].value();
      changes.push_back({i, in, scaled_size(in, factors[i]), factors[i], rois[i], rois[rank + i]});
    }
    return g.result(POM_TRY(resize(g, X, o, changes)), X.elem());
  }
  // Sizes that are computed, or of an input whose own sizes are open. One that is a whole multiple is a scale.
  Status lower_open_sizes(Lowering& g, const ResizeOptions& o, const std::vector<std::size_t>& along) const {
    POM_REQUIRE(*keep_aspect_ratio_policy == "stretch",
                "keep_aspect_ratio_policy '{}' needs an input of known size and known sizes",
                *keep_aspect_ratio_policy);
    POM_REQUIRE(sizes.rank() == 1 && sizes.shape()[0] == std::int64_t(along.size()),
                "there are not as many sizes as axes");
    auto contents = g.as_constant(sizes).contents();
    Floats factors(X.rank(), 1);
    std::vector<bool> open(X.rank());
    for (std::size_t k = 0; k < along.size(); ++k) {
      Dim in = X.shape()[along[k]];
      std::optional<Dim> ratio;
      if (contents && in.known() && (*contents)[k].known()) {
        if ((*contents)[k].value() % std::max<std::int64_t>(in.value(), 1) == 0) ratio = exact_div((*contents)[k], in);
      } else if (contents) {
        ratio = exact_div((*contents)[k], in);
      }
      if (ratio && ratio->known() && ratio->value() > 0)
        factors[along[k]] = double(ratio->value());
      else
        open[along[k]] = true;
    }
    Value x = X;
    if (std::any_of(factors.begin(), factors.end(), [](double f) { return f != 1; }))
      x = POM_TRY(resize_by_scale(g, x, o, factors));
    for (std::size_t k = 0; k < along.size(); ++k) {
      if (!open[along[k]]) continue;
      Value in = g.dim(X, along[k]), out = g.squeeze(g.slice(sizes, 0, std::int64_t(k), std::int64_t(k) + 1), {0});
      Value length = g.cast(out, DType::fp32), scale = g.over(length, g.cast(in, DType::fp32));
      x = POM_TRY(resize_open(g, x, o, {along[k], in, out, scale, length, {}}));
    }
    return g.result(x, X.elem());
  }
  Status lower_sizes(Lowering& g, const ResizeOptions& o, const std::vector<std::size_t>& along,
                     const Floats& rois) const {
    Ints wanted = POM_TRY(g.constant_ints(sizes, "sizes"));
    POM_REQUIRE(wanted.size() == along.size(), "there are {} sizes for {} axes", wanted.size(), along.size());
    std::size_t rank = X.rank();
    std::optional<double> common;
    bool larger = *keep_aspect_ratio_policy == "not_smaller";
    POM_REQUIRE(larger || *keep_aspect_ratio_policy == "stretch" || *keep_aspect_ratio_policy == "not_larger",
                "keep_aspect_ratio_policy is '{}'", *keep_aspect_ratio_policy);
    for (std::size_t k = 0; k < along.size() && *keep_aspect_ratio_policy != "stretch"; ++k) {
      double ratio = double(wanted[k]) / double(X.shape()[along[k]].value());
      common = !common ? ratio : larger ? std::max(*common, ratio) : std::min(*common, ratio);
    }
    std::vector<AxisResize> changes;
    for (std::size_t k = 0; k < along.size(); ++k) {
      std::size_t i = along[k];
      std::int64_t in = X.shape()[i].value(), out = wanted[k];
      POM_REQUIRE(in > 0, "dim {} of the input is empty", i);
      double scale = double(out) / double(in);
      if (common) {
        scale = *common;
        out = std::int64_t(std::floor(scale * double(in) + 0.5));
      }
      POM_REQUIRE(out > 0, "a size is {}", out);
      changes.push_back({i, in, out, scale, rois[i], rois[rank + i]});
    }
    return g.result(POM_TRY(resize(g, X, o, changes)), X.elem());
  }
  Status read_roi(Lowering& g, const std::vector<std::size_t>& along, Floats& rois) const {
    POM_REQUIRE(roi, "tf_crop_and_resize needs roi");
    Floats given = POM_TRY(numbers(g, roi, "roi"));
    POM_REQUIRE(given.size() == 2 * along.size(), "roi has {} entries for {} axes", given.size(), along.size());
    for (std::size_t i = 0; i < along.size(); ++i) {
      rois[along[i]] = given[i];
      rois[X.rank() + along[i]] = given[along.size() + i];
    }
    return {};
  }
  static Result<Floats> numbers(Lowering& g, Value value, const char* what) {
    const Weight* weight = g.as_constant(value).literal();
    POM_REQUIRE(weight, "{} must be known before the model runs; here it is computed from the inputs", what);
    return POM_TRY(weight->materialise()).numbers();
  }
};

struct Upsample {
  ONNX_IN(X);
  ONNX_OPTIONAL(scales_input, .since = 9);
  ONNX_ATTR(mode, std::string) = "nearest";
  ONNX_ATTR(scales, std::optional<Floats>, .until = 9);
  Status lower(Lowering& g) const {
    ResizeOptions o;
    o.grid = "asymmetric";
    o.nearest = "floor";
    o.mode = *mode == "bilinear" ? "linear" : *mode;
    POM_REQUIRE(o.mode == "linear" || o.mode == "nearest", "mode is '{}'", *mode);
    Floats factors = scales->value_or(Floats{});
    if (scales_input) factors = POM_TRY(Resize::numbers(g, scales_input, "scales"));
    POM_REQUIRE(factors.size() == X.rank(), "there are {} scales for rank {}", factors.size(), X.rank());
    for (double f : factors) POM_REQUIRE(f >= 1 && f < 1e6, "a scale is {}", f);
    if (!all_known(X.shape())) return g.result(POM_TRY(resize_by_scale(g, X, o, factors)), X.elem());
    std::vector<AxisResize> changes;
    for (std::size_t i = 0; i < X.rank(); ++i) {
      std::int64_t in = X.shape()[i].value();
      changes.push_back({i, in, scaled_size(in, factors[i]), factors[i]});
    }
    return g.result(POM_TRY(resize(g, X, o, changes)), X.elem());
  }
};

// Sampling points of an affine map: theta [N, 2, 3] (or [N, 3, 4]) to [N, H, W, 2] ([N, D, H, W, 3]).
struct AffineGrid {
  ONNX_IN(theta);
  ONNX_IN(size);
  ONNX_ATTR(align_corners, bool) = false;
  Status lower(Lowering& g) const {
    Ints shape = POM_TRY(g.constant_ints(size, "size"));
    POM_REQUIRE(shape.size() == 4 || shape.size() == 5, "size has {} entries, not 4 or 5", shape.size());
    Ints spatial(shape.begin() + 2, shape.end());
    std::size_t n = spatial.size();
    std::int64_t points = 1;
    for (std::int64_t s : spatial) {
      POM_REQUIRE(s > 0 && s < 1 << 14, "size holds {}", s);
      POM_REQUIRE(s > 1 || !align_corners, "nobody agrees where the corners of a size of 1 lie");
      points *= s;
    }
    POM_REQUIRE(points < 1 << 22, "the grid has {} points", points);
    // Homogeneous coordinates, x first: [points, n + 1].
    std::vector<double> base;
    for (std::int64_t p = 0; p < points; ++p) {
      std::int64_t rest = p;
      for (std::size_t k = 0; k < n; ++k) {
        std::int64_t s = spatial[n - 1 - k], at = rest % s;
        rest /= s;
        base.push_back(align_corners ? (-1 + 2.0 * double(at) / double(s - 1))
                                     : -1 + (2.0 * double(at) + 1) / double(s));
      }
      base.push_back(1);
    }
    Value matrix = g.constant(Tensor::from_numbers(theta.dtype(), {points, std::int64_t(n) + 1}, base));
    Value grid = g.add(mil::matmul{.x = matrix, .y = theta, .transpose_y = true});
    Shape result{shape[0]};
    for (std::int64_t s : spatial) result.push_back(s);
    result.push_back(std::int64_t(n));
    return g.result(g.reshape(grid, result));
  }
};

}  // namespace

Rules resize_chapter() {
  return {
      rule<AffineGrid>("AffineGrid"),
      rule<Resize>("Resize"),
      rule<Upsample>("Upsample", 7, 10),
  };
}

}  // namespace pomona::onnx
