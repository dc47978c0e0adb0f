#include "ops/norm.h"

#include <algorithm>
#include <cmath>

#include "ops/axes.h"
#include "ops/catalogue.h"

namespace pomona::mil {
namespace {

Status check_rank(const InputField& x, std::size_t least, std::size_t most) {
  POM_REQUIRE(x.rank() >= least && x.rank() <= most, "x has rank {}, but {} to {} is needed", x.rank(), least, most);
  return {};
}
Status check_optional(const InputField& parameter, std::string_view parameter_name, Dim channels) {
  if (!parameter) return {};
  return require_per_channel(parameter, parameter_name, channels);
}

// The parameter's elements, or `count` times what stands for an absent one.
std::vector<double> numbers_or(const InputField& parameter, double absent, std::size_t count) {
  return parameter ? parameter.tensor().numbers() : std::vector<double>(count, absent);
}

// The channel (along axis 1) of element i of a row-major tensor.
struct ChannelOf {
  std::size_t channels, inner = 1;
  explicit ChannelOf(const Sizes& sizes) : channels(std::size_t(sizes[1])) {
    for (std::size_t d = 2; d < sizes.size(); ++d) inner *= std::size_t(sizes[d]);
  }
  std::size_t operator()(std::size_t i) const { return i / inner % channels; }
};

// Takes mean and variance out of every row.
void standardise(std::vector<double>& values, const Rows& rows, double epsilon) {
  double count = double(rows.step.size());
  for (std::size_t first : rows.first) {
    double sum = 0, squares = 0;
    for (std::size_t step : rows.step) sum += values[first + step];
    double mean = sum / count;
    for (std::size_t step : rows.step) squares += (values[first + step] - mean) * (values[first + step] - mean);
    double factor = 1 / std::sqrt(squares / count + epsilon);
    for (std::size_t step : rows.step) values[first + step] = (values[first + step] - mean) * factor;
  }
}

std::vector<bool> last_axes(std::size_t rank, std::size_t count) {
  std::vector<bool> chosen(rank, false);
  std::fill(chosen.end() - std::ptrdiff_t(count), chosen.end(), true);
  return chosen;
}

Status check_along(const InputField& parameter, std::string_view parameter_name, const Shape& expected) {
  if (!parameter) return {};
  bool fits = parameter.rank() == expected.size();
  for (std::size_t i = 0; fits && i < expected.size(); ++i) fits = may_equal(parameter.shape()[i], expected[i]);
  POM_REQUIRE(fits, "{} is {}, but x is {} along the axes", parameter_name, to_string(parameter.shape()),
              to_string(expected));
  return {};
}

}  // namespace

Result<Types> batch_norm::infer(const At&) const {
  POM_TRY(check_rank(x, 3, 5));
  Dim channels = x.shape()[1];
  POM_TRY(require_per_channel(mean, "mean", channels));
  POM_TRY(require_per_channel(variance, "variance", channels));
  POM_TRY(check_optional(gamma, "gamma", channels));
  POM_TRY(check_optional(beta, "beta", channels));
  return Types{x.type()};
}
Result<Tensors> batch_norm::eval(const At& at) const {
  POM_TRY(infer(at));
  ChannelOf channel_of(x.sizes());
  std::vector<double> values = x.tensor().numbers(), center = mean.tensor().numbers();
  std::vector<double> spread = variance.tensor().numbers();
  std::vector<double> scale = numbers_or(gamma, 1, center.size()), shift = numbers_or(beta, 0, center.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::size_t c = channel_of(i);
    values[i] = scale[c] * (values[i] - center[c]) / std::sqrt(spread[c] + epsilon) + shift[c];
  }
  return Tensors{Tensor::from_numbers(x.dtype(), x.sizes(), values)};
}

Result<Types> instance_norm::infer(const At&) const {
  POM_TRY(check_rank(x, 3, 4));
  POM_TRY(check_optional(gamma, "gamma", x.shape()[1]));
  POM_TRY(check_optional(beta, "beta", x.shape()[1]));
  return Types{x.type()};
}
Result<Tensors> instance_norm::eval(const At& at) const {
  POM_TRY(infer(at));
  ChannelOf channel_of(x.sizes());
  std::vector<double> values = x.tensor().numbers();
  standardise(values, rows_along(x.sizes(), last_axes(x.rank(), x.rank() - 2)), epsilon);
  std::vector<double> scale = numbers_or(gamma, 1, channel_of.channels);
  std::vector<double> shift = numbers_or(beta, 0, channel_of.channels);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = scale[channel_of(i)] * values[i] + shift[channel_of(i)];
  return Tensors{Tensor::from_numbers(x.dtype(), x.sizes(), values)};
}

Result<Types> layer_norm::infer(const At&) const {
  std::vector<bool> chosen = POM_TRY(chosen_axes(axes, x.rank()));
  Shape along;
  for (std::size_t i = 0; i < x.rank(); ++i)
    if (chosen[i]) along.push_back(x.shape()[i]);
  POM_TRY(check_along(gamma, "gamma", along));
  POM_TRY(check_along(beta, "beta", along));
  return Types{x.type()};
}
Result<Tensors> layer_norm::eval(const At& at) const {
  POM_TRY(infer(at));
  Rows rows = rows_along(x.sizes(), POM_TRY(chosen_axes(axes, x.rank())));
  std::vector<double> values = x.tensor().numbers();
  standardise(values, rows, epsilon);
  std::vector<double> scale = numbers_or(gamma, 1, rows.step.size()), shift = numbers_or(beta, 0, rows.step.size());
  for (std::size_t first : rows.first)
    for (std::size_t i = 0; i < rows.step.size(); ++i) {
      double& v = values[first + rows.step[i]];
      v = scale[i] * v + shift[i];
    }
  return Tensors{Tensor::from_numbers(x.dtype(), x.sizes(), values)};
}

Result<Types> l2_norm::infer(const At&) const {
  POM_REQUIRE(x.rank() >= 3, "x has rank {}, but at least 3 is needed", x.rank());
  return Types{x.type()};
}
Result<Tensors> l2_norm::eval(const At& at) const {
  POM_TRY(infer(at));
  Rows rows = rows_along(x.sizes(), last_axes(x.rank(), 3));
  std::vector<double> values = x.tensor().numbers();
  for (std::size_t first : rows.first) {
    double sum = 0;
    for (std::size_t step : rows.step) sum += values[first + step] * values[first + step];
    for (std::size_t step : rows.step) values[first + step] /= std::sqrt(sum + epsilon);
  }
  return Tensors{Tensor::from_numbers(x.dtype(), x.sizes(), values)};
}

Result<Types> local_response_norm::infer(const At&) const {
  POM_REQUIRE(x.rank() >= 3, "x has rank {}, but at least 3 is needed", x.rank());
  POM_REQUIRE(size >= 1, "size is {}", size.value);
  return Types{x.type()};
}
// Channels lie along axis -3 (the text says axis 1; for rank 4 that is the same). Of an even `size` the larger half
// comes before the channel.
Result<Tensors> local_response_norm::eval(const At& at) const {
  POM_TRY(infer(at));
  std::size_t axis = x.rank() - 3;
  std::int64_t channels = x.sizes()[axis], stride = strides_of(x.sizes())[axis];
  std::int64_t before = size / 2, after = (size - 1) / 2;
  std::vector<double> values = x.tensor().numbers(), result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::int64_t channel = std::int64_t(i) / stride % channels;
    const double* first = &values[i] - channel * stride;
    double sum = 0;
    for (std::int64_t c = std::max<std::int64_t>(0, channel - before); c <= std::min(channels - 1, channel + after);
         ++c)
      sum += first[c * stride] * first[c * stride];
    result[i] = values[i] / std::pow(k + alpha / size * sum, beta);
  }
  return Tensors{Tensor::from_numbers(x.dtype(), x.sizes(), result)};
}

std::vector<const OpDef*> norm_chapter() {
  return op_list<batch_norm, instance_norm, layer_norm, l2_norm, local_response_norm>();
}

}  // namespace pomona::mil
