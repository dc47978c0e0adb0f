// Everything here works on weights by ops on constants, which folding turns into recipes: no weight is read.
#include <algorithm>

#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "rewrite/rules/rules.h"

namespace pomona::rewrite {
namespace {

// Arithmetic on constants, in their dtype.
Value product(Builder& g, Value a, Value b) { return folded(g, g.add(mil::mul{.x = a, .y = b})); }
Value sum(Builder& g, Value a, Value b) { return folded(g, g.add(mil::add{.x = a, .y = b})); }
Value reshaped(Builder& g, Value a, const Sizes& sizes) {
  if (a && a.literal()->sizes() == sizes) return a;
  return folded(g, g.add(mil::reshape{.x = a, .shape = g.ints(sizes)}));
}

// A constant that broadcasts along one axis of a value only, as a vector of that axis's size; empty for others.
Value channel_vector(Builder& g, Value value, Value constant, std::size_t axis) {
  if (!value.shape()[axis].known() || constant.dtype() != value.dtype()) return {};
  std::int64_t channels = value.shape()[axis].value();
  const Sizes& sizes = constant.literal()->sizes();
  if (sizes.size() > value.rank()) return {};
  std::size_t missing = value.rank() - sizes.size();
  std::int64_t own = 1;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 1) continue;
    if (i + missing != axis || sizes[i] != channels) return {};
    own = channels;
  }
  Value vector = reshaped(g, constant, {own});
  if (own == channels) return vector;
  return folded(g, g.add(mil::tile{.x = vector, .reps = g.ints({channels})}));
}

bool plain(Value value, Value parameter) { return !parameter || parameter.dtype() == value.dtype(); }

// The same node with other operands. Attributes stay.
Value again(Builder& g, const Node& node, Value new_x, Value weight, Value bias) {
  Values inputs{new_x, weight};
  std::vector<std::uint32_t> counts(node.op->inputs.size());
  counts[0] = counts[1] = 1;
  if (bias) inputs.push_back(bias), counts[2] = 1;
  Values outputs = g.add_call(*node.op, node.attributes, inputs, counts);
  return outputs.empty() ? Value() : outputs[0];
}

// The axis of the result's channels, and that axis in the weight; the last is empty when a scale cannot be taken in.
std::size_t channel_axis(const Node& node) { return is<mil::linear>(&node) ? node.output().rank() - 1 : 1; }
std::optional<std::size_t> weight_axis(const Node& node) {
  if (!is<mil::conv_transpose>(&node)) return 0;
  if (std::get<std::int64_t>(node.attribute("groups")) == 1) return 1;
  return {};
}

Value shifted(const Match& m, Builder& g) {
  const Node& node = m.node("node");
  Value shift = channel_vector(g, node.output(), m["c"], channel_axis(node));
  if (!shift || !plain(node.output(), m["bias"])) return {};
  return again(g, node, m["x"], m["weight"], m["bias"] ? sum(g, m["bias"], shift) : shift);
}

// weight and bias times a vector over the channels, then the bias plus another vector.
Value scaled_and_shifted(const Match& m, Builder& g, Value scale, Value shift) {
  const Node& node = m.node("node");
  auto axis = weight_axis(node);
  if (!scale || !axis || m["weight"].dtype() != node.output().dtype() || !plain(node.output(), m["bias"])) return {};
  Sizes sizes(m["weight"].rank(), 1);
  sizes[*axis] = scale.literal()->sizes()[0];
  Value weight = product(g, m["weight"], reshaped(g, scale, sizes));
  Value bias = m["bias"] ? product(g, m["bias"], scale) : Value();
  if (shift) bias = bias ? sum(g, bias, shift) : shift;
  return again(g, node, m["x"], weight, bias);
}
Value scaled(const Match& m, Builder& g) {
  const Node& node = m.node("node");
  return scaled_and_shifted(m, g, channel_vector(g, node.output(), m["c"], channel_axis(node)), Value());
}

const Pattern linear_node =
    op<mil::linear>(any("x", {2, 3, 4}), constant("weight", {5, 4}), maybe(constant("bias", {5})));
const Pattern conv_node = either({
    op<mil::conv>(any("x", {1, 4, 5, 5}), constant("weight", {6, 2, 3, 3}), maybe(constant("bias", {6})))
        .such_as("groups", std::int64_t(2))
        .named("node"),
    op<mil::conv_transpose>(any("x", {1, 4, 3, 3}), constant("weight", {4, 6, 2, 2}), maybe(constant("bias", {6})))
        .named("node"),
});

const Rule linear_from_matmul{
    .name = "linear_from_matmul",
    .doc = "a matrix product with a constant matrix",
    .pattern = op<mil::matmul>(any("x", {2, 3, 4}), constant("weight", {4, 5})).with("transpose_x", false),
    .condition = [](const Match& m) -> std::string_view {
      if (m["weight"].rank() != 2) return "the weight is not a matrix";
      if (m["x"].rank() > 3 || m["x"].rank() < 1) return "linear takes ranks 1 to 3";
      return m["weight"].dtype() == m["x"].dtype() && is_float(m["x"].dtype()) ? "" : "dtypes differ";
    },
    .replace =
        [](const Match& m, Builder& g) {
          Value weight = m["weight"];
          if (!std::get<bool>(m.root->attribute("transpose_y")))
            weight = folded(g, g.add(mil::transpose{.x = weight, .perm = {1, 0}}));
          return g.add(mil::linear{.x = m["x"], .weight = weight});
        }};
const Rule linear_shift{
    .name = "linear_shift",
    .doc = "linear(x) + c, as bias",
    .pattern = op<mil::add>(linear_node.named("node"),
                            either({constant("c", {5}), constant("c", {1, 1, 5}), constant("c", {})})),
    .replace = shifted};
const Rule linear_scale{
    .name = "linear_scale",
    .doc = "linear(x) * c, in the weight",
    .pattern = op<mil::mul>(linear_node.named("node"), either({constant("c", {5}), constant("c", {1})})),
    .replace = scaled};
const Rule linear_scale_behind_heads{
    .name = "linear_scale_behind_heads",
    .doc = "linear(x) cut into heads, times a number: in the weight",
    .pattern =
        [] {
          Pattern cut =
              op<mil::reshape>(linear_node.named("node"), any("shape").like(integers("", {2, 3, 5, 1}))).named("cut");
          Pattern turned = op<mil::transpose>(cut).such_as("perm", Ints{0, 2, 1, 3}).named("turned");
          return op<mil::mul>(either({cut, turned}), number("c", 0.25));
        }(),
    .replace =
        [](const Match& m, Builder& g) {
          Value c = reshaped(g, g.number(m.node("node").output(), m.number("c")), {1});
          Value y = scaled_and_shifted(
              m, g, channel_vector(g, m.node("node").output(), c, channel_axis(m.node("node"))), Value());
          if (y) y = g.add(mil::reshape{.x = y, .shape = m["shape"]});
          if (y && m["turned"])
            y = g.add(mil::transpose{.x = y, .perm = std::get<Ints>(m.node("turned").attribute("perm"))});
          return y;
        }};
const Rule conv_shift{
    .name = "conv_shift",
    .doc = "conv(x) + c, as bias",
    .pattern =
        op<mil::add>(conv_node, either({constant("c", {1, 6, 1, 1}), constant("c", {6, 1, 1}), constant("c", {})})),
    .replace = shifted};
const Rule conv_scale{.name = "conv_scale",
                      .doc = "conv(x) * c, in the weight",
                      .pattern = op<mil::mul>(conv_node, either({constant("c", {1, 6, 1, 1}), constant("c", {1})})),
                      .replace = scaled};
const Rule conv_batch_norm{
    .name = "conv_batch_norm",
    .doc = "batch_norm(conv(x)), in weight and bias",
    .pattern = op<mil::batch_norm>(conv_node, constant("mean", {6}), constant("variance", {6}).positive(),
                                   maybe(constant("gamma", {6})), maybe(constant("beta", {6}))),
    .replace = [](const Match& m, Builder& g) {
      Value y = m.node("node").output();
      if (!plain(y, m["mean"]) || !plain(y, m["variance"]) || !plain(y, m["gamma"]) || !plain(y, m["beta"]))
        return Value();
      // The square root in fp32, or small variances would be nothing in fp16.
      double epsilon = std::get<double>(m.root->attribute("epsilon"));
      auto in = [&](Value v, DType dtype) {
        return v && v.dtype() != dtype ? folded(g, g.add(mil::cast{.x = v, .dtype = std::string(name(dtype))})) : v;
      };
      Value scale = folded(g, g.add(mil::rsqrt{.x = in(m["variance"], DType::fp32), .epsilon = epsilon}));
      if (m["gamma"]) scale = product(g, scale, in(m["gamma"], DType::fp32));
      Value shift = product(g, product(g, in(m["mean"], DType::fp32), scale), g.scalar(DType::fp32, -1));
      if (m["beta"]) shift = sum(g, shift, in(m["beta"], DType::fp32));
      return scaled_and_shifted(m, g, in(scale, y.dtype()), in(shift, y.dtype()));
    }};
const Rule conv_pad{
    .name = "conv_pad",
    .doc = "conv of x padded with zeros in its spatial dims, in the conv's own padding",
    .pattern = op<mil::conv>(op<mil::pad>(any("x", {1, 4, 5, 5}), integers("pad", {0, 0, 0, 0, 1, 2, 0, 1}))
                                 .with("mode", std::string("constant"))
                                 .with("constant_val", 0.0),
                             any("weight").like(constant("", {6, 4, 3, 3})), maybe(constant("bias", {6}))),
    .condition = [](const Match& m) -> std::string_view {
      Ints pad = *m["pad"].integers();
      std::size_t all = m["x"].rank() * 2, spatial = all - 4;
      if (pad.size() > all) return "the padding is not understood";
      for (std::size_t i = 0; i < pad.size(); ++i)
        if (pad[i] < 0 || (pad[i] && i + all - pad.size() < all - spatial)) return "batch or channels are padded";
      auto& type = std::get<std::string>(m.root->attribute("pad_type"));
      return type == "valid" || type == "custom" ? "" : "the conv's padding depends on the size";
    },
    .replace =
        [](const Match& m, Builder& g) {
          Ints pad = *m["pad"].integers(), own = std::get<Ints>(m.root->attribute("pad"));
          std::size_t spatial = m["x"].rank() * 2 - 4;
          if (pad.size() > spatial) pad.erase(pad.begin(), pad.end() - std::ptrdiff_t(spatial));
          pad.insert(pad.begin(), spatial - pad.size(), 0);
          bool custom = m.root->attribute("pad_type") == Attribute(std::string("custom"));
          for (std::size_t i = 0; custom && i < own.size(); ++i) pad[i] += own[i];
          Value y = again(g, *m.root, m["x"], m["weight"], m["bias"]);
          if (!y) return y;
          y.producer()->set_attribute("pad_type", std::string("custom"));
          y.producer()->set_attribute("pad", pad);
          if (Status made = infer_again(*y.producer()); !made) return g.refuse(std::move(made).error());
          return y;
        }};

// Whether the node swaps the last two dims and nothing else.
bool swaps_last_two(const Node& node) {
  const Ints& perm = std::get<Ints>(node.attribute("perm"));
  std::size_t rank = perm.size();
  if (rank < 2) return false;
  for (std::size_t i = 0; i < rank; ++i) {
    std::size_t wanted = i + 2 == rank ? rank - 1 : i + 1 == rank ? rank - 2 : i;
    if (normal_axis(perm[i], rank) != wanted) return false;
  }
  return true;
}
const Rule matmul_transpose{
    .name = "matmul_transpose",
    .doc = "matmul of a matrix transposed before it",
    .pattern =
        [] {
          Pattern turned =
              op<mil::transpose>(any("t", {2, 4, 3})).such_as("perm", Ints{0, 2, 1}).named("transpose").shared();
          return either({op<mil::matmul>(turned, any("y", {2, 4, 5})), op<mil::matmul>(any("x", {5, 3}), turned)});
        }(),
    .condition = [](const Match& m) -> std::string_view {
      return swaps_last_two(m.node("transpose")) ? "" : "it is not the last two dims that are swapped";
    },
    .replace =
        [](const Match& m, Builder& g) {
          bool x = std::get<bool>(m.root->attribute("transpose_x")),
               y = std::get<bool>(m.root->attribute("transpose_y"));
          if (m["y"]) return g.add(mil::matmul{.x = m["t"], .y = m["y"], .transpose_x = !x, .transpose_y = y});
          return g.add(mil::matmul{.x = m["x"], .y = m["t"], .transpose_x = x, .transpose_y = !y});
        }};

const Rule* const list[] = {&linear_from_matmul,        &linear_shift, &linear_scale,
                            &linear_scale_behind_heads, &conv_shift,   &conv_scale,
                            &conv_batch_norm,           &conv_pad,     &matmul_transpose};

}  // namespace

RuleList fusion_rules() { return list; }

}  // namespace pomona::rewrite
