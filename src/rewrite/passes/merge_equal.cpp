#include <unordered_map>

#include "ir/op.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

std::size_t combined(std::size_t seed, std::size_t hash) { return (seed ^ hash) * 0x9E3779B97F4A7C15 ^ seed >> 29; }

std::size_t hash_of(const Attribute& attribute) {
  return std::visit(
      [&](const auto& value) -> std::size_t {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return 0;
        } else if constexpr (requires { std::hash<T>()(value); }) {
          return std::hash<T>()(value);
        } else {
          std::size_t hash = value.size();
          for (const auto& each : value) hash = combined(hash, std::hash<std::decay_t<decltype(each)>>()(each));
          return hash;
        }
      },
      attribute);
}

// Nodes that are equal here compute the same.
struct Hash {
  std::size_t operator()(const Node* node) const {
    std::size_t hash = std::hash<const void*>()(node->op);
    if (node->op->structural) return combined(hash, std::hash<std::string>()(node->literal.identity()));
    for (const Attribute& attribute : node->attributes) hash = combined(hash, hash_of(attribute));
    for (Value input : node->inputs()) hash = combined(hash, std::hash<const void*>()(&input.info()));
    return hash;
  }
};
struct Equal {
  bool operator()(const Node* a, const Node* b) const {
    if (a->op != b->op) return false;
    if (a->op->structural) return a->literal.identity() == b->literal.identity();
    return a->inputs() == b->inputs() && a->counts() == b->counts() && a->attributes == b->attributes;
  }
};
// Each with itself as the value: the first of its kind.
using Seen = std::unordered_map<Node*, Node*, Hash, Equal>;

bool mergeable(const Node& node) {
  if (node.op->random || node.op->side_effects || !node.blocks.empty()) return false;
  // What reads a state depends on when it runs.
  for (Value input : node.inputs())
    if (input.type().kind == Type::Kind::state) return false;
  return true;
}

// `seen` holds what this block and enclosing ones have computed before. A node in it keeps its inputs, as these come
// before it and have been merged already.
void merge_in(Block& block, Seen& seen) {
  std::vector<Node*> own;
  for (auto at = block.nodes().begin(); at != block.nodes().end();) {
    Node& node = **at;
    ++at;
    for (auto& inner : node.blocks) merge_in(*inner, seen);
    if (!mergeable(node)) continue;
    auto [first, fresh] = seen.try_emplace(&node, &node);
    if (fresh) {
      own.push_back(&node);
      continue;
    }
    bool nameable = true;
    for (std::size_t i = 0; i < node.output_count(); ++i)
      nameable &= take_name(node.output(i), first->second->output(i));
    if (!nameable) continue;
    for (std::size_t i = 0; i < node.output_count(); ++i) replace_uses(node.output(i), first->second->output(i));
    block.erase(node);
  }
  if (&block == &block.function().body) return;
  for (Node* node : own) seen.erase(node);
}

}  // namespace

void merge_equal(Program& program) {
  for (auto& function : program.functions) {
    Seen seen;
    merge_in(function->body, seen);
  }
}

}  // namespace pomona::rewrite
