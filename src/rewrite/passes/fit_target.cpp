#include <fmt/format.h>

#include <cmath>

#include "ir/builder.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/elementwise_binary.h"
#include "ops/linear.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

// softmax(query key^T / sqrt(E) + mask) value. The scale goes into the query first, so that fp16 does not overflow.
Value attention_in_steps(const Node& node, Builder& g) {
  Value q = node.input("query"), mask = node.input("attn_mask");
  if (!q.shape().back().known())
    return g.refuse(fail("the size of a query is not known, so attention cannot be taken apart"));
  double width = double(q.shape().back().value());
  Value scaled = g.add(mil::mul{.x = q, .y = g.number(q, 1 / std::sqrt(width))});
  Value scores = g.add(mil::matmul{.x = scaled, .y = node.input("key"), .transpose_y = true});
  if (mask && mask.dtype() == DType::boolean)
    scores = g.add(mil::select{.cond = mask, .a = scores, .b = g.number(q, -HUGE_VAL)});
  else if (mask)
    scores = g.add(mil::add{.x = scores, .y = mask});
  Value weights = g.add(mil::softmax{.x = scores, .axis = -1});
  return g.add(mil::matmul{.x = weights, .y = node.input("value")});
}

class Fitting {
 public:
  explicit Fitting(Function& function) : function_(function) {}

  Status run() {
    POM_TRY(fit(function_.body));
    if (missing_.empty()) return {};
    std::string list;
    for (const auto& [what, found] : missing_)
      list += fmt::format("{}{} ({}, {} of them, first {})", list.empty() ? "" : "; ", what, name(found.needs),
                          found.count, found.first);
    return fail("{} does not have: {}", name(function_.opset), list).advise("convert for a later target");
  }

 private:
  Status fit(Block& block) {
    for (auto at = block.nodes().begin(); at != block.nodes().end();) {
      Node& node = **at++;
      for (auto& inner : node.blocks) POM_TRY(fit(*inner));
      Target needs = oldest_target(node);
      if (needs <= function_.opset && (node.op->until == never || function_.opset < node.op->until)) continue;
      if (is<mil::scaled_dot_product_attention>(&node)) {
        Builder g(block, &node);
        g.source = node.source;
        Value steps = attention_in_steps(node, g);
        POM_TRY_IN(Status(g.status()), "{}", node.label());
        take_name(node.output(), steps);
        replace_uses(node.output(), steps);
        block.erase(node);
        continue;
      }
      Missing& missing = missing_[std::string(node.op->name)];
      if (missing.count++ == 0) missing.first = node.label();
      missing.needs = std::max(missing.needs, needs);
    }
    return {};
  }

  struct Missing {
    std::size_t count = 0;
    std::string first;
    Target needs = iOS15;
  };
  Function& function_;
  std::map<std::string, Missing> missing_;
};

}  // namespace

Status fit_target(Program& program) {
  for (auto& function : program.functions) POM_TRY_IN(Fitting(*function).run(), "function '{}'", function->name);
  return {};
}

}  // namespace pomona::rewrite
