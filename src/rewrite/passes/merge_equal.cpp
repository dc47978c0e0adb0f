#include <bit>

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

// Nodes that are equal compute the same, and have equal hashes.
std::size_t hash_of(const Node& node) {
  std::size_t hash = std::hash<const void*>()(node.op);
  if (node.op->structural) return combined(hash, std::hash<std::string>()(node.literal.identity()));
  for (const Attribute& attribute : node.attributes) hash = combined(hash, hash_of(attribute));
  for (Value input : node.inputs()) hash = combined(hash, std::hash<const void*>()(&input.info()));
  return hash;
}
bool are_equal(const Node& a, const Node& b) {
  if (a.op != b.op) return false;
  if (a.op->structural) return a.literal.identity() == b.literal.identity();
  return a.inputs() == b.inputs() && a.counts() == b.counts() && a.attributes == b.attributes;
}

// The first node of each kind, in one row of memory: a table whose entries are objects of their own waits for memory
// at each of them as soon as a program exceeds the caches.
class Seen {
 public:
  // The node that is equal to this one and came first; else null, and the node is the first of its kind.
  Node* find_or_add(Node& node) {
    if (2 * (used_ + 1) > entries_.size()) grow();
    std::size_t hash = hash_of(node), at = place_of(hash);
    for (; entries_[at].is_used; at = next(at))
      if (entries_[at].hash == hash && entries_[at].node && are_equal(*entries_[at].node, node))
        return entries_[at].node;
    entries_[at] = {hash, &node, true};
    ++used_;
    return nullptr;
  }
  void forget(Node& node) {
    for (std::size_t at = place_of(hash_of(node)); entries_[at].is_used; at = next(at))
      if (entries_[at].node == &node) entries_[at].node = nullptr;
  }

 private:
  struct Entry {
    std::size_t hash = 0;
    Node* node = nullptr;  // null where one has been forgotten
    bool is_used = false;
  };

  std::size_t place_of(std::size_t hash) const { return hash * 0x9E3779B97F4A7C15 >> shift_; }
  std::size_t next(std::size_t at) const { return at + 1 == entries_.size() ? 0 : at + 1; }
  void grow() {
    std::vector<Entry> before(std::max<std::size_t>(64, 2 * entries_.size()));
    before.swap(entries_);
    shift_ = 64 - std::countr_zero(entries_.size());
    used_ = 0;
    for (const Entry& entry : before) {
      if (!entry.node) continue;
      std::size_t at = place_of(entry.hash);
      while (entries_[at].is_used) at = next(at);
      entries_[at] = entry;
      ++used_;
    }
  }

  std::vector<Entry> entries_;
  std::size_t used_ = 0;
  int shift_ = 64;
};

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
  bool is_inner = &block != &block.function().body;
  std::vector<Node*> own;  // of an inner block
  for (auto at = block.nodes().begin(); at != block.nodes().end();) {
    Node& node = **at;
    ++at;
    for (auto& inner : node.blocks) merge_in(*inner, seen);
    if (!mergeable(node)) continue;
    Node* first = seen.find_or_add(node);
    if (!first) {
      if (is_inner) own.push_back(&node);
      continue;
    }
    bool nameable = true;
    for (std::size_t i = 0; i < node.output_count(); ++i) nameable &= take_name(node.output(i), first->output(i));
    if (!nameable) continue;
    for (std::size_t i = 0; i < node.output_count(); ++i) replace_uses(node.output(i), first->output(i));
    block.erase(node);
  }
  for (Node* node : own) seen.forget(*node);
}

}  // namespace

void merge_equal(Program& program) {
  for (auto& function : program.functions) {
    Seen seen;
    merge_in(function->body, seen);
  }
}

}  // namespace pomona::rewrite
