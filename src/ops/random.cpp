#include "ops/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/half.h"
#include "ops/catalogue.h"
#include "ops/shape_rules.h"

namespace pomona::mil {
namespace {

// Random bits from the interpreter, or from a sequence that a seed determines.
class Source {
 public:
  static Result<Source> make(int seed, const At& at) {
    POM_REQUIRE(seed != -1 || at.interpreter, "a random op without a seed can only be used while a program runs");
    return Source(seed, seed == -1 ? at.interpreter : nullptr);
  }
  // In [0, 1), a multiple of 2^-53.
  double uniform() { return double(bits() >> 11) * 0x1p-53; }

 private:
  Source(int seed, Interpreter* interpreter) : state_(std::uint32_t(seed)), interpreter_(interpreter) {}
  std::uint64_t bits() {
    if (interpreter_) return interpreter_->random();
    // splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014)
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }
  std::uint64_t state_;
  Interpreter* interpreter_;
};

Result<Types> infer_shape(const InputField& shape, DType dtype) {
  POM_REQUIRE(shape.rank() == 1, "shape has rank {}, not 1", shape.rank());
  POM_REQUIRE(is_float(dtype), "the parameters are {}, not fp16 or fp32", name(dtype));
  if (auto known = shape.contents()) {
    POM_TRY(check_sizes(*known));
    return Types{tensor_type(dtype, *known)};
  }
  Dim rank = shape.shape()[0];
  POM_REQUIRE(rank.known() && rank.value() >= 0 && rank.value() <= 16, "shape has {} elements; the rank must be known",
              rank.text());
  Shape result;
  for (std::int64_t d = 0; d < rank.value(); ++d) result.push_back(Dim::unknown());
  return Types{tensor_type(dtype, std::move(result))};
}

// A tensor of the inferred type whose elements draw() makes one after the other.
template <class Draw>
Result<Tensors> fill(const Type& type, Draw draw) {
  Tensor out = POM_TRY(make_tensor(type.dtype, type.shape));
  for (std::size_t i = 0; i < out.count(); ++i) out.set_number(i, draw());
  return Tensors{out};
}

Status check_same(const Scalar& a, const Scalar& b) {
  POM_REQUIRE(a.dtype == b.dtype, "the parameters are {} and {}; they must be equal", name(a.dtype), name(b.dtype));
  return {};
}

double rounded(DType dtype, double value) {
  return dtype == DType::fp16 ? half_to_float(double_to_half(value)) : double(float(value));
}

}  // namespace

Result<Types> random_bernoulli::infer(const At&) const { return infer_shape(shape, prob->dtype); }
Result<Tensors> random_bernoulli::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Source source = POM_TRY(Source::make(seed, at));
  return fill(type, [&] { return source.uniform() < prob->value ? 1 : 0; });
}

Result<Types> random_normal::infer(const At&) const {
  POM_TRY(check_same(mean, stddev));
  return infer_shape(shape, mean->dtype);
}
Result<Tensors> random_normal::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Source source = POM_TRY(Source::make(seed, at));
  return fill(type, [&] {  // Box and Muller, 1958
    double radius = std::sqrt(-2 * std::log(1 - source.uniform()));
    return mean->value + stddev->value * radius * std::cos(2 * std::numbers::pi * source.uniform());
  });
}

Result<Types> random_uniform::infer(const At&) const {
  POM_TRY(check_same(low, high));
  return infer_shape(shape, low->dtype);
}
Result<Tensors> random_uniform::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Source source = POM_TRY(Source::make(seed, at));
  double first = low->value, end = high->value;
  return fill(type, [&] {
    if (!(first < end)) return first;
    // Rounding may reach `high`, which is excluded: another try.
    for (int tries = 0; tries < 64; ++tries) {
      double value = rounded(type.dtype, first + source.uniform() * (end - first));
      if (value != end) return value;
    }
    return first;
  });
}

Result<Types> random_categorical::infer(const At&) const {
  POM_REQUIRE(*mode == "logits" || *mode == "probs", "mode is '{}', not logits or probs", *mode);
  POM_REQUIRE(x.rank() >= 1, "x is a scalar, but its last dimension must hold probabilities");
  POM_REQUIRE(!(x.shape().back() == 0), "x has no categories");
  Shape result = x.shape();
  result.back() = std::int64_t(size);
  POM_TRY(check_sizes(result));
  return Types{tensor_type(x.dtype(), std::move(result))};
}
Result<Tensors> random_categorical::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Source source = POM_TRY(Source::make(seed, at));
  std::size_t categories = std::size_t(x.sizes().back()), draws = std::size_t(*size);
  std::vector<double> weights = x.tensor().numbers();
  Tensor out = POM_TRY(make_tensor(type.dtype, type.shape));
  for (std::size_t row = 0; row < weights.size() / categories; ++row) {
    std::span<double> cumulative(&weights[row * categories], categories);
    double most = *std::max_element(cumulative.begin(), cumulative.end()), sum = 0;
    for (double& weight : cumulative) {
      double own = *mode == "logits" ? std::exp(weight - most) : weight;
      weight = sum += own > 0 ? own : 0;
    }
    for (std::size_t k = 0; k < draws; ++k) {
      auto drawn = std::upper_bound(cumulative.begin(), cumulative.end(), source.uniform() * sum);
      std::size_t index = std::min(std::size_t(drawn - cumulative.begin()), categories - 1);
      out.set_number(row * draws + k, double(index));
    }
  }
  return Tensors{out};
}

std::vector<const OpDef*> random_chapter() {
  return op_list<random_bernoulli, random_categorical, random_normal, random_uniform>();
}

}  // namespace pomona::mil
