#include <algorithm>

#include "ops/activation.h"
#include "ops/axes.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/norm.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "rewrite/rules/rules.h"

namespace pomona::rewrite {
namespace {

const Pattern x = any("x");

// The axes of a reduction from the front, in ascending order; empty when they are out of range.
Ints axes_of(const Node& node) {
  auto chosen = mil::chosen_axes(std::get<Ints>(node.attribute("axes")), node.input(0).rank());
  Ints axes;
  for (std::size_t i = 0; chosen && i < chosen->size(); ++i)
    if ((*chosen)[i]) axes.push_back(std::int64_t(i));
  return axes;
}
bool are_last(const Ints& axes, std::size_t rank) {
  for (std::size_t i = 0; i < axes.size(); ++i)
    if (axes[i] + std::int64_t(axes.size()) != std::int64_t(rank + i)) return false;
  return !axes.empty();
}

template <class Op>
Pattern kept(Pattern of) {
  return op<Op>(std::move(of)).with("keep_dims", true).such_as("axes", Ints{-1});
}

// The difference of two nearly equal numbers has no digits left in fp16; the mean of squares around the mean has.
const Rule variance{.name = "variance",
                    .doc = "mean(x^2) - mean(x)^2 as mean((x - mean)^2)",
                    .pattern =
                        [] {
                          Pattern mean = op<mil::reduce_mean>(x).such_as("axes", Ints{-1}).named("mean").shared();
                          Pattern of_squares = either({op<mil::square>(x), op<mil::mul>(x, x)});
                          return op<mil::sub>(
                              op<mil::reduce_mean>(of_squares).such_as("axes", Ints{-1}).named("mean of squares"),
                              either({op<mil::square>(mean), op<mil::mul>(mean, mean)}));
                        }(),
                    .condition = [](const Match& m) -> std::string_view {
                      const Node &mean = m.node("mean"), &of_squares = m.node("mean of squares");
                      if (axes_of(mean) != axes_of(of_squares)) return "the two means are over different axes";
                      if (!(mean.attribute("keep_dims") == of_squares.attribute("keep_dims")))
                        return "the two means differ in rank";
                      return "";
                    },
                    .replace =
                        [](const Match& m, Builder& g) {
                          Ints axes = axes_of(m.node("mean"));
                          bool keep = std::get<bool>(m.node("mean").attribute("keep_dims"));
                          Value mean = g.add(mil::reduce_mean{.x = m["x"], .axes = axes, .keep_dims = true});
                          Value centred = g.add(mil::sub{.x = m["x"], .y = mean});
                          Value squares = g.add(mil::mul{.x = centred, .y = centred});
                          return g.add(mil::reduce_mean{.x = squares, .axes = axes, .keep_dims = keep});
                        }};

const Rule layer_norm{
    .name = "layer_norm",
    .doc = "(x - mean) / sqrt(mean((x - mean)^2) + epsilon) over the last axes",
    .pattern =
        [] {
          Pattern centred = op<mil::sub>(x, kept<mil::reduce_mean>(x).named("mean")).named("centred");
          Pattern squares = either({op<mil::square>(centred), op<mil::mul>(centred, centred)});
          Pattern shifted = op<mil::add>(kept<mil::reduce_mean>(squares).named("variance"), number("epsilon", 1e-5));
          Pattern inverse = either({op<mil::rsqrt>(shifted).such_as("epsilon", 1e-12).named("rsqrt"),
                                    op<mil::real_div>(number(1), op<mil::sqrt>(shifted)),
                                    op<mil::inverse>(op<mil::sqrt>(shifted)).such_as("epsilon", 0.0).named("inverse"),
                                    op<mil::pow>(shifted, number(-0.5))});
          return either(
              {op<mil::real_div>(centred, either({op<mil::sqrt>(shifted), op<mil::pow>(shifted, number(0.5))})),
               op<mil::mul>(centred, inverse)});
        }(),
    .condition = [](const Match& m) -> std::string_view {
      Ints axes = axes_of(m.node("mean"));
      if (axes != axes_of(m.node("variance"))) return "mean and variance are over different axes";
      if (!are_last(axes, m["x"].rank())) return "it is not over the last axes";
      for (std::string_view inner : {"rsqrt", "inverse"})
        if (m[inner] && std::get<double>(m.node(inner).attribute("epsilon")) > 1e-3 * m.number("epsilon"))
          return "there is a second epsilon";
      return "";
    },
    .replace =
        [](const Match& m, Builder& g) {
          Ints axes = axes_of(m.node("mean"));
          double epsilon = m.number("epsilon");
          if (m["x"].rank() == 4 && axes.size() == 2) return g.add(mil::instance_norm{.x = m["x"], .epsilon = epsilon});
          return g.add(mil::layer_norm{.x = m["x"], .axes = axes, .epsilon = epsilon});
        }};

// A constant that broadcasts along the last axes only, in their shape; empty for others.
Value along(Builder& g, Value value, Value constant, const Ints& axes) {
  const Sizes& sizes = constant.literal()->sizes();
  Sizes wanted;
  for (std::int64_t axis : axes) {
    Dim d = value.shape()[std::size_t(axis)];
    if (!d.known()) return {};
    wanted.push_back(d.value());
  }
  if (sizes.size() < wanted.size() || sizes.size() > value.rank()) return {};
  std::size_t before = sizes.size() - wanted.size();
  for (std::size_t i = 0; i < sizes.size(); ++i)
    if (sizes[i] != (i < before ? 1 : wanted[i - before])) return {};
  return before == 0 ? constant : folded(g, g.add(mil::reshape{.x = constant, .shape = g.ints(wanted)}));
}
Value with_affine(const Match& m, Builder& g, bool is_scale) {
  const Node& norm = m.node("norm");
  Value parameter = along(g, m["x"], m["c"], axes_of(norm));
  if (!parameter) return {};
  mil::layer_norm op{.x = m["x"], .axes = axes_of(norm), .epsilon = std::get<double>(norm.attribute("epsilon"))};
  if (is_scale || m["gamma"]) op.gamma = is_scale ? parameter : m["gamma"];
  if (!is_scale) op.beta = parameter;
  return g.add(op);
}
const Rule layer_norm_scale{.name = "layer_norm_scale",
                            .doc = "layer_norm(x) * c, as gamma",
                            .pattern = op<mil::mul>(op<mil::layer_norm>(x).such_as("axes", Ints{-1}).named("norm"),
                                                    either({constant("c", {4}), constant("c", {1, 1, 4})})),
                            .replace = [](const Match& m, Builder& g) { return with_affine(m, g, true); }};
const Rule layer_norm_shift{
    .name = "layer_norm_shift",
    .doc = "layer_norm(x) + c, as beta",
    .pattern =
        op<mil::add>(op<mil::layer_norm>(x, maybe(constant("gamma", {4}))).such_as("axes", Ints{-1}).named("norm"),
                     either({constant("c", {4}), constant("c", {1, 4})})),
    .replace = [](const Match& m, Builder& g) { return with_affine(m, g, false); }};

const Rule softmax{
    .name = "softmax",
    .doc = "exp(x - max(x)) / sum(exp(x - max(x))), with or without the maximum",
    .pattern =
        [] {
          Pattern e = either({op<mil::exp>(op<mil::sub>(x, kept<mil::reduce_max>(x).named("max"))).named("e"),
                              op<mil::exp>(x).named("e")});
          return op<mil::real_div>(e, kept<mil::reduce_sum>(any("e").like(e)).named("sum"));
        }(),
    .condition = [](const Match& m) -> std::string_view {
      Ints axes = axes_of(m.node("sum"));
      if (axes.size() != 1) return "it is not over one axis";
      return !m["max"] || axes_of(m.node("max")) == axes ? "" : "maximum and sum are over different axes";
    },
    .replace = [](const Match& m,
                  Builder& g) { return g.add(mil::softmax{.x = m["x"], .axis = int(axes_of(m.node("sum"))[0])}); }};

const Rule mean_from_sum{
    .name = "mean_from_sum",
    .doc = "sum(x) * (1/count) = mean(x)",
    .pattern = op<mil::mul>(op<mil::reduce_sum>(x).such_as("axes", Ints{-1}).such_as("keep_dims", true).named("sum"),
                            number("c", 0.25)),
    .condition = [](const Match& m) -> std::string_view {
      if (!is_float(m["x"].dtype())) return "x holds integers";
      Dim count = 1;
      for (std::int64_t axis : axes_of(m.node("sum"))) count = count * m["x"].shape()[std::size_t(axis)];
      if (!count.known()) return "the count is not known";
      double product = m.number("c") * double(count.value());
      return product > 1 - 1e-6 && product < 1 + 1e-6 ? "" : "the factor is not one by the count";
    },
    .replace =
        [](const Match& m, Builder& g) {
          const Node& sum = m.node("sum");
          return g.add(mil::reduce_mean{
              .x = m["x"], .axes = axes_of(sum), .keep_dims = std::get<bool>(sum.attribute("keep_dims"))});
        }};

const Rule* const list[] = {&variance, &layer_norm, &layer_norm_scale, &layer_norm_shift, &softmax, &mean_from_sum};

}  // namespace

RuleList norm_rules() { return list; }

}  // namespace pomona::rewrite
