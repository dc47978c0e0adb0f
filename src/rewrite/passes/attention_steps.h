// scaled_dot_product_attention written out: for systems that do not have the op, and engines that would not take it.
#pragma once
#include "ir/builder.h"

namespace pomona::rewrite {

// softmax(query key^T / sqrt(E) + mask) value. The scale goes into the query first, so that fp16 does not overflow.
// `never` is the score of a key that a bool mask closes.
Value attention_in_steps(const Node& node, Builder& g, double never);

}  // namespace pomona::rewrite
