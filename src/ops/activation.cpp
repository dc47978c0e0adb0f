#include "ops/activation.h"

#include <algorithm>
#include <numbers>

#include "ops/catalogue.h"

namespace pomona::mil {
namespace {

// Applies f(value, channel) with the channel taken along axis 1.
template <class F>
Tensor map_channels(const Tensor& x, F f) {
  std::vector<double> values = x.numbers();
  std::size_t channels = std::size_t(x.sizes()[1]), inner = 1;
  for (std::size_t d = 2; d < x.rank(); ++d) inner *= std::size_t(x.sizes()[d]);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = f(values[i], i / inner % channels);
  return Tensor::from_numbers(x.dtype(), x.sizes(), values);
}

Status check_per_channel(const InputField& x, const InputField& parameter, const char* parameter_name) {
  POM_REQUIRE(x.rank() >= 3, "x has rank {}, but at least 3 is needed", x.rank());
  POM_REQUIRE(parameter.rank() == 1, "{} has rank {}, not 1", parameter_name, parameter.rank());
  Dim channels = x.shape()[1], given = parameter.shape()[0];
  POM_REQUIRE(!channels.known() || !given.known() || channels == given, "{} has {} elements, but x has {} channels",
              parameter_name, given.text(), channels.text());
  return {};
}

bool all_close(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [&](double v) { return std::fabs(v - values[0]) <= 1e-5; });
}

}  // namespace

Result<Types> gelu::infer(const At&) const {
  POM_REQUIRE(*mode == "EXACT" || *mode == "TANH_APPROXIMATION" || *mode == "SIGMOID_APPROXIMATION",
              "mode is '{}', not EXACT, TANH_APPROXIMATION or SIGMOID_APPROXIMATION", *mode);
  return Types{x.type()};
}
Result<Tensors> gelu::eval(const At& at) const {
  POM_TRY(infer(at));
  std::vector<double> values = x.tensor().numbers();
  for (double& v : values) {
    if (*mode == "EXACT")
      v = 0.5 * v * (1 + std::erf(v / std::numbers::sqrt2));
    else if (*mode == "TANH_APPROXIMATION")
      v = 0.5 * v * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v)));
    else
      v = v / (1 + std::exp(-1.702 * v));
  }
  return Tensors{Tensor::from_numbers(x.dtype(), x.sizes(), values)};
}

Result<Types> prelu::infer(const At&) const {
  POM_REQUIRE(x.rank() <= 5, "x has rank {}, but at most 5 is allowed", x.rank());
  POM_TRY(check_per_channel(x, alpha, "alpha"));
  if (const Tensor* slopes = alpha.known(); slopes && x.rank() != 4)
    POM_REQUIRE(all_close(slopes->numbers()), "x has rank {}; only with rank 4 may the elements of alpha differ",
                x.rank());
  return Types{x.type()};
}
Result<Tensors> prelu::eval(const At& at) const {
  POM_TRY(infer(at));
  std::vector<double> slope = alpha.tensor().numbers();
  return Tensors{map_channels(x.tensor(), [&](double v, std::size_t c) { return v > 0 ? v : slope[c] * v; })};
}

Result<Types> softplus_parametric::infer(const At&) const {
  POM_TRY(check_per_channel(x, alpha, "alpha"));
  POM_TRY(check_per_channel(x, beta, "beta"));
  return Types{x.type()};
}
Result<Tensors> softplus_parametric::eval(const At& at) const {
  POM_TRY(infer(at));
  std::vector<double> a = alpha.tensor().numbers(), b = beta.tensor().numbers();
  return Tensors{map_channels(x.tensor(), [&](double v, std::size_t c) { return a[c] * softplus::f(b[c] * v); })};
}

Result<Types> softmax::infer(const At&) const {
  POM_REQUIRE(normal_axis(axis, x.rank()), "axis {} is outside a tensor of rank {}", axis.value, x.rank());
  return Types{x.type()};
}
Result<Tensors> softmax::eval(const At& at) const {
  POM_TRY(infer(at));
  std::size_t along = *normal_axis(axis, x.rank());
  std::size_t length = std::size_t(x.sizes()[along]), stride = std::size_t(strides_of(x.sizes())[along]);
  std::vector<double> values = x.tensor().numbers();
  if (length == 0) return Tensors{x.tensor()};
  for (std::size_t first = 0; first < values.size(); ++first) {
    if (first / stride % length != 0) continue;
    double* row = &values[first];
    double most = row[0], sum = 0;
    for (std::size_t i = 1; i < length; ++i) most = std::max(most, row[i * stride]);
    for (std::size_t i = 0; i < length; ++i) sum += row[i * stride] = std::exp(row[i * stride] - most);
    for (std::size_t i = 0; i < length; ++i) row[i * stride] /= sum;
  }
  return Tensors{Tensor::from_numbers(x.dtype(), x.sizes(), values)};
}

std::vector<const OpDef*> activation_chapter() {
  return op_list<relu, relu6, sigmoid, silu, softplus, softsign, clamped_relu, linear_activation, scaled_tanh,
                 sigmoid_hard, elu, leaky_relu, thresholded_relu, gelu, prelu, softplus_parametric, softmax>();
}

}  // namespace pomona::mil
