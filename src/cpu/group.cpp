#include "cpu/group.h"

#include <algorithm>
#include <unordered_map>

#include "cpu/vector_compile.h"

namespace pomona::cpu {
namespace {

// Larger groups would not find room for their operands in the first-level cache.
constexpr std::size_t most_members = 24;

class Grouper {
 public:
  Grouper(const std::vector<PlannedNode>& nodes, const std::unordered_set<const Node*>& settled,
          const std::set<const Node*>& apart)
      : nodes_(nodes), settled_(settled), apart_(apart), group_of_(nodes.size()) {
    for (std::size_t i = 0; i < nodes.size(); ++i) index_[nodes[i].node] = i;
  }

  std::vector<Group> run() {
    // From the end, so that the groups of a value's users are known.
    for (std::size_t i = nodes_.size(); i-- > 0;) {
      std::optional<std::size_t> group = joinable(i);
      group_of_[i] = group ? *group : groups_.size();
      if (!group) groups_.emplace_back();
      groups_[group_of_[i]].members.push_back(i);
      if (!find_elementwise(nodes_[i].node->op)) groups_[group_of_[i]].anchor = i;
    }
    for (Group& group : groups_) std::reverse(group.members.begin(), group.members.end());
    std::sort(groups_.begin(), groups_.end(),
              [](const Group& a, const Group& b) { return a.members.back() < b.members.back(); });
    return std::move(groups_);
  }

 private:
  // The group that all users of a node belong to, if it can take the node.
  std::optional<std::size_t> joinable(std::size_t i) {
    const PlannedNode& node = nodes_[i];
    bool elementwise = find_elementwise(node.node->op);
    const KernelRule* rule = find_kernel(node.node->op);
    if (apart_.count(node.node)) return {};
    if (node.results.size() != 1 || (!elementwise && !(rule && rule->traits.finishes))) return {};
    std::optional<std::size_t> group;
    for (const Node* user : node.node->output().users()) {
      if (settled_.count(user)) continue;
      auto at = index_.find(user);
      if (at == index_.end() || apart_.count(user) || !find_elementwise(user->op) ||
          (group && *group != group_of_[at->second]))
        return {};
      group = group_of_[at->second];
    }
    if (!group) return {};
    const Group& candidate = groups_[*group];
    const PlannedNode& root = nodes_[candidate.members.front()];  // members are still in reverse
    bool chain = find_elementwise(root.node->op) && root.results[0].shape == node.results[0].shape;
    if (!chain || candidate.members.size() >= most_members) return {};
    if (elementwise) return group;
    bool in_place = is_float(node.results[0].dtype) && is_float(root.results[0].dtype);
    return in_place && !candidate.anchor ? group : std::nullopt;
  }

  const std::vector<PlannedNode>& nodes_;
  const std::unordered_set<const Node*>& settled_;
  const std::set<const Node*>& apart_;
  std::vector<std::size_t> group_of_;
  std::vector<Group> groups_;
  std::unordered_map<const Node*, std::size_t> index_;
};

}  // namespace

std::vector<Group> group_nodes(const std::vector<PlannedNode>& nodes, const std::unordered_set<const Node*>& settled,
                               const std::set<const Node*>& apart) {
  return Grouper(nodes, settled, apart).run();
}

}  // namespace pomona::cpu
