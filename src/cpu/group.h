// Which nodes of a segment run as one step: chains and diamonds of elementwise ops, with the kernel (a convolution, a
// product) that makes what they start from.
//
//   sigmoid(x) * x + r     three nodes, one step
//
// Values inside a group have users in the group only, so they need no memory.
#pragma once
#include <optional>
#include <set>
#include <unordered_set>

#include "cpu/kernel.h"

namespace pomona::cpu {

struct PlannedNode {
  const Node* node;
  std::vector<std::vector<Operand>> operands;  // concrete
  Types results;
};
struct Group {
  std::vector<std::size_t> members;   // ascending; the last one makes the group's result
  std::optional<std::size_t> anchor;  // the member that is not elementwise, if any: the first to run
};
// Groups in the order in which they can run. `settled`: nodes whose results are already known, so not users. `apart`:
// nodes that are each a group.
std::vector<Group> group_nodes(const std::vector<PlannedNode>& nodes, const std::unordered_set<const Node*>& settled,
                               const std::set<const Node*>& apart = {});

}  // namespace pomona::cpu
