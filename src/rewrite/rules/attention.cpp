#include <cmath>

#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/elementwise_binary.h"
#include "ops/linear.h"
#include "ops/shape.h"
#include "rewrite/rules/rules.h"

namespace pomona::rewrite {
namespace {

Value last_two_swapped(Builder& g, Value value) {
  Ints perm;
  for (std::size_t i = 0; i < value.rank(); ++i) perm.push_back(std::int64_t(i));
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return g.add(mil::transpose{.x = value, .perm = perm});
}

const Rule attention{
    .name = "scaled_dot_product_attention",
    .doc = "softmax(q k^T * scale + mask) v; what the scale differs from 1/sqrt(E) by goes into q",
    .pattern =
        [] {
          Pattern q = any("q", {2, 3, 4, 8}), v = any("v", {2, 3, 5, 6}), mask = any("mask", {2, 1, 4, 5});
          // Some exporters scale queries and keys by the square root of the scale each.
          auto scores_of = [&](Sizes key, bool transposed) {
            Pattern k = any("k", std::move(key));
            return op<mil::matmul>(q, either({op<mil::mul>(k, number("key_scale", 0.7)), k}))
                .with("transpose_x", false)
                .with("transpose_y", transposed)
                .named("scores");
          };
          Pattern product = either({scores_of({2, 3, 5, 8}, true), scores_of({2, 3, 8, 5}, false)});
          Pattern scores = either({op<mil::mul>(product, number("scale", 0.3)), product});
          Pattern weights = op<mil::softmax>(either({op<mil::add>(scores, mask), scores})).named("softmax");
          return op<mil::matmul>(weights, v).with("transpose_x", false).with("transpose_y", false);
        }(),
    .condition = [](const Match& m) -> std::string_view {
      Value q = m["q"], k = m["k"], v = m["v"];
      if (q.rank() < 3 || q.rank() != k.rank() || q.rank() != v.rank()) return "the ranks are not equal and at least 3";
      if (q.dtype() != k.dtype() || q.dtype() != v.dtype()) return "the dtypes differ";
      if (q.is_weight() || k.is_weight() || v.is_weight()) return "an operand is constant";
      if (!q.shape().back().known() || q.shape().back().value() < 1) return "the size of a query is not known";
      for (std::size_t i = 0; i + 2 < q.rank(); ++i)
        if (q.shape()[i] != k.shape()[i] || q.shape()[i] != v.shape()[i]) return "the batches differ";
      auto axis = std::get<std::int64_t>(m.node("softmax").attribute("axis"));
      return normal_axis(axis, q.rank()) == q.rank() - 1 ? "" : "the softmax is not over the keys";
    },
    .replace =
        [](const Match& m, Builder& g) {
          Value q = m["q"], k = m["k"];
          double factor = std::sqrt(double(q.shape().back().value()));
          for (std::string_view scale : {"scale", "key_scale"})
            if (m[scale]) factor *= m.number(scale);
          if (std::fabs(factor - 1) > 1e-6) q = g.add(mil::mul{.x = q, .y = g.number(q, factor)});
          if (!std::get<bool>(m.node("scores").attribute("transpose_y"))) k = last_two_swapped(g, k);
          mil::scaled_dot_product_attention op{.query = q, .key = k, .value = m["v"]};
          if (m["mask"]) op.attn_mask = m["mask"];
          return g.add(op);
        },
    .since = iOS18};

const Rule* const list[] = {&attention};

}  // namespace

RuleList attention_rules() { return list; }

}  // namespace pomona::rewrite
