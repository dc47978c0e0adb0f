#include "compress/activation_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ir/builder.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/tensor_operation.h"

namespace pomona::compress {

struct ActivationTrial::Inserted {
  Value value, rounded;
  std::vector<Node*> nodes;
  std::string scale, lowest, highest, enabled;  // inputs
};

namespace {

double cosine_of(const std::vector<double>& a, const std::vector<double>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : (aa == bb ? 1 : 0);
}

}  // namespace

ActivationTrial::ActivationTrial(Function& function, const std::vector<TrialPlace>& places,
                                 const std::vector<NamedTensors>& samples, std::size_t most_samples)
    : function_(function),
      samples_(samples.begin(), samples.begin() + std::ptrdiff_t(std::min(samples.size(), most_samples))) {
  for (const TrialPlace& place : places) {
    std::string stem = fmt::format("trial {}", inserted_.size());
    Inserted made{place.value, {}, {}, stem + " scale", stem + " lowest", stem + " highest", stem + " enabled"};
    DType dtype = place.value.dtype();
    Builder g(function.body, function.body.behind(place.value));
    Value scale = function.body.add_input(made.scale, tensor_type(dtype, {1})),
          lowest = function.body.add_input(made.lowest, tensor_type(dtype, {1})),
          highest = function.body.add_input(made.highest, tensor_type(dtype, {1})),
          enabled = function.body.add_input(made.enabled, tensor_type(DType::boolean, {1}));
    Value level = g.add(mil::round{.x = g.add(mil::real_div{.x = place.value, .y = scale})});
    level = g.add(mil::minimum{.x = g.add(mil::maximum{.x = level, .y = lowest}), .y = highest});
    Value rounded = g.add(mil::mul{.x = level, .y = scale});
    made.rounded = g.add(mil::select{.cond = enabled, .a = rounded, .b = place.value});
    if (status_ && !g.status()) status_ = Status(g.status());
    if (!made.rounded) break;
    for (Node* node = made.rounded.producer(); node && made.nodes.size() < 6; node = function.body.previous(*node))
      made.nodes.push_back(node);
    for (Node* reader : place.readers) reader->replace_inputs(place.value, made.rounded);
    inserted_.push_back(std::move(made));
  }
  runner_.emplace(function, cpu::RunOptions{});
}

ActivationTrial::~ActivationTrial() {
  runner_.reset();
  for (const Inserted& each : inserted_) {
    replace_uses(each.rounded, each.value);
    for (Node* node : each.nodes) function_.body.erase(*node);
  }
  for (std::size_t i = function_.body.input_count(); i-- > 0;)
    if (function_.body.input(i).name().starts_with("trial ")) function_.body.remove_input(i);
}

Result<std::vector<std::vector<double>>> ActivationTrial::outputs(const std::vector<std::optional<Codes>>& codes,
                                                                  std::size_t sample) {
  POM_TRY(Status(status_));
  NamedTensors inputs = samples_[sample];
  for (std::size_t i = 0; i < inserted_.size(); ++i) {
    const Inserted& each = inserted_[i];
    const Codes by = codes[i].value_or(Codes());
    DType dtype = each.value.dtype();
    auto number = [](DType of, double value) { return Tensor::from_numbers(of, {1}, std::vector<double>{value}); };
    inputs[each.scale] = number(dtype, by.scale);
    inputs[each.lowest] = number(dtype, std::nearbyint(by.lowest() / by.scale));
    inputs[each.highest] = number(dtype, std::nearbyint(by.highest() / by.scale));
    inputs[each.enabled] = number(DType::boolean, codes[i] ? 1 : 0);
  }
  runner_->reset_states();
  Tensors got = POM_TRY(runner_->run(inputs));
  std::vector<std::vector<double>> floats;
  for (const Tensor& tensor : got)
    if (is_float(tensor.dtype())) floats.push_back(tensor.numbers());
  return floats;
}

Result<Harm> ActivationTrial::harm(const std::vector<std::optional<Codes>>& codes) {
  if (plain_.empty())
    for (std::size_t s = 0; s < samples_.size(); ++s)
      plain_.push_back(POM_TRY(outputs(std::vector<std::optional<Codes>>(codes.size()), s)));
  Harm harm;
  double count = 0;
  for (std::size_t s = 0; s < samples_.size(); ++s) {
    auto got = POM_TRY(outputs(codes, s));
    for (std::size_t o = 0; o < got.size(); ++o) {
      const std::vector<double>&a = got[o], &b = plain_[s][o];
      if (a.size() != b.size() || b.empty()) continue;
      double error = 0, power = 0;
      for (std::size_t i = 0; i < a.size(); ++i)
        if (std::isfinite(b[i])) error += (a[i] - b[i]) * (a[i] - b[i]), power += b[i] * b[i];
      harm.relative_error += power > 0 ? error / power : 0;
      harm.least_cosine = std::min(harm.least_cosine, cosine_of(a, b));
      ++count;
    }
  }
  if (count > 0) harm.relative_error /= count;
  return harm;
}

}  // namespace pomona::compress
