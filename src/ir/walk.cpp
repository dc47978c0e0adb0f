#include "ir/walk.h"

#include <unordered_set>

namespace pomona {
namespace {

// `seen`: what is made inside, and what has been found.
void collect_captures(const Block& block, std::unordered_set<const ValueInfo*>& seen, Values& found) {
  for (std::size_t i = 0; i < block.input_count(); ++i) seen.insert(&block.input(i).info());
  auto use = [&](Value value) {
    if (seen.insert(&value.info()).second) found.push_back(value);
  };
  for (const auto& node : block.nodes()) {
    for (Value value : node->inputs()) use(value);
    for (const auto& inner : node->blocks) collect_captures(*inner, seen, found);
    for (std::size_t i = 0; i < node->output_count(); ++i) seen.insert(&node->output(i).info());
  }
  for (Value value : block.results()) use(value);
}

}  // namespace

Values captured_values(const Node& node) {
  std::unordered_set<const ValueInfo*> seen;
  Values found;
  for (const auto& block : node.blocks) collect_captures(*block, seen, found);
  return found;
}

Values operands_of_all(const Node& node) {
  Values found = node.inputs();
  if (node.blocks.empty()) return found;
  Values captured = captured_values(node);
  found.insert(found.end(), captured.begin(), captured.end());
  return found;
}

}  // namespace pomona
