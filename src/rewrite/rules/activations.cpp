#include <cmath>

#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "rewrite/rules/rules.h"

namespace pomona::rewrite {
namespace {

const Pattern x = any("x");

// x * t / 2, in the orders that exporters multiply in. Divisions are multiplications by now.
Pattern half_of_product(const Pattern& t) {
  return either({op<mil::mul>(op<mil::mul>(x, t), number(0.5)), op<mil::mul>(op<mil::mul>(x, number(0.5)), t),
                 op<mil::mul>(x, op<mil::mul>(t, number(0.5)))});
}

template <int Mode>
Value to_gelu(const Match& m, Builder& g) {
  constexpr const char* modes[] = {"EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"};
  return g.add(mil::gelu{.x = m["x"], .mode = std::string(modes[Mode])});
}

const Rule gelu_exact{
    .name = "gelu_exact",
    .doc = "x/2 * (1 + erf(x/sqrt(2)))",
    .pattern = half_of_product(op<mil::add>(op<mil::erf>(op<mil::mul>(x, number(0.70710678118654752))), number(1))),
    .replace = to_gelu<0>};
const Rule gelu_tanh{
    .name = "gelu_tanh",
    .doc = "x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715*x^3)))",
    .pattern =
        [] {
          Pattern root = number(0.79788456080286536), small = number(0.044715);
          Pattern squared = either({op<mil::square>(x), op<mil::mul>(x, x)});
          Pattern cubed = either({op<mil::pow>(x, number(3)), op<mil::mul>(squared, x)});
          Pattern sum = op<mil::add>(x, op<mil::mul>(cubed, small));
          Pattern factor =
              op<mil::add>(either({op<mil::mul>(squared, small), op<mil::mul>(op<mil::mul>(x, small), x)}), number(1));
          Pattern inner = either({op<mil::mul>(sum, root), op<mil::mul>(op<mil::mul>(x, root), factor),
                                  op<mil::mul>(op<mil::mul>(x, factor), root)});
          return half_of_product(op<mil::add>(op<mil::tanh>(inner), number(1)));
        }(),
    .replace = to_gelu<1>};
const Rule gelu_sigmoid{.name = "gelu_sigmoid",
                        .doc = "x * sigmoid(1.702*x)",
                        .pattern = op<mil::mul>(x, op<mil::sigmoid>(op<mil::mul>(x, number(1.702)))),
                        .replace = to_gelu<2>};
const Rule silu{.name = "silu",
                .doc = "x * sigmoid(x)",
                .pattern = op<mil::mul>(x, op<mil::sigmoid>(x)),
                .replace = [](const Match& m, Builder& g) { return g.add(mil::silu{.x = m["x"]}); }};

// Core ML has a hard sigmoid, but no hard swish.
const Pattern six_times_hard_sigmoid = op<mil::relu6>(op<mil::add>(x, number(3)));
Value hard_sigmoid(const Match& m, Builder& g) {
  return g.add(mil::sigmoid_hard{.x = m["x"], .alpha = 1.0 / 6, .beta = 0.5});
}
const Rule sigmoid_hard{.name = "sigmoid_hard",
                        .doc = "relu6(x + 3) / 6",
                        .pattern = op<mil::mul>(six_times_hard_sigmoid, number(1.0 / 6)),
                        .replace = hard_sigmoid};
const Rule sigmoid_hard_from_clip{
    .name = "sigmoid_hard_from_clip",
    .doc = "clip(a*x + b, 0, 1)",
    .pattern = op<mil::clip>(op<mil::add>(op<mil::mul>(x, number("a", 0.2)), number("b", 0.5)))
                   .with("alpha", 0.0)
                   .with("beta", 1.0),
    .replace = [](const Match& m, Builder& g) {
      return g.add(mil::sigmoid_hard{.x = m["x"], .alpha = m.number("a"), .beta = m.number("b")});
    }};
const Rule hard_swish{
    .name = "hard_swish",
    .doc = "x * relu6(x + 3) / 6",
    .pattern = either({op<mil::mul>(op<mil::mul>(x, six_times_hard_sigmoid), number(1.0 / 6)),
                       op<mil::mul>(op<mil::mul>(x, number(1.0 / 6)), six_times_hard_sigmoid)}),
    .replace = [](const Match& m, Builder& g) { return g.add(mil::mul{.x = m["x"], .y = hard_sigmoid(m, g)}); }};
const Rule leaky_relu{
    .name = "leaky_relu",
    .doc = "max(x, a*x), for 0 <= a <= 1",
    .pattern = op<mil::maximum>(x, op<mil::mul>(x, number("a", 0.1))),
    .condition = [](const Match& m) -> std::string_view {
      if (!is_float(m["x"].dtype())) return "x holds integers";
      return m.number("a") >= 0 && m.number("a") <= 1 ? "" : "a is not between 0 and 1";
    },
    .replace = [](const Match& m, Builder& g) { return g.add(mil::leaky_relu{.x = m["x"], .alpha = m.number("a")}); }};
const Rule softplus{.name = "softplus",
                    .doc = "log(1 + exp(x)), which overflows where softplus does not",
                    .pattern = op<mil::log>(op<mil::add>(op<mil::exp>(x), number(1))),
                    .condition = [](const Match& m) -> std::string_view {
                      double epsilon = std::get<double>(m.root->attribute("epsilon"));
                      return std::fabs(epsilon) < 1e-7 ? "" : "log adds more than nothing";
                    },
                    .replace = [](const Match& m, Builder& g) { return g.add(mil::softplus{.x = m["x"]}); }};
const Rule softsign{
    .name = "softsign",
    .doc = "x / (1 + |x|)",
    .pattern = op<mil::real_div>(x, op<mil::add>(op<mil::abs>(x), number(1))),
    .condition = [](const Match& m) -> std::string_view { return is_float(m["x"].dtype()) ? "" : "x holds integers"; },
    .replace = [](const Match& m, Builder& g) { return g.add(mil::softsign{.x = m["x"]}); }};

const Rule* const list[] = {&gelu_exact,   &gelu_tanh,  &gelu_sigmoid,           &silu,
                            &sigmoid_hard, &hard_swish, &sigmoid_hard_from_clip, &leaky_relu,
                            &softplus,     &softsign};

}  // namespace

RuleList activation_rules() { return list; }

}  // namespace pomona::rewrite
