// Visits every node, those of inner blocks after the node that has them.
//
//   each_node(program, [&](const Node& node) { ... });
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

}  // namespace pomona
