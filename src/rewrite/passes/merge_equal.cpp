#include <unordered_map>

#include "ir/op.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

// Two nodes with equal keys compute the same.
std::string key_of(const Node& node) {
  if (node.op->structural) return "const " + node.literal.identity();
  std::string key(node.op->name);
  for (const Attribute& attribute : node.attributes)
    key += "," + std::to_string(attribute.index()) + to_string(attribute);
  for (std::uint32_t count : node.counts()) key += ":" + std::to_string(count);
  for (Value input : node.inputs()) key += "@" + std::to_string(reinterpret_cast<std::uintptr_t>(&input.info()));
  return key;
}

bool mergeable(const Node& node) {
  if (node.op->random || node.op->side_effects || !node.blocks.empty()) return false;
  // What reads a state depends on when it runs.
  for (Value input : node.inputs())
    if (input.type().kind == Type::Kind::state) return false;
  return true;
}

using Seen = std::unordered_map<std::string, Node*>;

// `outer` holds what enclosing blocks have computed before.
void merge_in(Block& block, Seen& seen) {
  std::vector<std::string> own;
  for (auto at = block.nodes().begin(); at != block.nodes().end();) {
    Node& node = **at;
    ++at;
    for (auto& inner : node.blocks) merge_in(*inner, seen);
    if (!mergeable(node)) continue;
    std::string key = key_of(node);
    auto [first, fresh] = seen.try_emplace(key, &node);
    if (fresh) {
      own.push_back(std::move(key));
      continue;
    }
    bool nameable = true;
    for (std::size_t i = 0; i < node.output_count(); ++i)
      nameable &= take_name(node.output(i), first->second->output(i));
    if (!nameable) continue;
    for (std::size_t i = 0; i < node.output_count(); ++i) replace_uses(node.output(i), first->second->output(i));
    block.erase(node);
  }
  for (const std::string& key : own) seen.erase(key);
}

}  // namespace

void merge_equal(Program& program) {
  for (auto& function : program.functions) {
    Seen seen;
    merge_in(function->body, seen);
  }
}

}  // namespace pomona::rewrite
