#include <cmath>
#include <limits>
#include <map>

#include "formats/onnx/lowering.h"
#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Classical models, of the domain ai.onnx.ml: tables, scalings, linear models and ensembles of trees.
namespace pomona::onnx {
namespace {

constexpr Text domain = "ai.onnx.ml";
constexpr int always = 1 << 30;

Value row(Lowering& g, const Floats& numbers) {
  return g.constant(Tensor::from_numbers(DType::fp32, {std::int64_t(numbers.size())}, numbers));
}
Value real_of(Lowering& g, Value x) { return g.cast(x, DType::fp32); }

struct ArrayFeatureExtractor {
  ONNX_IN(X);
  ONNX_IN(Y);
  Status lower(Lowering& g) const {
    POM_REQUIRE(X.rank() >= 1, "the input is a scalar");
    Value at = g.reshape(Y, Shape{element_count(Y.shape())});
    Value y = g.add(mil::gather{.x = X, .indices = at, .axis = int(X.rank()) - 1});
    return g.result(X.rank() == 1 ? g.expand_dims(y, {0}) : y, X.elem());
  }
};

struct Binarizer {
  ONNX_IN(X);
  ONNX_ATTR(threshold, float) = 0.0f;
  Status lower(Lowering& g) const {
    return g.result(g.cast(g.add(mil::greater{.x = X, .y = g.number(X, *threshold)}), X.dtype()), X.elem());
  }
};

struct Scaler {
  ONNX_IN(X);
  ONNX_ATTR(offset, Floats);
  ONNX_ATTR(scale, Floats);
  Status lower(Lowering& g) const {
    Value x = real_of(g, X);
    if (!offset->empty()) x = g.minus(x, row(g, *offset));
    if (!scale->empty()) x = g.times(x, row(g, *scale));
    return g.result(x, Elem::float32);
  }
};

struct Normalizer {
  ONNX_IN(X);
  ONNX_ATTR(norm, std::string) = "MAX";
  Status lower(Lowering& g) const {
    Value x = real_of(g, X), size;
    Ints axes{-1};
    if (*norm == "MAX")
      size = g.add(mil::reduce_max{.x = x, .axes = axes, .keep_dims = true});
    else if (*norm == "L1")
      size = g.add(mil::reduce_l1_norm{.x = x, .axes = axes, .keep_dims = true});
    else if (*norm == "L2")
      size = g.add(mil::reduce_l2_norm{.x = x, .axes = axes, .keep_dims = true});
    else
      return fail("norm is '{}'", *norm);
    Value zero = g.add(mil::equal{.x = size, .y = g.number(x, 0)});
    return g.result(g.over(x, g.select(zero, g.number(x, 1), size)), Elem::float32);
  }
};

struct Imputer {
  ONNX_IN(X);
  ONNX_ATTR(imputed_value_floats, Floats);
  ONNX_ATTR(imputed_value_int64s, Ints);
  ONNX_ATTR(replaced_value_float, float) = 0.0f;
  ONNX_ATTR(replaced_value_int64, std::int64_t) = 0;
  Status lower(Lowering& g) const {
    bool integers = !is_float(X.dtype());
    Floats numbers = *imputed_value_floats;
    if (integers) numbers.assign(imputed_value_int64s->begin(), imputed_value_int64s->end());
    POM_REQUIRE(!numbers.empty(), "the imputed values are missing");
    Value fresh = g.constant(Tensor::from_numbers(X.dtype(), {std::int64_t(numbers.size())}, numbers));
    double replaced = integers ? double(*replaced_value_int64) : double(*replaced_value_float);
    Value missing = std::isnan(replaced) ? g.add(mil::not_equal{.x = X, .y = X})
                                         : g.add(mil::equal{.x = X, .y = g.number(X, replaced)});
    return g.result(g.select(missing, fresh, X), X.elem());
  }
};

struct OneHotEncoder {
  ONNX_IN(X);
  ONNX_ATTR(cats_int64s, Ints);
  ONNX_ATTR(cats_strings, Strings);
  ONNX_ATTR(zeros, bool) = true;
  Status lower(Lowering& g) const {
    POM_REQUIRE(cats_strings->empty() && X.dtype() != DType::string, "strings are not supported");
    POM_REQUIRE(zeros, "zeros = 0, which makes unknown categories an error, is not supported");
    std::vector<double> cats(cats_int64s->begin(), cats_int64s->end());
    Value kinds = g.constant(Tensor::from_numbers(X.dtype(), {std::int64_t(cats.size())}, cats));
    Value x = g.expand_dims(X, {std::int64_t(X.rank())});
    return g.result(real_of(g, g.add(mil::equal{.x = x, .y = kinds})), Elem::float32);
  }
};

struct FeatureVectorizer {
  ONNX_VARIADIC(X);
  ONNX_ATTR(inputdimensions, Ints);
  Status lower(Lowering& g) const {
    Values parts;
    for (Value v : X.values()) {
      Value flat = v.rank() == 1 ? g.expand_dims(v, {1}) : v;
      POM_REQUIRE(flat && flat.rank() == 2, "an input has rank {}", v.rank());
      parts.push_back(real_of(g, flat));
    }
    return g.result(g.concat(parts, 1), Elem::float32);
  }
};

// A table from keys to values, both numbers.
struct LabelEncoder {
  ONNX_IN(X);
  ONNX_ATTR(keys_floats, Floats);
  ONNX_ATTR(keys_int64s, Ints);
  ONNX_ATTR(keys_strings, Strings);
  ONNX_TENSOR(keys_tensor);
  ONNX_ATTR(values_floats, Floats);
  ONNX_ATTR(values_int64s, Ints);
  ONNX_ATTR(values_strings, Strings);
  ONNX_TENSOR(values_tensor);
  ONNX_ATTR(default_float, float) = -0.0f;
  ONNX_ATTR(default_int64, std::int64_t) = -1;
  ONNX_ATTR(default_string, std::string) = "_Unused";
  ONNX_TENSOR(default_tensor);
  static constexpr std::size_t most_keys = 65536;

  Result<Tensor> numbers(Lowering& g, const Floats& floats, const Ints& ints, const TensorField& tensor, Elem& elem,
                         const char* what) const {
    if (tensor) {
      elem = POM_TRY(elem_of(*tensor.proto));
      POM_REQUIRE(elem != Elem::string, "{} are strings, which are not supported", what);
      Weight stored = POM_TRY(stored_weight(*tensor.proto, g.graphs().files()));
      return POM_TRY(POM_TRY(compute_weight(stored, elem)).materialise());
    }
    POM_REQUIRE(!floats.empty() || !ints.empty(), "{} are strings, which are not supported", what);
    elem = floats.empty() ? Elem::int64 : Elem::float32;
    std::vector<double> all = floats;
    if (floats.empty()) all.assign(ints.begin(), ints.end());
    return Tensor::from_numbers(elem_info(elem).compute, {std::int64_t(all.size())}, all);
  }
  Status lower(Lowering& g) const {
    POM_REQUIRE(X.dtype() != DType::string, "strings are not supported");
    Elem key_elem, elem;
    Tensor keys = POM_TRY(numbers(g, *keys_floats, *keys_int64s, keys_tensor, key_elem, "keys"));
    Tensor values = POM_TRY(numbers(g, *values_floats, *values_int64s, values_tensor, elem, "values"));
    POM_REQUIRE(keys.count() == values.count() && keys.count() > 0 && keys.count() <= most_keys,
                "there are {} keys and {} values", keys.count(), values.count());
    auto line = std::int64_t(keys.count());
    Value known = g.cast(g.constant(keys.reshaped({line})), X.dtype());
    Value x = g.expand_dims(X, {std::int64_t(X.rank())});
    Value same = g.add(mil::equal{.x = x, .y = known});
    for (std::size_t i = 0; i < keys.count(); ++i)
      if (std::isnan(keys.number(i))) return fail("NaN as a key is not supported");
    Value hit = g.cast(same, DType::int32);
    Value at = g.add(mil::reduce_argmax{.x = hit, .axis = -1, .keep_dims = false});
    Value any = g.add(mil::reduce_max{.x = hit, .axes = Ints{-1}, .keep_dims = false});
    Value found = g.add(mil::gather{.x = g.constant(values.reshaped({line})), .indices = at, .axis = 0});
    double usual = is_float(values.dtype()) ? double(*default_float) : double(*default_int64);
    if (default_tensor) {
      Weight stored = POM_TRY(stored_weight(*default_tensor.proto, g.graphs().files()));
      Tensor tensor = POM_TRY(stored.materialise());
      POM_REQUIRE(tensor.count() == 1 && tensor.dtype() != DType::string, "default_tensor is no number");
      usual = tensor.number(0);
    }
    return g.result(g.select(g.cast(any, DType::boolean), found, g.number(found, usual)), elem);
  }
};

Result<Value> transformed(Lowering& g, Value scores, const std::string& name) {
  if (name == "NONE") return scores;
  if (name == "SOFTMAX") return g.add(mil::softmax{.x = scores, .axis = -1});
  if (name == "LOGISTIC") return g.add(mil::sigmoid{.x = scores});
  return fail("post_transform is '{}', which is not supported", name);
}

struct LinearRegressor {
  ONNX_IN(X);
  ONNX_ATTR(coefficients, Floats);
  ONNX_ATTR(intercepts, Floats);
  ONNX_ATTR(post_transform, std::string) = "NONE";
  ONNX_ATTR(targets, int) = 1;
  Status lower(Lowering& g) const {
    POM_REQUIRE(*targets > 0 && coefficients->size() % std::size_t(*targets) == 0 && !coefficients->empty(),
                "{} coefficients for {} targets", coefficients->size(), *targets);
    auto width = std::int64_t(coefficients->size()) / *targets;
    Value weight = g.constant(Tensor::from_numbers(DType::fp32, {*targets, width}, *coefficients));
    Value y = g.add(mil::matmul{.x = real_of(g, X), .y = weight, .transpose_y = true});
    if (!intercepts->empty()) y = g.plus(y, row(g, *intercepts));
    return g.result(POM_TRY(transformed(g, y, *post_transform)), Elem::float32);
  }
};

}  // namespace

Rules ml_chapter() {
  return {
      rule<ArrayFeatureExtractor>("ArrayFeatureExtractor", 1, always, domain),
      rule<Binarizer>("Binarizer", 1, always, domain),
      rule<FeatureVectorizer>("FeatureVectorizer", 1, always, domain),
      rule<Imputer>("Imputer", 1, always, domain),
      rule<LabelEncoder>("LabelEncoder", 2, always, domain),
      rule<LinearRegressor>("LinearRegressor", 1, always, domain),
      rule<Normalizer>("Normalizer", 1, always, domain),
      rule<OneHotEncoder>("OneHotEncoder", 1, always, domain),
      rule<Scaler>("Scaler", 1, always, domain),
  };
}

}  // namespace pomona::onnx
