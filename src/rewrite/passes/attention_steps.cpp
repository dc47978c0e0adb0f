#include "rewrite/passes/attention_steps.h"

#include <cmath>

#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/linear.h"
#include "ops/tensor_operation.h"

namespace pomona::rewrite {

Value attention_in_steps(const Node& node, Builder& g, double never) {
  Value q = node.input("query"), mask = node.input("attn_mask");
  if (!q.shape().back().known())
    return g.refuse(fail("the size of a query is not known, so attention cannot be taken apart"));
  double width = double(q.shape().back().value());
  Value scaled = g.add(mil::mul{.x = q, .y = g.number(q, 1 / std::sqrt(width))});
  Value scores = g.add(mil::matmul{.x = scaled, .y = node.input("key"), .transpose_y = true});
  if (mask && mask.dtype() == DType::boolean)
    scores = g.add(mil::select{.cond = mask, .a = scores, .b = g.number(q, never)});
  else if (mask)
    scores = g.add(mil::add{.x = scores, .y = mask});
  Value weights = g.add(mil::softmax{.x = scores, .axis = -1});
  return g.add(mil::matmul{.x = weights, .y = node.input("value")});
}

}  // namespace pomona::rewrite
