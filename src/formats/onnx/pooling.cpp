#include "ops/pool.h"

#include <algorithm>
#include <limits>

#include "formats/onnx/open_axis.h"
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

// The elements along a spatial axis that the windows have at place k.
Value slice_at(Lowering& g, Value x, const Window& w, std::size_t i, std::int64_t k) {
  std::int64_t at = k * w.dilations[i], left = w.reach(i) - 1 - at;
  if (!x) return {};
  Ints begin(x.rank(), 0), end(x.rank(), 0), stride(x.rank(), 1), from_first(x.rank(), 1), to_last(x.rank(), 1);
  begin[i + 2] = at;
  end[i + 2] = -left;
  stride[i + 2] = w.strides[i];
  from_first[i + 2] = 0;
  to_last[i + 2] = left == 0;
  return g.add(mil::slice_by_index{.x = x,
                                   .begin = g.ints(begin),
                                   .end = g.ints(end),
                                   .stride = stride,
                                   .begin_mask = from_first,
                                   .end_mask = to_last});
}

// For each place in the window, lowest first, the strided slice of the padded x that it sees.
Result<Values> window_slices(Lowering& g, Value x, const Window& w) {
  POM_REQUIRE(w.pad_type == "custom", "auto_pad with these windows needs an input of known size");
  POM_REQUIRE(w.volume() <= most_slices, "a window of {} elements is too large", w.volume());
  Values slices;
  for (std::int64_t place = 0; place < w.volume(); ++place) {
    Value slice = x;
    std::int64_t rest = place;
    for (std::size_t i = w.spatial(); i-- > 0;) {
      slice = slice_at(g, slice, w, i, rest % w.kernel[i]);
      rest /= w.kernel[i];
    }
    slices.push_back(slice);
  }
  return slices;
}

// What `both` makes of all elements of each window of the padded x, axis by axis.
template <class Op>
Result<Value> reduced_windows(Lowering& g, Value x, const Window& w) {
  POM_REQUIRE(w.pad_type == "custom", "auto_pad with these windows needs an input of known size");
  for (std::size_t i = 0; i < w.spatial(); ++i) {
    POM_REQUIRE(w.kernel[i] <= most_slices, "a window of {} elements is too large", w.kernel[i]);
    Value all = slice_at(g, x, w, i, 0);
    for (std::int64_t k = 1; k < w.kernel[i]; ++k) all = g.add(Op{.x = all, .y = slice_at(g, x, w, i, k)});
    x = all;
  }
  return x;
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
    if (g.wants(1)) return lower_indices(g, x, w);
    if (w.dilated() || w.spatial() > 3) {
      Value y = POM_TRY(reduced_windows<mil::maximum>(g, padded(g, x, w, lowest), w));
      return g.result(g.cast(y, X.dtype()), X.elem());
    }
    Value y = g.add(mil::max_pool{.x = x,
                                  .kernel_sizes = w.kernel,
                                  .strides = w.strides,
                                  .pad_type = w.padded() || w.pad_type != "custom" ? w.pad_type : "valid",
                                  .pad = w.interleaved()});
    return g.result(g.cast(y, X.dtype()), X.elem());
  }
  Status lower_indices(Lowering& g, Value x, const Window& w) const {
    if (w.sizes_known()) POM_TRY(w.check_listable());
    Values slices = POM_TRY(window_slices(g, padded(g, x, w, lowest), w));
    Value best = slices[0], place = position(g, w, 0, slices[0]);
    for (std::size_t k = 1; k < slices.size(); ++k) {
      place = g.select(g.add(mil::greater{.x = slices[k], .y = best}), position(g, w, k, slices[0]), place);
      best = g.add(mil::maximum{.x = best, .y = slices[k]});
    }
    POM_TRY(g.result(g.cast(best, X.dtype()), X.elem()));
    // Indices count through the whole tensor.
    POM_REQUIRE(!all_known(X.shape()) || element_count(X.shape()).value() <= INT32_MAX,
                "the input is too large for indices");
    Value channels = g.times(g.dim(X, 0), g.dim(X, 1)), area = g.integer(1);
    for (std::size_t i = 0; i < w.spatial(); ++i) area = g.times(area, g.dim(X, i + 2));
    Ints axes;
    for (std::size_t i = 2; i < X.rank(); ++i) axes.push_back(std::int64_t(i));
    Value offsets = g.times(count_up(g, channels), area);
    offsets = g.reshape(offsets, g.concat({g.reshape(g.dim(X, 0), Shape{1}), g.reshape(g.dim(X, 1), Shape{1})}, 0));
    return g.result(g.plus(place, g.expand_dims(offsets, axes)), Elem::int64);
  }
  // Index within its channel of the element that each window (of which there are as many as `windows` has elements) has
  // at `place`; made up where that is padding.
  Value position(Lowering& g, const Window& w, std::size_t place, Value windows) const {
    Value sum = g.integer(0);
    auto rest = std::int64_t(place);
    Value stride = g.integer(1);
    Values strides_of_dim(w.spatial());
    for (std::size_t k = 0; k < w.spatial(); ++k) {
      std::size_t i = storage_order ? k : w.spatial() - 1 - k;
      strides_of_dim[i] = stride;
      stride = g.times(stride, g.dim(X, i + 2));
    }
    for (std::size_t i = w.spatial(); i-- > 0;) {
      std::int64_t at = rest % w.kernel[i] * w.dilations[i] - w.before[i];
      rest /= w.kernel[i];
      Value line = g.plus(g.times(count_up(g, g.dim(windows, i + 2)), double(w.strides[i])), double(at));
      Ints axes;
      for (std::size_t k = 0; k < X.rank(); ++k)
        if (k != i + 2) axes.push_back(std::int64_t(k));
      sum = g.plus(sum, g.expand_dims(g.times(line, strides_of_dim[i]), axes));
    }
    return sum;
  }

 private:
  static constexpr double lowest = -std::numeric_limits<double>::infinity();
};

// How many elements of the input (and of its declared padding, if that counts) each window sees: for known sizes.
Value listed_counts(Lowering& g, const Window& w, bool padding_counts, DType dtype) {
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
    return reduced_windows<mil::add>(g, padded(g, x, w, 0), w);
  }
  Value mean = g.add(mil::avg_pool{.exclude_padding_from_average = false,
                                   .x = x,
                                   .kernel_sizes = w.kernel,
                                   .strides = w.strides,
                                   .pad_type = w.padded() || w.pad_type != "custom" ? w.pad_type : "valid",
                                   .pad = w.interleaved()});
  return g.times(mean, double(w.volume()));
}

// The same for any sizes: the sums of ones.
Result<Value> window_counts(Lowering& g, Value x, Window w, bool padding_counts) {
  if (w.sizes_known()) {
    POM_TRY(w.check_listable());
    return listed_counts(g, w, padding_counts, x.dtype());
  }
  Shape shape(2, 1);
  shape.insert(shape.end(), w.input.begin(), w.input.end());
  Value ones = g.filled(shape, {x}, x.dtype(), 1);
  if (padding_counts) {
    // The declared padding holds ones; what the last windows see beyond stays.
    Window declared = w;
    declared.after = w.declared_after;
    ones = padded(g, ones, declared, 1);
    for (std::size_t i = 0; i < w.spatial(); ++i) w.after[i] -= w.declared_after[i];
    w.before.assign(w.spatial(), 0);
  }
  return window_sums(g, ones, w);
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
      Value sums = POM_TRY(window_sums(g, X, w));
      return g.result(g.over(sums, POM_TRY(window_counts(g, X, w, count_include_pad))));
    }
    return g.result(g.add(mil::avg_pool{.exclude_padding_from_average = !count_include_pad,
                                        .x = X,
                                        .kernel_sizes = w.kernel,
                                        .strides = w.strides,
                                        .pad_type = w.padded() || w.pad_type != "custom" ? w.pad_type : "valid",
                                        .pad = w.interleaved()}));
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
