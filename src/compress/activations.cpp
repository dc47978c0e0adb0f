#include "compress/activations.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "compress/activation_trial.h"
#include "compress/observe.h"
#include "ir/builder.h"
#include "ops/activation.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"
#include "ops/pool.h"
#include "ops/quantization.h"
#include "ops/tensor_operation.h"

namespace pomona::compress {
namespace {

// Beyond it a value is more likely a mask than an activation.
constexpr double mask_magnitude = 1e4;
// How far one operand of an add may reach beyond the other, for both to have one range.
constexpr double most_tied = 2;
constexpr std::size_t trial_samples = 3;

class ActivationsScheme : public Scheme {
 public:
  ActivationsScheme(ActivationCoding coding, std::shared_ptr<const Scheme> weights)
      : coding_(std::move(coding)), weights_(std::move(weights)) {}
  std::string_view scheme_name() const override { return weights_ ? weights_->scheme_name() : "activations"; }
  const ActivationCoding* activations() const override { return &coding_; }
  std::int64_t weight_threshold() const override { return weights_ ? weights_->weight_threshold() : 0; }
  bool looks_at_all() const override { return weights_ && weights_->looks_at_all(); }
  void look_at(const Tensor& tensor) const override { weights_->look_at(tensor); }
  Status check(Target opset) const override {
    if (opset < iOS17)
      return fail("the program is for {}, but quantised activations need iOS17", name(opset))
          .advise("convert the model with --target iOS17");
    return weights_ ? weights_->check(opset) : Status();
  }
  Result<std::optional<Zeros>> zeros(const Candidate& candidate) const override {
    return weights_ ? weights_->zeros(candidate) : std::optional<Zeros>();
  }
  Result<Encoded> encode(const Candidate& candidate) const override {
    POM_REQUIRE(weights_, "only activations are quantised");
    return weights_->encode(candidate);
  }

 private:
  ActivationCoding coding_;
  std::shared_ptr<const Scheme> weights_;
};

bool is_pooling(const Node& node) { return is<mil::avg_pool>(&node) || is<mil::max_pool>(&node); }
bool runs_on_integers(const Node& node) {
  return is<mil::conv>(&node) || is<mil::linear>(&node) || is<mil::add>(&node) || is_pooling(node);
}
bool is_joined_activation(const Node& node) {
  return is<mil::leaky_relu>(&node) || is<mil::tanh>(&node) || is<mil::scaled_tanh>(&node) || is<mil::sigmoid>(&node) ||
         is<mil::sigmoid_hard>(&node) || is<mil::relu>(&node) || is<mil::relu6>(&node);
}

const Node* first_reader(Value value) {
  for (const Node* user : value.users())
    if (user->op) return user;
  return nullptr;
}

// What is quantised behind an op: its result, or that of its activation; nothing where nothing reads it.
Value result_of(const Node& node) {
  const Node* reader = first_reader(node.output());
  if (!reader) return {};
  bool joined = is_joined_activation(*reader) && reader->block() == node.block() && first_reader(reader->output());
  return joined ? reader->output() : node.output();
}

// An op that is to run on integers.
struct Layer {
  Node* op;
  const ActivationCoding* coding;
  Values inputs;
  Value result;  // empty: not quantised
  Values values() const {
    Values all = inputs;
    if (result) all.push_back(result);
    return all;
  }
};

// Values that have the same range.
class Ties {
 public:
  std::size_t leader(std::size_t i) {
    while (leaders_[i] != i) i = leaders_[i] = leaders_[leaders_[i]];
    return i;
  }
  void tie(std::size_t a, std::size_t b) {
    a = leader(a), b = leader(b);
    leaders_[std::max(a, b)] = std::min(a, b);
  }
  void grow_to(std::size_t count) {
    while (leaders_.size() < count) leaders_.push_back(leaders_.size());
  }

 private:
  std::vector<std::size_t> leaders_;
};

class Quantiser {
 public:
  Quantiser(Function& function, const Recipe& recipe, std::vector<bool>& used)
      : function_(function), recipe_(recipe), used_(used) {}

  Result<std::vector<ActivationLine>> run(const std::vector<NamedTensors>& samples) {
    POM_TRY(find_layers());
    POM_TRY(observe_values(samples));
    leave_masks();
    choose_codes();
    POM_TRY_IN(leave_harmful(samples), "measuring what quantised activations do");
    for (const Layer& layer : layers_) integer_ops_.insert(layer.op);
    for (const Layer& layer : layers_)
      for (Value value : layer.values()) quantise(value);
    for (const Layer& layer : layers_) POM_TRY_IN(rewire(layer), "{}", layer.op->label());
    return std::move(lines_);
  }

 private:
  void leave(const Node& node, std::string note) {
    lines_.push_back({.function = function_.name,
                      .op = node.name.empty() ? node.output().name() : node.name,
                      .type = std::string(node.op->name),
                      .value = node.output().name(),
                      .note = std::move(note),
                      .codes = {}});
  }

  // Calibration sees the values of the function's body only.
  void leave_inside(const Node& owner) {
    for (const auto& block : owner.blocks)
      for (const auto& node : block->nodes()) {
        if (runs_on_integers(*node)) leave(*node, fmt::format("it is inside {}", owner.label()));
        leave_inside(*node);
      }
  }

  Status find_layers() {
    for (const auto& node : function_.body.nodes()) {
      leave_inside(*node);
      if (!runs_on_integers(*node)) continue;
      Values inputs{node->input("x")};
      if (is<mil::add>(node.get())) inputs.push_back(node->input("y"));
      Choice choice = choose_for_op(recipe_, *node, used_);
      const ActivationCoding* coding = choice.scheme ? choice.scheme->activations() : nullptr;
      auto constant = [](Value v) { return v.is_weight(); };
      if (!coding)
        leave(*node, choice.scheme ? "its scheme is for weights only" : choice.reason);
      else if (!is_float(node->output().dtype()))
        leave(*node, fmt::format("its values are {}", name(node->output().dtype())));
      else if (node->output().rank() == 0)
        leave(*node, "it is a scalar");
      else if (std::ranges::any_of(inputs, constant))
        leave(*node, inputs.size() > 1 ? "one of its operands is constant" : "its input is constant");
      else
        layers_.push_back({node.get(), coding, inputs, result_of(*node)});
    }
    return {};
  }

  std::size_t index_of(Value value) {
    auto [at, fresh] = index_.try_emplace(value, values_.size());
    if (fresh) values_.push_back(value);
    return at->second;
  }

  Status observe_values(const std::vector<NamedTensors>& samples) {
    for (const Layer& layer : layers_)
      for (Value value : layer.values())
        if (averaging_.try_emplace(value, layer.coding->averaging).second) index_of(value);
    seen_.resize(values_.size());
    return observe(function_, values_, samples, [&](std::size_t value, std::size_t, const Tensor& tensor) {
      Tensor floats = tensor.converted(DType::fp32);
      seen_[value].add(floats.view<float>(), averaging_.at(values_[value]));
    });
  }

  // Why a value is not to be quantised, or empty.
  std::string trouble_with(Value value) {
    const ActivationStatistics& seen = seen_[index_of(value)];
    if (seen.not_finite) return fmt::format("'{}' has {} values that are not finite", value.name(), seen.not_finite);
    if (seen.samples == 0) return fmt::format("'{}' has no elements in any sample", value.name());
    double largest = std::max(-seen.lowest, seen.highest);
    if (largest < mask_magnitude) return {};
    return fmt::format("'{}' reaches {:g}, as masks do: 8 bits would leave nothing of smaller values", value.name(),
                       largest);
  }
  void leave_masks() {
    std::erase_if(layers_, [&](Layer& layer) {
      for (Value value : layer.values()) {
        std::string trouble = trouble_with(value);
        if (trouble.empty()) continue;
        bool only_result = std::ranges::find(layer.inputs, value) == layer.inputs.end() && layer.inputs.size() == 1;
        if (only_result) {
          layer.result = {};
        } else {
          leave(*layer.op, trouble);
          return true;
        }
      }
      return false;
    });
  }

  void choose_codes() {
    std::map<std::size_t, const ActivationCoding*> coding;
    for (const Layer& layer : layers_)
      for (Value value : layer.values()) coding.try_emplace(index_of(value), layer.coding);
    ties_.grow_to(values_.size());
    auto tie = [&](Value a, Value b) {
      auto x = index_.find(a), y = index_.find(b);
      if (x != index_.end() && y != index_.end() && coding.count(x->second) && coding.count(y->second))
        ties_.tie(x->second, y->second);
    };
    for (const Layer& layer : layers_) {
      if (layer.inputs.size() > 1 && reach_alike(layer.inputs[0], layer.inputs[1]))
        tie(layer.inputs[0], layer.inputs[1]);
      if (is_pooling(*layer.op) && layer.result == layer.op->output()) tie(layer.inputs[0], layer.result);
    }
    for (const auto& node : function_.body.nodes())
      if (is<mil::concat>(node.get())) {
        Value first = quantised_of(*node, coding);
        for (Value value : node->inputs())
          if (first) tie(first, value);
        if (first) tie(first, node->output());
      }
    std::map<std::size_t, ActivationStatistics> merged;
    for (const auto& [value, unused] : coding) merged[ties_.leader(value)].merge(seen_[value]);
    for (const auto& [leader, seen] : merged) {
      const ActivationCoding& by = *coding.at(leader);
      codes_[leader] = codes_for(choose_range(seen, by.range), by.dtype, by.range.symmetric, values_[leader].dtype());
    }
  }
  double reach_of(Value value) {
    const ActivationStatistics& seen = seen_[index_of(value)];
    return std::max(-seen.lowest, seen.highest);
  }
  bool reach_alike(Value a, Value b) {
    double x = reach_of(a), y = reach_of(b);
    return std::max(x, y) <= most_tied * std::min(x, y);
  }

  // Who is to read a value rounded.
  std::vector<Node*> readers_of(Value value) const {
    bool is_result = std::ranges::any_of(layers_, [&](const Layer& layer) { return layer.result == value; });
    std::vector<Node*> readers;
    for (Node* user : value.users())
      if (user->op && (is_result || reads_integers(*user, value))) readers.push_back(user);
    return readers;
  }

  // Leaves the ranges that harm the outputs most, alone, until they all together meet the bar.
  Status leave_harmful(const std::vector<NamedTensors>& samples) {
    double bar = 0;
    for (const Layer& layer : layers_) bar = std::max(bar, layer.coding->min_cosine);
    if (bar <= 0 || layers_.empty()) return {};
    for (const Layer& layer : layers_) integer_ops_.insert(layer.op);
    std::vector<TrialPlace> places;
    for (const Layer& layer : layers_)
      for (Value value : layer.values())
        if (std::ranges::find(places, value, &TrialPlace::value) == places.end())
          places.push_back({value, readers_of(value)});
    std::vector<std::size_t> order;
    std::map<std::size_t, double> harm;
    std::size_t left = 0;
    {
      ActivationTrial trial(function_, places, samples, trial_samples);
      auto measure = [&](auto is_on) {
        std::vector<std::optional<Codes>> codes;
        for (const TrialPlace& place : places) {
          std::size_t leader = ties_.leader(index_of(place.value));
          codes.push_back(is_on(leader) ? std::optional(codes_.at(leader)) : std::nullopt);
        }
        return trial.harm(codes);
      };
      for (const auto& [leader, unused] : codes_) {
        harm[leader] = POM_TRY(measure([&](std::size_t each) { return each == leader; })).relative_error;
        order.push_back(leader);
      }
      std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return harm.at(a) > harm.at(b); });
      auto meets = [&](std::size_t count) -> Result<bool> {
        std::set<std::size_t> off(order.begin(), order.begin() + std::ptrdiff_t(count));
        return POM_TRY(measure([&](std::size_t each) { return off.count(each) == 0; })).least_cosine >= bar;
      };
      std::size_t most = order.size();
      while (left < most) {
        std::size_t middle = (left + most) / 2;
        if (POM_TRY(meets(middle)))
          most = middle;
        else
          left = middle + 1;
      }
    }
    drop({order.begin(), order.begin() + std::ptrdiff_t(left)}, harm);
    integer_ops_.clear();
    return {};
  }

  void drop(const std::set<std::size_t>& off, const std::map<std::size_t, double>& harm) {
    std::erase_if(layers_, [&](Layer& layer) {
      for (Value input : layer.inputs) {
        std::size_t leader = ties_.leader(index_of(input));
        if (!off.count(leader)) continue;
        leave(*layer.op, fmt::format("in 8 bits '{}' alone would add an error of {:.2g} to the outputs", input.name(),
                                     std::sqrt(harm.at(leader))));
        return true;
      }
      if (layer.result && off.count(ties_.leader(index_of(layer.result)))) layer.result = {};
      return false;
    });
  }

  // The first of a concat's operands that is quantised.
  Value quantised_of(const Node& concat, const std::map<std::size_t, const ActivationCoding*>& coding) const {
    for (Value value : concat.inputs()) {
      auto at = index_.find(value);
      if (at != index_.end() && coding.count(at->second)) return value;
    }
    return {};
  }

  const Codes& codes_of(Value value) { return codes_.at(ties_.leader(index_of(value))); }

  void quantise(Value value) {
    if (quantised_.count(value)) return;
    const Codes& codes = codes_of(value);
    Builder g(function_.body, function_.body.behind(value));
    Value zero;
    if (codes.zero_point) zero = g.scalar(codes.dtype, *codes.zero_point);
    quantised_[value] = g.add(mil::quantize{.input = value,
                                            .zero_point = zero,
                                            .scale = g.scalar(value.dtype(), codes.scale),
                                            .output_dtype = std::string(name(codes.dtype))},
                              value.name() + "_quantized");
    if (!g.status()) status_ = Status(g.status());
  }

  Result<Value> dequantised(Value value, Node* place) {
    const Codes& codes = codes_of(value);
    Builder g(function_.body, place);
    Value zero;
    if (codes.zero_point) zero = g.scalar(codes.dtype, *codes.zero_point);
    Value made = g.add(
        mil::dequantize{
            .input = quantised_.at(value), .zero_point = zero, .scale = g.scalar(value.dtype(), codes.scale)},
        value.name() + "_dequantized");
    POM_TRY(Status(g.status()));
    return made;
  }

  void tell(const Layer& layer, Value value) {
    const ActivationStatistics& seen = seen_[index_of(value)];
    const Codes& codes = codes_of(value);
    lines_.push_back({.function = function_.name,
                      .op = layer.op->name.empty() ? layer.op->output().name() : layer.op->name,
                      .type = std::string(layer.op->op->name),
                      .value = value.name(),
                      .note = {},
                      .codes = codes,
                      .lowest = seen.lowest,
                      .highest = seen.highest,
                      .snr_decibel = coding_snr_decibel(seen, codes)});
  }

  Status rewire(const Layer& layer) {
    POM_TRY(Status(status_));
    for (std::size_t i = 0; i < layer.inputs.size(); ++i) {
      tell(layer, layer.inputs[i]);
      layer.op->set_input(i ? "y" : "x", POM_TRY(dequantised(layer.inputs[i], layer.op)));
    }
    if (!layer.result) return {};
    tell(layer, layer.result);
    std::vector<Node*> readers;
    for (Node* user : layer.result.users())
      if (user->op && !is<mil::quantize>(user) && !reads_integers(*user, layer.result)) readers.push_back(user);
    if (readers.empty()) return {};
    Value plain = POM_TRY(dequantised(layer.result, function_.body.next(*quantised_.at(layer.result).producer())));
    for (Node* reader : readers) reader->replace_inputs(layer.result, plain);
    return {};
  }
  // Whether a layer is still to take this value as its input; it gets a dequantize of its own.
  bool reads_integers(const Node& user, Value value) const {
    if (!integer_ops_.count(&user)) return false;
    return user.input("x") == value || (is<mil::add>(&user) && user.input("y") == value);
  }

  Function& function_;
  const Recipe& recipe_;
  std::vector<bool>& used_;
  std::vector<Layer> layers_;
  Values values_;
  std::map<Value, std::size_t> index_;
  std::map<Value, double> averaging_;
  std::vector<ActivationStatistics> seen_;
  Ties ties_;
  std::map<std::size_t, Codes> codes_;  // by the leader of a tie
  std::map<Value, Value> quantised_;
  std::set<const Node*> integer_ops_;
  Status status_;
  std::vector<ActivationLine> lines_;
};

Result<ActivationCoding> coding_of(const ActivationOptions& o) {
  POM_REQUIRE(*o.activation_dtype == "int8" || *o.activation_dtype == "uint8" || *o.activation_dtype == "auto",
              "the dtype of activations is int8, uint8 or auto, not '{}'", *o.activation_dtype);
  POM_REQUIRE(*o.activation_mode == "linear_symmetric" || *o.activation_mode == "linear",
              "the mode of activations is linear_symmetric or linear, not '{}'", *o.activation_mode);
  POM_REQUIRE(*o.activation_percentile > 0 && *o.activation_percentile <= 100, "the percentile is {}, not in (0, 100]",
              *o.activation_percentile);
  POM_REQUIRE(*o.averaging > 0 && *o.averaging <= 1, "averaging is {}, not in (0, 1]", *o.averaging);
  ActivationCoding coding{*o.activation_dtype, {}, *o.averaging, 0};
  coding.range.method = POM_TRY(range_method(*o.activation_range));
  coding.range.percentile = *o.activation_percentile;
  coding.range.symmetric = *o.activation_mode == "linear_symmetric";
  POM_REQUIRE(*o.activation_min_cosine >= 0 && *o.activation_min_cosine < 1,
              "activation_min_cosine is {}, not from 0 to 1", *o.activation_min_cosine);
  coding.min_cosine = *o.activation_min_cosine;
  coding.range.unsigned_codes = *o.activation_dtype == "auto";
  return coding;
}

}  // namespace

Result<std::shared_ptr<const Scheme>> make_activations(const SchemeOptions& options) {
  SchemeOptions own, rest;
  for (const auto& [name, value] : options) {
    bool known = std::ranges::any_of(record_of<ActivationOptions>().fields,
                                     [&](const FieldInfo* field) { return field->name == name; });
    (known ? own : rest)[name] = value;
  }
  ActivationOptions understood;
  POM_TRY(set_fields(understood, own));
  bool alone = *understood.weights == "none";
  if (alone) {
    // Without weights the usual names mean activations.
    for (const auto& [name, value] : rest)
      own[name == "mode" || name == "dtype" || name == "range" || name == "percentile" ? "activation_" + name : name] =
          value;
    POM_TRY(set_fields(understood, own));
  }
  ActivationCoding coding = POM_TRY(coding_of(understood));
  std::shared_ptr<const Scheme> weights;
  if (!alone) weights = POM_TRY(make_scheme(*understood.weights, rest));
  return std::shared_ptr<const Scheme>(std::make_shared<ActivationsScheme>(std::move(coding), std::move(weights)));
}

Result<std::vector<ActivationLine>> quantise_activations(Function& function, const std::vector<NamedTensors>& samples,
                                                         const Recipe& recipe, std::vector<bool>& used) {
  return Quantiser(function, recipe, used).run(samples);
}

}  // namespace pomona::compress
