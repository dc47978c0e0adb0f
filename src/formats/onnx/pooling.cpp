#include "ops/pool.h"

#include <algorithm>
#include <limits>

#include "formats/onnx/window.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Pooling.
namespace pomona::onnx {
namespace {

// Windows are taken apart into at most so many slices.
constexpr std::int64_t most_slices = 256;

Value padded(Lowering& g, Value x, const Window& w, double value) {
  if (!w.padded()) return x;
  return g.add(mil::pad{.x = x, .pad = g.ints(w.interleaved()), .mode = "constant", .constant_val = value});
}

// For each place in the window, lowest first, the strided slice of the padded x that it sees.
Result<Values> window_slices(Lowering& g, Value x, const Window& w) {
  POM_REQUIRE(w.sizes_known() && w.pad_type == "custom", "this pooling needs an input of known size");
  POM_REQUIRE(w.volume() <= most_slices, "a window of {} elements is too large", w.volume());
  Values slices;
  for (std::int64_t place = 0; place < w.volume(); ++place) {
    Value slice = x;
    std::int64_t rest = place;
    for (std::size_t i = w.spatial(); i-- > 0;) {
      std::int64_t at = rest % w.kernel[i] * w.dilations[i];
      rest /= w.kernel[i];
      slice = g.slice(slice, i + 2, at, at + (w.output(i) - 1) * w.strides[i] + 1, w.strides[i]);
    }
    slices.push_back(slice);
  }
  return slices;
}

struct MaxPool {
  ONNX_IN(X);
  ONNX_ATTR(auto_pad, std::string) = "NOTSET";
  ONNX_ATTR(ceil_mode, bool, .since = 10) = false;
  ONNX_ATTR(dilations, Ints, .since = 10);
  ONNX_ATTR(kernel_shape, Ints, .required = true);
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(storage_order, bool, .since = 8) = false;
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    Window w = POM_TRY(window_of(X, {.kernel = kernel_shape,
                                     .strides = strides,
                                     .pads = pads,
                                     .dilations = dilations,
                                     .auto_pad = auto_pad,
                                     .ceil_mode = ceil_mode}));
    Value x = X;
    if (!is_float(x.dtype())) {
      POM_REQUIRE(is_narrow_integer(X.elem()), "pooling of {} is not supported", elem_info(X.elem()).name);
      x = g.cast(x, DType::fp32);
    }
    if (w.dilated() || g.wants(1) || w.spatial() > 3) {
      if (g.wants(1)) POM_TRY(w.check_listable());
      return lower_slices(g, x, w);
    }
    POM_TRY(check_ceil(w));
    Value y = g.add(mil::max_pool{.x = x,
                                  .kernel_sizes = w.kernel,
                                  .strides = w.strides,
                                  .pad_type = w.padded() || w.pad_type != "custom" ? w.pad_type : "valid",
                                  .pad = w.interleaved(),
                                  .ceil_mode = w.ceil_mode});
    return g.result(g.cast(y, X.dtype()), X.elem());
  }
  // With unknown sizes MIL's own ceil mode has to do; it agrees where windows overlap or touch and padding is even.
  static Status check_ceil(const Window& w) {
    if (!w.ceil_mode) return {};
    bool agrees = w.spatial() <= 2 && w.pad_type == "custom";
    for (std::size_t i = 0; i < w.spatial(); ++i)
      agrees = agrees && w.strides[i] <= w.kernel[i] && w.before[i] == w.after[i];
    POM_REQUIRE(agrees, "ceil_mode with these windows needs an input of known size");
    return {};
  }
  Status lower_slices(Lowering& g, Value x, const Window& w) const {
    Values slices = POM_TRY(window_slices(g, padded(g, x, w, -std::numeric_limits<double>::infinity()), w));
    Value best = slices[0], place = g.wants(1) ? position(g, w, 0) : Value();
    for (std::size_t k = 1; k < slices.size(); ++k) {
      if (place) place = g.select(g.add(mil::greater{.x = slices[k], .y = best}), position(g, w, k), place);
      best = g.add(mil::maximum{.x = best, .y = slices[k]});
    }
    POM_TRY(g.result(g.cast(best, X.dtype()), X.elem()));
    if (!place) return {};
    POM_REQUIRE(X.shape()[0].known() && X.shape()[1].known(), "indices need an input of known size");
    // Indices count through the whole tensor.
    std::int64_t channels = X.shape()[0].value() * X.shape()[1].value(), area = 1;
    for (Dim d : w.input) area *= d.value();
    POM_REQUIRE(channels * area <= INT32_MAX && channels < 1 << 24, "the input is too large for indices");
    Ints offsets;
    for (std::int64_t c = 0; c < channels; ++c) offsets.push_back(c * area);
    Shape shape(X.rank(), 1);
    shape[0] = X.shape()[0];
    shape[1] = X.shape()[1];
    return g.result(g.plus(place, g.reshape(g.ints(offsets), shape)), Elem::int64);
  }
  // Index within its channel of the element that each window has at `place`; made up where that is padding.
  Value position(Lowering& g, const Window& w, std::size_t place) const {
    Value sum = g.integer(0);
    auto rest = std::int64_t(place);
    std::int64_t stride = 1;
    std::vector<std::int64_t> strides_of_dim(w.spatial());
    for (std::size_t k = 0; k < w.spatial(); ++k) {
      std::size_t i = storage_order ? k : w.spatial() - 1 - k;
      strides_of_dim[i] = stride;
      stride *= w.input[i].value();
    }
    for (std::size_t i = w.spatial(); i-- > 0;) {
      std::int64_t at = rest % w.kernel[i] * w.dilations[i] - w.before[i];
      rest /= w.kernel[i];
      Ints indices;
      for (std::int64_t o = 0; o < w.output(i); ++o) indices.push_back((o * w.strides[i] + at) * strides_of_dim[i]);
      Shape line(X.rank(), 1);
      line[i + 2] = w.output(i);
      sum = g.plus(sum, g.reshape(g.ints(indices), line));
    }
    return sum;
  }
};

// How many elements of the input (and of its declared padding, if that counts) each window sees.
Value window_counts(Lowering& g, const Window& w, bool padding_counts, DType dtype) {
  Value counts = g.scalar(dtype, 1);
  for (std::size_t i = 0; i < w.spatial(); ++i) {
    std::int64_t size = w.input[i].value(), low = padding_counts ? -w.before[i] : 0,
                 high = padding_counts ? size + w.declared_after[i] : size;
    Tensor line(dtype, {w.output(i)});
    line.mutable_data();
    for (std::int64_t o = 0; o < w.output(i); ++o) {
      int seen = 0;
      for (std::int64_t k = 0; k < w.kernel[i]; ++k) {
        std::int64_t at = o * w.strides[i] + k * w.dilations[i] - w.before[i];
        seen += at >= low && at < high;
      }
      line.set_number(std::size_t(o), seen);
    }
    Shape shape(w.spatial() + 2, 1);
    shape[i + 2] = w.output(i);
    counts = g.times(g.reshape(g.constant(line), shape), counts);
  }
  return counts;
}

// The sum over each window of x with zeros around.
Result<Value> window_sums(Lowering& g, Value x, const Window& w) {
  if (w.dilated() || w.spatial() > 3) {
    Values slices = POM_TRY(window_slices(g, padded(g, x, w, 0), w));
    Value sum = slices[0];
    for (std::size_t k = 1; k < slices.size(); ++k) sum = g.plus(sum, slices[k]);
    return sum;
  }
  Value mean = g.add(mil::avg_pool{.exclude_padding_from_average = false,
                                   .x = x,
                                   .kernel_sizes = w.kernel,
                                   .strides = w.strides,
                                   .pad_type = w.padded() || w.pad_type != "custom" ? w.pad_type : "valid",
                                   .pad = w.interleaved()});
  return g.times(mean, double(w.volume()));
}

struct AveragePool {
  ONNX_IN(X);
  ONNX_ATTR(auto_pad, std::string) = "NOTSET";
  ONNX_ATTR(ceil_mode, bool, .since = 10) = false;
  ONNX_ATTR(count_include_pad, bool, .since = 7) = false;
  ONNX_ATTR(dilations, Ints, .since = 19);
  ONNX_ATTR(kernel_shape, Ints, .required = true);
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    Window w = POM_TRY(window_of(X, {.kernel = kernel_shape,
                                     .strides = strides,
                                     .pads = pads,
                                     .dilations = dilations,
                                     .auto_pad = auto_pad,
                                     .ceil_mode = ceil_mode}));
    bool stretched = w.after != w.declared_after;
    if (w.dilated() || w.spatial() > 3 || (stretched && count_include_pad)) {
      POM_TRY(w.check_listable());
      Value sums = POM_TRY(window_sums(g, X, w));
      return g.result(g.over(sums, window_counts(g, w, count_include_pad, X.dtype())));
    }
    POM_REQUIRE(!w.ceil_mode || !w.padded(), "ceil_mode with padding needs an input of known size");
    POM_TRY(MaxPool::check_ceil(w));
    return g.result(g.add(mil::avg_pool{.exclude_padding_from_average = !count_include_pad,
                                        .x = X,
                                        .kernel_sizes = w.kernel,
                                        .strides = w.strides,
                                        .pad_type = w.padded() || w.pad_type != "custom" ? w.pad_type : "valid",
                                        .pad = w.interleaved(),
                                        .ceil_mode = w.ceil_mode}));
  }
};

Value power(Lowering& g, Value x, double p) {
  Value size = g.add(mil::abs{.x = x});
  if (p == 1) return size;
  return p == 2 ? g.times(x, x) : g.add(mil::pow{.x = size, .y = g.number(x, p)});
}
Value root(Lowering& g, Value x, double p) {
  if (p == 1) return x;
  return p == 2 ? g.add(mil::sqrt{.x = x}) : g.add(mil::pow{.x = x, .y = g.number(x, 1 / p)});
}

struct LpPool {
  ONNX_IN(X);
  ONNX_ATTR(auto_pad, std::string) = "NOTSET";
  ONNX_ATTR(ceil_mode, bool, .since = 18) = false;
  ONNX_ATTR(dilations, Ints, .since = 18);
  ONNX_ATTR(kernel_shape, Ints, .required = true);
  ONNX_ATTR(p, float) = 2.0f;
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    POM_REQUIRE(*p > 0, "p is {}", *p);
    Window w = POM_TRY(window_of(X, {.kernel = kernel_shape,
                                     .strides = strides,
                                     .pads = pads,
                                     .dilations = dilations,
                                     .auto_pad = auto_pad,
                                     .ceil_mode = ceil_mode}));
    POM_REQUIRE(!w.ceil_mode, "ceil_mode needs an input of known size");
    return g.result(root(g, POM_TRY(window_sums(g, power(g, X, *p), w)), *p));
  }
};

Result<Ints> spatial_axes(Value x) {
  POM_REQUIRE(x.rank() >= 2, "the input has rank {}, but at least 2 is needed", x.rank());
  Ints axes;
  for (std::size_t i = 2; i < x.rank(); ++i) axes.push_back(std::int64_t(i));
  return axes;
}

template <class Op>
struct GlobalPool {
  ONNX_IN(X);
  Status lower(Lowering& g) const {
    Ints axes = POM_TRY(spatial_axes(X));
    if (axes.empty()) return g.result(X);
    return g.result(g.add(Op{.x = X, .axes = axes, .keep_dims = true}));
  }
};
struct GlobalLpPool {
  ONNX_IN(X);
  ONNX_ATTR(p, float) = 2.0f;
  Status lower(Lowering& g) const {
    POM_REQUIRE(*p > 0, "p is {}", *p);
    Ints axes = POM_TRY(spatial_axes(X));
    POM_REQUIRE(!axes.empty(), "the input has no spatial dims");
    Value sum = g.add(mil::reduce_sum{.x = power(g, X, *p), .axes = axes, .keep_dims = true});
    return g.result(root(g, sum, *p));
  }
};

}  // namespace

Rules pooling_chapter() {
  return {
      rule<AveragePool>("AveragePool"),
      rule<GlobalPool<mil::reduce_mean>>("GlobalAveragePool"),
      rule<GlobalLpPool>("GlobalLpPool"),
      rule<GlobalPool<mil::reduce_max>>("GlobalMaxPool"),
      rule<LpPool>("LpPool"),
      rule<MaxPool>("MaxPool"),
  };
}

}  // namespace pomona::onnx
