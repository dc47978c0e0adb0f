#include <algorithm>

#include "formats/onnx/lowering.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/norm.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Normalisations.
namespace pomona::onnx {
namespace {

Value mean(Lowering& g, Value x, const Ints& axes) {
  return g.add(mil::reduce_mean{.x = x, .axes = axes, .keep_dims = true});
}

struct Normalized {
  Value value, mean, inverse_deviation;
};
// (x - mean) / sqrt(variance + epsilon) over axes
Normalized normalized(Lowering& g, Value x, const Ints& axes, double epsilon) {
  Value centre = mean(g, x, axes), difference = g.minus(x, centre);
  Value variance = mean(g, g.times(difference, difference), axes);
  Value inverse = g.over(g.number(x, 1), g.add(mil::sqrt{.x = g.plus(variance, epsilon)}));
  return {g.times(difference, inverse), centre, inverse};
}

struct BatchNormalization {
  ONNX_IN(X);
  ONNX_IN(scale);
  ONNX_IN(B);
  ONNX_IN(input_mean);
  ONNX_IN(input_var);
  ONNX_ATTR(epsilon, float) = 1e-5f;
  ONNX_ATTR(momentum, float) = 0.9f;
  ONNX_ATTR(is_test, bool, .until = 7) = false;
  ONNX_ATTR(spatial, bool, .until = 9) = true;
  ONNX_ATTR(training_mode, bool, .since = 14) = false;
  Status lower(Lowering& g) const {
    if (training_mode) return lower_training(g);
    POM_REQUIRE(spatial, "normalising each position by itself (spatial = 0) is not supported");
    POM_REQUIRE(g.opset() >= 7 || is_test, "training mode is not supported");
    Value gamma = g.as_constant(scale), beta = g.as_constant(B), m = g.as_constant(input_mean),
          v = g.as_constant(input_var);
    bool constant = gamma.literal() && beta.literal() && m.literal() && v.literal();
    if (constant && X.rank() >= 3 && X.rank() <= 5 && gamma.dtype() == m.dtype())
      return g.result(g.add(mil::batch_norm{
          .x = X, .mean = m, .variance = v, .gamma = gamma, .beta = beta, .epsilon = double(*epsilon)}));
    DType own = X.dtype();
    Value x = g.cast(X, DType::fp32);
    auto line = [&](Value p) { return g.per_channel(g.cast(p, DType::fp32), X.rank()); };
    Value factor = g.over(line(gamma), g.add(mil::sqrt{.x = g.plus(line(v), double(*epsilon))}));
    return g.result(g.cast(g.plus(g.times(g.minus(x, line(m)), factor), line(beta)), own), X.elem());
  }
  // Normalised by what the batch itself shows; the running statistics are further results.
  Status lower_training(Lowering& g) const {
    Ints axes;
    for (std::size_t i = 0; i < X.rank(); ++i)
      if (i != 1) axes.push_back(std::int64_t(i));
    Value x = g.cast(X, DType::fp32), own_mean = mean(g, x, axes), difference = g.minus(x, own_mean);
    Value variance = mean(g, g.times(difference, difference), axes);
    auto line = [&](Value p) { return g.per_channel(g.cast(p, DType::fp32), X.rank()); };
    Value factor = g.over(line(scale), g.add(mil::sqrt{.x = g.plus(variance, double(*epsilon))}));
    POM_TRY(g.result(g.cast(g.plus(g.times(difference, factor), line(B)), X.dtype()), X.elem()));
    auto running = [&](const InputField& before, Value now) {
      Value flat = g.squeeze(now, axes);
      Value mixed =
          g.plus(g.times(g.cast(before, DType::fp32), double(*momentum)), g.times(flat, 1 - double(*momentum)));
      return g.result(g.cast(mixed, before.dtype()), before.elem());
    };
    POM_TRY(running(input_mean, own_mean));
    return running(input_var, variance);
  }
};

struct InstanceNormalization {
  ONNX_IN(input);
  ONNX_IN(scale);
  ONNX_IN(B);
  ONNX_ATTR(epsilon, float) = 1e-5f;
  Status lower(Lowering& g) const {
    POM_REQUIRE(input.rank() >= 3, "the input has rank {}, but at least 3 is needed", input.rank());
    Value gamma = g.as_constant(scale), beta = g.as_constant(B);
    if (gamma.literal() && beta.literal() && input.rank() <= 4)
      return g.result(g.add(mil::instance_norm{.x = input, .gamma = gamma, .beta = beta, .epsilon = double(*epsilon)}));
    Ints axes;
    for (std::size_t i = 2; i < input.rank(); ++i) axes.push_back(std::int64_t(i));
    Value y = normalized(g, input, axes, *epsilon).value;
    return g.result(g.plus(g.times(y, g.per_channel(scale, input.rank())), g.per_channel(B, input.rank())));
  }
};

Result<Ints> axes_from(Lowering& g, std::int64_t axis, std::size_t rank) {
  Ints axes;
  for (std::size_t i = POM_TRY(g.axis(axis, rank)); i < rank; ++i) axes.push_back(std::int64_t(i));
  return axes;
}

struct LayerNormalization {
  ONNX_IN(X);
  ONNX_IN(Scale);
  ONNX_OPTIONAL(B);
  ONNX_ATTR(axis, int) = -1;
  ONNX_ATTR(epsilon, float) = 1e-5f;
  ONNX_ATTR(stash_type, int) = 1;
  Status lower(Lowering& g) const {
    Ints axes = POM_TRY(axes_from(g, axis, X.rank()));
    Value gamma = g.as_constant(Scale), beta = B ? g.as_constant(B) : Value();
    Shape tail(X.shape().end() - std::ptrdiff_t(axes.size()), X.shape().end());
    bool fits = gamma.literal() && gamma.shape() == tail && (!beta || (beta.literal() && beta.shape() == tail));
    if (fits && !g.wants(1) && !g.wants(2))
      return g.result(
          g.add(mil::layer_norm{.x = X, .axes = axes, .gamma = gamma, .beta = beta, .epsilon = double(*epsilon)}));
    Normalized n = normalized(g, *stash_type == 1 ? g.cast(X, DType::fp32) : *X, axes, *epsilon);
    Value y = g.times(g.cast(n.value, X.dtype()), Scale);
    POM_TRY(g.result(B ? g.plus(y, B) : y, X.elem()));
    if (g.output_count() > 1) POM_TRY(g.result(n.mean));
    if (g.output_count() > 2) POM_TRY(g.result(n.inverse_deviation));
    return {};
  }
};

struct RMSNormalization {
  ONNX_IN(X);
  ONNX_IN(scale);
  ONNX_ATTR(axis, int) = -1;
  ONNX_ATTR(epsilon, float) = 1e-5f;
  ONNX_ATTR(stash_type, int) = 1;
  Status lower(Lowering& g) const {
    Ints axes = POM_TRY(axes_from(g, axis, X.rank()));
    Value x = *stash_type == 1 ? g.cast(X, DType::fp32) : *X;
    Value size = g.add(mil::sqrt{.x = g.plus(mean(g, g.times(x, x), axes), double(*epsilon))});
    return g.result(g.times(g.cast(g.over(x, size), X.dtype()), scale), X.elem());
  }
};

struct GroupNormalization {
  ONNX_IN(X);
  ONNX_IN(scale);
  ONNX_IN(bias);
  ONNX_ATTR(epsilon, float) = 1e-5f;
  ONNX_ATTR(num_groups, int, .required = true);
  ONNX_ATTR(stash_type, int, .since = 21) = 1;
  Status lower(Lowering& g) const {
    POM_REQUIRE(X.rank() >= 3 && X.shape()[1].known(), "the input needs rank 3 or more and a known number of channels");
    std::int64_t channels = X.shape()[1].value(), groups = *num_groups;
    POM_REQUIRE(groups > 0 && channels % groups == 0, "{} channels do not divide into {} groups", channels, groups);
    Dim area = channels / groups;
    for (std::size_t i = 2; i < X.rank(); ++i) area = area * X.shape()[i];
    Value x = g.reshape(g.cast(X, DType::fp32), Shape{X.shape()[0], groups, area});
    Value y = normalized(g, x, {2}, *epsilon).value;
    // Until operator set 20, scale and bias had one element per group.
    if (g.opset() < 21 && !(element_count(scale.shape()) == Dim(channels) && channels != groups)) {
      Shape line{1, groups, 1};
      y = g.plus(g.times(y, g.reshape(g.cast(scale, DType::fp32), line)), g.reshape(g.cast(bias, DType::fp32), line));
      y = g.add(mil::reshape{.x = y, .shape = g.shape_value(X.shape(), {X}, true)});
      return g.result(g.cast(y, X.dtype()), X.elem());
    }
    y = g.cast(g.add(mil::reshape{.x = y, .shape = g.shape_value(X.shape(), {X}, true)}), X.dtype());
    return g.result(g.plus(g.times(y, g.per_channel(scale, X.rank())), g.per_channel(bias, X.rank())), X.elem());
  }
};

// x / (bias + alpha/size * sum of x^2 over neighbouring channels)^beta
struct LRN {
  ONNX_IN(X);
  ONNX_ATTR(alpha, float) = 1e-4f;
  ONNX_ATTR(beta, float) = 0.75f;
  ONNX_ATTR(bias, float) = 1.0f;
  ONNX_ATTR(size, int, .required = true);
  Status lower(Lowering& g) const {
    POM_REQUIRE(*size > 0 && *size < 4096, "size is {}", *size);
    POM_REQUIRE(X.rank() >= 3, "the input has rank {}, but at least 3 is needed", X.rank());
    if (*size % 2 == 1 && X.rank() == 4)
      return g.result(g.add(mil::local_response_norm{
          .x = X, .size = *size, .alpha = double(*alpha), .beta = double(*beta), .k = double(*bias)}));
    POM_REQUIRE(X.shape()[1].known() && *size <= 64, "size is {}", *size);
    std::int64_t channels = X.shape()[1].value(), before = (*size - 1) / 2;
    Ints pad(2 * X.rank(), 0);
    pad[2] = before;
    pad[3] = *size - 1 - before;
    Value squares = g.add(mil::pad{.x = g.times(X, X), .pad = g.ints(pad), .mode = "constant", .constant_val = 0.0});
    Value sum = g.slice(squares, 1, 0, channels);
    for (std::int64_t i = 1; i < *size; ++i) sum = g.plus(sum, g.slice(squares, 1, i, i + channels));
    Value scaled = g.plus(g.times(sum, double(*alpha) / *size), double(*bias));
    return g.result(g.over(X, g.add(mil::pow{.x = scaled, .y = g.number(X, *beta)})));
  }
};

struct LpNormalization {
  ONNX_IN(input);
  ONNX_ATTR(axis, int) = -1;
  ONNX_ATTR(p, int) = 2;
  Status lower(Lowering& g) const {
    Ints axes{std::int64_t(POM_TRY(g.axis(axis, input.rank())))};
    POM_REQUIRE(*p == 1 || *p == 2, "p is {}, not 1 or 2", *p);
    Value norm = *p == 1 ? g.add(mil::reduce_l1_norm{.x = input, .axes = axes, .keep_dims = true})
                         : g.add(mil::reduce_l2_norm{.x = input, .axes = axes, .keep_dims = true});
    // Zeros stay zeros.
    Value zero = g.add(mil::equal{.x = norm, .y = g.number(input, 0)});
    return g.result(g.over(input, g.select(zero, g.number(input, 1), norm)));
  }
};

// (x - mean) / (sqrt(mean of x^2 - mean^2) + 1e-9)
struct MeanVarianceNormalization {
  ONNX_IN(X);
  ONNX_ATTR(axes, Ints) = Ints { 0, 2, 3 };
  Status lower(Lowering& g) const {
    Value centre = mean(g, X, axes), square = mean(g, g.times(X, X), axes);
    Value deviation = g.add(mil::sqrt{.x = g.minus(square, g.times(centre, centre))});
    return g.result(g.over(g.minus(X, centre), g.plus(deviation, 1e-9)));
  }
};

}  // namespace

Rules normalization_chapter() {
  return {
      rule<BatchNormalization>("BatchNormalization", 6),
      rule<GroupNormalization>("GroupNormalization"),
      rule<InstanceNormalization>("InstanceNormalization", 6),
      rule<LayerNormalization>("LayerNormalization"),
      rule<LpNormalization>("LpNormalization"),
      rule<LRN>("LRN"),
      rule<MeanVarianceNormalization>("MeanVarianceNormalization"),
      rule<RMSNormalization>("RMSNormalization"),
  };
}

}  // namespace pomona::onnx
