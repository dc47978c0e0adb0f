// Visits every node, those of inner blocks after the node that has them; and what a node reads with all its blocks.
//
//   each_node(program, [&](const Node& node) { ... });
//   any_node(function.body, [](const Node& node) { return node.op->random; })
#pragma once
#include "ir/program.h"

namespace pomona {

template <class Visit>
void each_node(const Block& block, Visit&& visit) {
  for (const auto& node : block.nodes()) {
    visit(*node);
    for (const auto& inner : node->blocks) each_node(*inner, visit);
  }
}

template <class Visit>
void each_node(const Program& program, Visit&& visit) {
  for (const auto& function : program.functions) each_node(function->body, visit);
}

template <class Predicate>
bool any_node(const Block& block, Predicate&& holds) {
  for (const auto& node : block.nodes()) {
    if (holds(*node)) return true;
    for (const auto& inner : node->blocks)
      if (any_node(*inner, holds)) return true;
  }
  return false;
}

// What a node's blocks use of what is outside of them, each value once.
Values captured_values(const Node& node);
// The node's inputs, and what its blocks capture.
Values operands_of_all(const Node& node);

}  // namespace pomona
