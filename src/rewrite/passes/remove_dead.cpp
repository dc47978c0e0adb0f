#include "ir/op.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

bool has_side_effects(const Node& node) {
  if (node.op->side_effects) return true;
  for (const auto& block : node.blocks)
    for (const auto& inner : block->nodes())
      if (has_side_effects(*inner)) return true;
  return false;
}

bool is_used(const Node& node) {
  for (std::size_t i = 0; i < node.output_count(); ++i)
    if (!node.output(i).users().empty()) return true;
  return false;
}

// From the last node to the first, so that one sweep also takes what only dead nodes used.
void remove_dead_in(Block& block) {
  for (auto at = block.nodes().end(); at != block.nodes().begin();) {
    --at;
    Node& node = **at;
    if (!is_used(node) && !has_side_effects(node)) {
      ++at;
      block.erase(node);
      continue;
    }
    for (auto& inner : node.blocks) remove_dead_in(*inner);
  }
}

}  // namespace

void remove_dead(Program& program) {
  for (auto& function : program.functions) remove_dead_in(function->body);
}

}  // namespace pomona::rewrite
