#include "llm/blocks.h"

#include <fmt/format.h>

#include <cmath>

#include "ir/border.h"
#include "ops/activation.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::llm {
namespace {

Weight plus_one(const Weight& weight) {
  return Weight::derived({.what = "plus one",
                          .dtype = DType::fp32,
                          .sizes = weight.sizes(),
                          .inputs = {Weight::cast(weight, DType::fp32)},
                          .apply = [](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor out(DType::fp32, in[0].sizes());
                            auto from = in[0].view<float>();
                            auto to = out.mutable_view<float>();
                            for (std::size_t i = 0; i < to.size(); ++i) to[i] = from[i] + 1;
                            return out;
                          }});
}

}  // namespace

std::string numbered(const std::string& pattern, std::int64_t layer) {
  return fmt::format(fmt::runtime(pattern), layer);
}
std::string numbered(const std::string& pattern, std::int64_t layer, std::int64_t expert) {
  return fmt::format(fmt::runtime(pattern), layer, expert);
}

Value Blocks::reshape(Value x, const Ints& shape) { return g.add(mil::reshape{.x = x, .shape = g.ints(shape)}); }
Value Blocks::transpose(Value x, const Ints& order) { return g.add(mil::transpose{.x = x, .perm = order}); }

Value Blocks::add_output(Value value, const std::string& name) {
  Value output = value ? g.add(mil::identity{.x = value}, name) : Value();
  if (!output) return {};
  output.set_name(name);
  g.block().function().outputs.push_back(feature_of(output));
  return output;
}

Value Blocks::concat(const Values& values, int axis) { return g.add(mil::concat{.values = values, .axis = axis}); }

Value Blocks::matrix(const std::string& name) {
  auto [at, fresh] = made_.try_emplace(name);
  if (!fresh) return at->second;
  auto weight = weights_.matrix(name);
  if (!weight) return g.refuse(std::move(weight).error());
  return at->second = add_encoded(g, *weight, name);
}

Value Blocks::plain(const std::string& name) {
  auto [at, fresh] = made_.try_emplace(name + " plain");
  if (!fresh) return at->second;
  auto weight = weights_.plain(name, dtype);
  if (!weight) return g.refuse(std::move(weight).error());
  return at->second = g.constant(*weight, name);
}

Value Blocks::table(const std::string& name, Value indices) {
  return g.add(mil::gather{.x = matrix(name), .indices = indices, .axis = 0, .validate_indices = false});
}

Value Blocks::bias_of(const std::string& name) {
  return weights_.has(name + ".bias") ? plain(name + ".bias") : Value();
}

Value Blocks::linear(Value x, const std::string& name, bool transposed) {
  std::string weight_name = name + ".weight";
  if (engine == Engine::gpu && !transposed)
    return g.add(mil::linear{.x = x, .weight = matrix(weight_name), .bias = bias_of(name)}, name);
  // Only a decoded matrix can be turned round, or be given more axes.
  auto weight = weights_.plain(weight_name, dtype);
  if (!weight) return g.refuse(std::move(weight).error());
  Weight rows = transposed ? llm::transposed(*weight) : *weight;
  if (engine == Engine::gpu)
    return g.add(mil::linear{.x = x, .weight = g.constant(rows, weight_name), .bias = bias_of(name)}, name);
  Weight kernel = reshaped(rows, {rows.sizes()[0], rows.sizes()[1], 1, 1});
  return g.add(mil::conv{.x = x, .weight = g.constant(kernel, weight_name), .bias = bias_of(name)}, name);
}

Value Blocks::linear_part(Value x, const std::string& name, std::int64_t begin, std::int64_t end) {
  std::string weight_name = name + ".weight";
  auto weight = weights_.matrix(weight_name);
  if (!weight) return g.refuse(std::move(weight).error());
  std::string part_name = fmt::format("{}_{}", name, begin);
  Value bias;
  if (weights_.has(name + ".bias")) {
    auto whole = weights_.plain(name + ".bias", dtype);
    if (!whole) return g.refuse(std::move(whole).error());
    bias = g.constant(rows_of(plain_weight(*whole), begin, end).operands[0], part_name + ".bias");
  }
  EncodedWeight part = rows_of(*weight, begin, end);
  if (engine == Engine::gpu)
    return g.add(mil::linear{.x = x, .weight = add_encoded(g, part, part_name + ".weight"), .bias = bias}, part_name);
  const Weight& rows = part.operands[0];
  Weight kernel = reshaped(rows, {rows.sizes()[0], rows.sizes()[1], 1, 1});
  return g.add(mil::conv{.x = x, .weight = g.constant(kernel, part_name + ".weight"), .bias = bias}, part_name);
}

Value Blocks::norm_weight(const std::string& name, bool adds_one, std::int64_t axis) {
  std::string key = name + (axis == 1 ? " channels" : adds_one ? " plus one" : "");
  auto [at, fresh] = made_.try_emplace(key);
  if (!fresh) return at->second;
  auto weight = weights_.plain(name, adds_one ? DType::fp32 : dtype);
  if (!weight) return g.refuse(std::move(weight).error());
  Weight vector = adds_one ? Weight::cast(plus_one(*weight), dtype) : *weight;
  if (axis == 1) vector = reshaped(vector, {1, vector.sizes()[0], 1, 1});
  return at->second = g.constant(vector, name);
}

// x / sqrt(mean(x^2) + epsilon). In fp16 squares leave the range from 256 on, so x is first divided by its largest
// element, and epsilon by the square of that.
Value Blocks::rms(Value x, double epsilon, std::int64_t axis) {
  Ints axes{axis};
  if (dtype == DType::fp32) {
    Value mean = g.add(mil::reduce_mean{.x = g.add(mil::square{.x = x}), .axes = axes, .keep_dims = true});
    return g.add(mil::mul{.x = x, .y = g.add(mil::rsqrt{.x = mean, .epsilon = epsilon})});
  }
  constexpr double smallest = 1e-3;  // keeps (root of epsilon / largest)^2 within the range
  Value largest = g.add(mil::reduce_max{.x = g.add(mil::abs{.x = x}), .axes = axes, .keep_dims = true});
  largest = g.add(mil::maximum{.x = largest, .y = g.scalar(dtype, smallest)});
  Value small = g.add(mil::real_div{.x = x, .y = largest});
  Value mean = g.add(mil::reduce_mean{.x = g.add(mil::square{.x = small}), .axes = axes, .keep_dims = true});
  Value root = g.add(mil::real_div{.x = g.scalar(dtype, std::sqrt(epsilon)), .y = largest});
  Value sum = g.add(mil::add{.x = mean, .y = g.add(mil::square{.x = root})});
  return g.add(mil::mul{.x = small, .y = g.add(mil::rsqrt{.x = sum, .epsilon = 1e-7})});
}

Value Blocks::norm_over(Value x, const std::string& name, const NormForm& form, std::int64_t axis) {
  bool has_bias = weights_.has(name + ".bias");
  if (form.kind == NormKind::layer && axis == -1)
    return g.add(mil::layer_norm{.x = x,
                                 .axes = Ints{-1},
                                 .gamma = form.plain ? Value() : norm_weight(name + ".weight", form.adds_one, -1),
                                 .beta = has_bias ? plain(name + ".bias") : Value(),
                                 .epsilon = form.epsilon},
                 name);
  if (form.kind == NormKind::layer)
    x = g.add(mil::sub{.x = x, .y = g.add(mil::reduce_mean{.x = x, .axes = Ints{axis}, .keep_dims = true})});
  if (form.plain) return rms(x, form.epsilon, axis);
  Value y = g.add(mil::mul{.x = rms(x, form.epsilon, axis), .y = norm_weight(name + ".weight", form.adds_one, axis)},
                  has_bias ? std::string() : name);
  if (has_bias) y = g.add(mil::add{.x = y, .y = norm_weight(name + ".bias", false, axis)}, name);
  return y;
}

Value Blocks::activation(Value x, const std::string& name) {
  if (name == "silu" || name == "swish") return g.add(mil::silu{.x = x});
  if (name == "relu") return g.add(mil::relu{.x = x});
  if (name == "relu6") return g.add(mil::relu6{.x = x});
  if (name == "relu2") return g.add(mil::square{.x = g.add(mil::relu{.x = x})});
  if (name == "tanh") return g.add(mil::tanh{.x = x});
  if (name == "sigmoid") return g.add(mil::sigmoid{.x = x});
  if (name == "linear") return x;
  if (name == "mish") return g.add(mil::mul{.x = x, .y = g.add(mil::tanh{.x = g.add(mil::softplus{.x = x})})});
  if (name == "leaky_relu") return g.add(mil::leaky_relu{.x = x, .alpha = 0.01});
  if (name == "gelu" || name == "gelu_python") return g.add(mil::gelu{.x = x, .mode = "EXACT"});
  if (name == "gelu_new" || name == "gelu_fast" || name == "gelu_pytorch_tanh" || name == "gelu_accurate")
    return g.add(mil::gelu{.x = x, .mode = "TANH_APPROXIMATION"});
  if (name == "quick_gelu") return g.add(mil::gelu{.x = x, .mode = "SIGMOID_APPROXIMATION"});
  return g.refuse(fail("config.json asks for the activation '{}', which is not known", name));
}

Value Blocks::scaled(Value x, double factor) {
  return factor == 1 ? x : g.add(mil::mul{.x = x, .y = g.scalar(dtype, factor)});
}
Value Blocks::capped(Value x, double cap) { return scaled(g.add(mil::tanh{.x = scaled(x, 1 / cap)}), cap); }

Value Blocks::turned(Value heads, Value cosines, Value sines) {
  if (!heads || !cosines) return {};
  std::int64_t all = heads.shape().back().value(), width = cosines.shape().back().value();
  Value rest;
  if (width < all) {
    Values parts = g.add_all(mil::split{.x = heads, .split_sizes = Ints{width, all - width}, .axis = -1});
    if (parts.empty()) return {};
    heads = parts[0];
    rest = parts[1];
  }
  Values halves = g.add_all(mil::split{.x = heads, .num_splits = 2, .axis = -1});
  if (halves.empty()) return {};
  Value crossed = concat({halves[1], halves[0]}, -1);
  Value y =
      g.add(mil::add{.x = g.add(mil::mul{.x = heads, .y = cosines}), .y = g.add(mil::mul{.x = crossed, .y = sines})});
  return rest ? concat({y, rest}, -1) : y;
}

Value Blocks::from_rows(Value rows) {
  if (engine == Engine::gpu) return rows;
  return g.add(mil::expand_dims{.x = transpose(rows, {0, 2, 1}), .axes = Ints{2}});
}
Value Blocks::to_rows(Value x) {
  if (engine == Engine::gpu) return x;
  return transpose(g.add(mil::squeeze{.x = x, .axes = Ints{2}}), {0, 2, 1});
}

Values Blocks::split_channels(Value x, const Ints& sizes) {
  return g.add_all(mil::split{.x = x, .split_sizes = sizes, .axis = int(channel_axis())});
}

Value Blocks::heads(Value x, std::int64_t count, std::int64_t width) {
  if (engine == Engine::gpu) return reshape(x, {1, -1, count, width});
  return transpose(reshape(x, {1, count, width, -1}), {0, 1, 3, 2});
}

Value Blocks::experts(const std::string& pattern, std::int64_t layer, std::int64_t count) {
  std::vector<EncodedWeight> each;
  for (std::int64_t i = 0; i < count; ++i) {
    auto weight = weights_.matrix(numbered(pattern, layer, i) + ".weight");
    if (!weight) return g.refuse(std::move(weight).error());
    each.push_back(std::move(*weight));
  }
  std::string name = numbered(pattern, layer, 0) + "_all";
  if (auto together = stacked(each)) return add_encoded(g, *together, name);
  // Experts that are encoded in different ways: all decoded.
  for (std::int64_t i = 0; i < count; ++i) {
    auto weight = weights_.plain(numbered(pattern, layer, i) + ".weight", dtype);
    if (!weight) return g.refuse(std::move(weight).error());
    each[std::size_t(i)] = plain_weight(std::move(*weight));
  }
  return add_encoded(g, *stacked(each), name);
}

}  // namespace pomona::llm
