// Attention over keys and values that come in two parts, a cache and what is new, found in a program that writes it out
// with matmul, concat and softmax:
//
//   s = softmax(concat(q K0^T, q K1^T) + mask);   y = s[.., :p] V0 + s[.., p:] V1
//
// or with scaled_dot_product_attention of two concats. As one step the cache is read where it lies, in halves too, and
// only as far as the mask opens it. This is found for few queries only, and where nobody else wants what lies between.
#pragma once
#include <map>
#include <set>

#include "cpu/group.h"

namespace pomona::cpu {

struct PartedAttention {
  Operand query, mask;  // the mask's value may be null
  Operand keys[2], values[2];
  float scale = 1;            // of scores
  float cap_in = 0, cap = 0;  // scores become cap * tanh(cap_in * score), unless cap is 0
};
struct PartedAttentions {
  std::map<const Node*, PartedAttention> found;  // by the node that makes the result
  std::set<const Node*> nothing;                 // nodes with nothing left to do
};
// `results` are wanted after the segment.
PartedAttentions find_parted_attention(const std::vector<PlannedNode>& nodes, const Values& results);

struct PartedAttentionSlots {
  SlotNumber query, mask = no_slot, keys[2], values[2], y;
  bool half_keys[2] = {}, half_values[2] = {};
  bool rounds = false;  // the result to fp16's values
};
Kernel parted_attention_kernel(const PartedAttention& attention, const PartedAttentionSlots& slots);

}  // namespace pomona::cpu
