#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "base/half.h"
#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "rewrite/rules/rules.h"

namespace pomona::rewrite {
namespace {

Value take_x(const Match& m, Builder&) { return m["x"]; }
std::string_view needs_float(const Match& m) { return is_float(m["x"].dtype()) ? "" : "x holds integers"; }

const Pattern x = any("x");

// Without effect. Where broadcasting gives the result another shape than x, the driver sees another type and keeps it.
const Rule add_zero{.name = "add_zero", .doc = "x + 0 = x", .pattern = op<mil::add>(x, number(0)), .replace = take_x};
const Rule subtract_zero{
    .name = "subtract_zero", .doc = "x - 0 = x", .pattern = op<mil::sub>(x, number(0)), .replace = take_x};
const Rule multiply_by_one{
    .name = "multiply_by_one", .doc = "x * 1 = x", .pattern = op<mil::mul>(x, number(1)), .replace = take_x};
const Rule divide_by_one{
    .name = "divide_by_one", .doc = "x / 1 = x", .pattern = op<mil::real_div>(x, number(1)), .replace = take_x};
const Rule power_of_one{
    .name = "power_of_one", .doc = "x^1 = x", .pattern = op<mil::pow>(x, number(1)), .replace = take_x};
const Rule drop_identity{
    .name = "drop_identity", .doc = "identity(x) = x", .pattern = op<mil::identity>(x), .replace = take_x};
const Rule drop_reshape{
    .name = "drop_reshape",
    .doc = "a reshape to x's own shape is x",
    .pattern = either({op<mil::reshape>(x, any("shape").like(integers("", {2, 3, 4}))),
                       op<mil::squeeze>(x).such_as("axes", Ints{1}), op<mil::expand_dims>(x).such_as("axes", Ints{})}),
    .replace = take_x};
const Rule drop_tile{.name = "drop_tile",
                     .doc = "a tile that repeats nothing is x",
                     .pattern = op<mil::tile>(x, any("reps").like(integers("", {1, 1, 1}))),
                     .replace = take_x};
const Rule drop_concat{.name = "drop_concat",
                       .doc = "a concat of one tensor is that tensor",
                       .pattern = op<mil::concat>(x).such_as("axis", std::int64_t(1)),
                       .replace = take_x};
const Rule drop_pad{.name = "drop_pad",
                    .doc = "a pad by nothing is x",
                    .pattern = op<mil::pad>(x, integers("pad", {0, 0, 0, 0})),
                    .condition = [](const Match& m) -> std::string_view {
                      return m["pad"].number() == 0.0 ? "" : "something is added";
                    },
                    .replace = take_x};
const Rule drop_slice{
    .name = "drop_slice",
    .doc = "a slice that takes everything in order is x",
    .pattern = either({op<mil::slice_by_index>(x, any("begin").like(integers("", {0, 0, 0})),
                                               any("end").like(integers("", {2, 3, 4}))),
                       op<mil::slice_by_size>(x, any("begin").like(integers("", {0, 0, 0})),
                                              any("size").like(integers("", {2, 3, -1})))}),
    .condition = [](const Match& m) -> std::string_view {
      if (!is<mil::slice_by_index>(m.root)) return "";
      auto& strides = std::get<Ints>(m.root->attribute("stride"));
      return std::all_of(strides.begin(), strides.end(), [](auto s) { return s > 0; }) ? "" : "it goes backwards";
    },
    .replace = take_x};
const Rule drop_transpose{.name = "drop_transpose",
                          .doc = "a transpose that moves nothing is x",
                          .pattern = op<mil::transpose>(x).such_as("perm", Ints{0, -2, 2}),
                          .condition = [](const Match& m) -> std::string_view {
                            const Ints& perm = std::get<Ints>(m.root->attribute("perm"));
                            for (std::size_t i = 0; i < perm.size(); ++i)
                              if (normal_axis(perm[i], perm.size()) != i) return "it moves dims";
                            return "";
                          },
                          .replace = take_x};
const Rule drop_cast{.name = "drop_cast",
                     .doc = "a cast to x's own dtype is x",
                     .pattern = op<mil::cast>(x).such_as("dtype", std::string("fp32")),
                     .replace = take_x};

// Together.
// Whether every value of dtype `a` is one of dtype `b`.
bool holds_all_of(DType b, DType a) {
  if (a == b || a == DType::boolean) return true;
  if (b == DType::boolean) return false;
  if (is_float(a)) return is_float(b) && a == DType::fp16 && b == DType::fp32;
  if (b == DType::fp16) return info(a).bits <= 8;
  if (b == DType::fp32) return info(a).bits <= 16;
  return is_integer(b) && lowest_value(b) <= lowest_value(a) && highest_value(a) <= highest_value(b);
}
const Rule merge_casts{
    .name = "merge_casts",
    .doc = "a cast after one that loses nothing",
    .pattern =
        op<mil::cast>(
            op<mil::cast>(any("x", {2, 3}, DType::fp16)).such_as("dtype", std::string("fp32")).named("inner").shared())
            .such_as("dtype", std::string("int32")),
    .condition = [](const Match& m) -> std::string_view {
      return holds_all_of(m["inner"].dtype(), m["x"].dtype()) ? "" : "the first cast may change values";
    },
    .replace =
        [](const Match& m, Builder& g) {
          if (m["x"].type() == m.result().type()) return m["x"];
          return g.add(mil::cast{.x = m["x"], .dtype = std::string(name(m.result().dtype()))});
        }};
const Rule merge_reshapes{
    .name = "merge_reshapes",
    .doc = "reshape, squeeze or expand_dims after another of them is one reshape",
    .pattern =
        [] {
          auto layouts = [](Pattern inside, Ints shape) {
            return std::vector<Pattern>{
                op<mil::reshape>(inside, any(shape.size() == 3 ? "inner" : "outer").like(integers("", shape))).shared(),
                op<mil::squeeze>(inside).such_as("axes", Ints{1}).shared(),
                op<mil::expand_dims>(inside).such_as("axes", Ints{1}).shared()};
          };
          return either(layouts(either(layouts(any("x", {2, 1, 12}), {6, 1, 4})), {4, 6}));
        }(),
    .replace =
        [](const Match& m, Builder& g) {
          const Shape& wanted = m.result().shape();
          if (m["x"].type() == m.result().type()) return m["x"];
          Ints shape;
          for (Dim d : wanted) shape.push_back(d.known() ? d.value() : -1);
          if (std::count(shape.begin(), shape.end(), -1) > 1 || std::count(shape.begin(), shape.end(), 0))
            return Value();
          if (shape.empty()) return Value();
          return g.add(mil::reshape{.x = m["x"], .shape = g.ints(shape)});
        }};
Ints normal_perm(const Node& node) {
  Ints perm = std::get<Ints>(node.attribute("perm"));
  for (auto& p : perm) p = std::int64_t(*normal_axis(p, perm.size()));
  return perm;
}
const Rule merge_transposes{
    .name = "merge_transposes",
    .doc = "a transpose of a transpose is one, or none",
    .pattern = op<mil::transpose>(op<mil::transpose>(x).such_as("perm", Ints{2, 0, 1}).named("inner").shared())
                   .such_as("perm", Ints{1, 0, -1}),
    .replace = [](const Match& m, Builder& g) {
      Ints inner = normal_perm(m.node("inner")), outer = normal_perm(*m.root), both;
      for (std::int64_t p : outer) both.push_back(inner[std::size_t(p)]);
      if (std::is_sorted(both.begin(), both.end())) return m["x"];
      return g.add(mil::transpose{.x = m["x"], .perm = both});
    }};
const Rule merge_scales{.name = "merge_scales",
                        .doc = "(x * a) * b = x * (a*b) for numbers a and b",
                        .pattern = op<mil::mul>(op<mil::mul>(x, number("a", 0.25)), number("b", 3)),
                        .condition = needs_float,
                        .replace = [](const Match& m, Builder& g) {
                          double product = m.number("a") * m.number("b");
                          // Beyond what the dtype holds, the order of the steps matters.
                          bool fits = std::fabs(product) < largest_half && std::fabs(product) > smallest_normal_half;
                          return fits ? g.add(mil::mul{.x = m["x"], .y = g.number(m["x"], product)}) : Value();
                        }};
const Rule merge_shifts{.name = "merge_shifts",
                        .doc = "(x + a) + b = x + (a+b) for numbers a and b",
                        .pattern = op<mil::add>(op<mil::add>(x, number("a", 0.25)), number("b", 3)),
                        .condition = [](const Match& m) -> std::string_view {
                          if (!is_float(m["x"].dtype())) return "x holds integers";
                          double a = m.number("a"), b = m.number("b");
                          bool fits = std::fabs(a) < 1e3 && std::fabs(b) < 1e3;
                          return fits ? "" : "large numbers may be there to round";
                        },
                        .replace =
                            [](const Match& m, Builder& g) {
                              double sum = m.number("a") + m.number("b");
                              return g.add(mil::add{.x = m["x"], .y = g.number(m["x"], sum)});
                            }};
const Rule merge_relus{.name = "merge_relus",
                       .doc = "relu(relu(x)) = relu(x)",
                       .pattern = op<mil::relu>(op<mil::relu>(x).named("inner").shared()),
                       .replace = [](const Match& m, Builder&) { return m["inner"]; }};

// Whether the result becomes a whole number within so many steps: 3 / 3 does, 3 * (1/3) may miss it.
constexpr int steps_to_rounding = 3;
bool is_rounded(const Node& node, int steps) {
  static const std::unordered_set<std::string_view> jumps{"floor", "ceil", "round", "quantize", "floor_div", "mod"};
  for (const Node* user : node.output().users()) {
    if (!user->op) continue;
    bool to_integer = user->op->name == "cast" && !is_float(user->output().dtype());
    if (to_integer || jumps.count(user->op->name)) return true;
    if (steps > 0 && user->op->elementwise && is_rounded(*user, steps - 1)) return true;
  }
  return false;
}

// One spelling.
const Rule divide_to_multiply{.name = "divide_to_multiply",
                              .doc = "x / c = x * (1/c)",
                              .pattern = op<mil::real_div>(x, constant("c", {4}).positive()),
                              .condition = [](const Match& m) -> std::string_view {
                                if (!is_float(m["x"].dtype())) return "x holds integers";
                                if (m["c"].literal()->count() > 4096) return "the constant is large";
                                auto tensor = m["c"].literal()->materialise();
                                if (!tensor) return "the constant cannot be read";
                                for (double c : tensor->numbers())
                                  if (!(std::fabs(c) < 0x1p14 && std::fabs(c) > 0x1p-14))
                                    return "the reciprocal may lose digits in fp16";
                                if (is_rounded(*m.root, steps_to_rounding)) return "the result is rounded";
                                return "";
                              },
                              .replace =
                                  [](const Match& m, Builder& g) {
                                    Tensor tensor = *m["c"].literal()->materialise();
                                    std::vector<double> numbers = tensor.numbers();
                                    for (double& c : numbers) c = 1 / c;
                                    Value reciprocal =
                                        g.constant(Tensor::from_numbers(tensor.dtype(), tensor.sizes(), numbers));
                                    return g.add(mil::mul{.x = m["x"], .y = reciprocal});
                                  }};
const Rule subtract_to_add{.name = "subtract_to_add",
                           .doc = "x - c = x + (-c)",
                           .pattern = op<mil::sub>(x, constant("c", {4})),
                           .condition = needs_float,
                           .replace = [](const Match& m, Builder& g) {
                             Value negative = folded(g, g.add(mil::mul{.x = m["c"], .y = g.number(m["c"], -1)}));
                             return g.add(mil::add{.x = m["x"], .y = negative});
                           }};
const Rule select_always{
    .name = "select_always",
    .doc = "select with a condition that is the same everywhere",
    .pattern = either({op<mil::select>(flag(true), x, any("other")), op<mil::select>(flag(false), any("other"), x)}),
    .condition = [](const Match& m) -> std::string_view {
      const Shape &a = m["x"].shape(), &b = m["other"].shape();
      for (std::size_t i = 1; i <= std::min(a.size(), b.size()); ++i)
        if (Dim here = a[a.size() - i], there = b[b.size() - i]; !(there == 1) && !(here == there) && !here.known())
          return "the other one may be larger";
      return "";
    },
    .replace = take_x};
const Rule relu_from_maximum{.name = "relu_from_maximum",
                             .doc = "max(x, 0) = relu(x)",
                             .pattern = op<mil::maximum>(x, number(0)),
                             .condition = needs_float,
                             .replace = [](const Match& m, Builder& g) { return g.add(mil::relu{.x = m["x"]}); }};
const Rule clip_from_extrema{
    .name = "clip_from_extrema",
    .doc = "min(max(x, a), b) = clip(x, a, b), for a < b",
    .pattern = either({op<mil::minimum>(op<mil::maximum>(x, number("a", -0.5)), number("b", 1)),
                       op<mil::minimum>(op<mil::relu>(x), number("b", 1)),
                       op<mil::maximum>(op<mil::minimum>(x, number("b", 1)), number("a", -0.5))}),
    .condition = [](const Match& m) -> std::string_view {
      if (!is_float(m["x"].dtype())) return "x holds integers";
      double a = m["a"] ? m.number("a") : 0, b = m.number("b");
      return a < b ? "" : "the bounds are not in order";
    },
    .replace =
        [](const Match& m, Builder& g) {
          return g.add(mil::clip{.x = m["x"], .alpha = m["a"] ? m.number("a") : 0, .beta = m.number("b")});
        }};
const Rule relu6_from_clip{.name = "relu6_from_clip",
                           .doc = "clip(x, 0, 6) = relu6(x)",
                           .pattern = op<mil::clip>(x).with("alpha", 0.0).with("beta", 6.0),
                           .replace = [](const Match& m, Builder& g) { return g.add(mil::relu6{.x = m["x"]}); }};
const Rule square_from_power{.name = "square_from_power",
                             .doc = "x^2 = square(x)",
                             .pattern = op<mil::pow>(x, number(2)),
                             .replace = [](const Match& m, Builder& g) { return g.add(mil::square{.x = m["x"]}); }};

const Rule* const list[] = {
    &add_zero,        &subtract_zero,      &multiply_by_one, &divide_by_one,    &power_of_one,      &drop_identity,
    &drop_reshape,    &drop_tile,          &drop_concat,     &drop_pad,         &drop_slice,        &drop_transpose,
    &drop_cast,       &merge_casts,        &merge_reshapes,  &merge_transposes, &merge_scales,      &merge_shifts,
    &merge_relus,     &divide_to_multiply, &subtract_to_add, &select_always,    &relu_from_maximum, &clip_from_extrema,
    &relu6_from_clip, &square_from_power,
};

}  // namespace

RuleList cleaning_rules() { return list; }

}  // namespace pomona::rewrite
