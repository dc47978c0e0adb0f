#include "cpu/state_alias.h"

#include <algorithm>

#include "ops/elementwise_unary.h"
#include "ops/shape.h"
#include "ops/state.h"

namespace pomona::cpu {
namespace {

class AliasFinder {
 public:
  AliasFinder(const std::vector<PlannedNode>& nodes, const Values& results)
      : nodes_(nodes), results_(results.begin(), results.end()) {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const Node* node = nodes[i].node;
      place_[node] = i;
      if (is<mil::read_state>(node)) uses_[node->inputs()[0]].reads.push_back(i);
      if (is<mil::write_state>(node)) uses_[node->inputs()[0]].writes.push_back(i);
    }
  }
  StateAliases run() {
    for (const auto& [state, uses] : uses_) take(state, uses);
    return std::move(found_);
  }

 private:
  struct Uses {
    std::vector<std::size_t> reads, writes;
  };

  void take(Value state, const Uses& uses) {
    StateAliases mine;
    std::size_t from = 0;  // reads from here on see what the state holds in the end
    const Node* before = nullptr;
    if (uses.writes.size() > 1) return;
    if (uses.writes.size() == 1) {
      const Node* write = nodes_[uses.writes[0]].node;
      const Node* update = write->input("data").producer();
      if (!updates_rows(update)) return;
      before = update->input("x").producer();
      bool ours = is<mil::read_state>(before) && before->inputs()[0] == state && place_.count(before) &&
                  before->output().users().size() == 1 && place_[update] < uses.writes[0];
      if (!ours) return;
      from = uses.writes[0];
      mine.in_place.insert(update);
      mine.nothing.insert(write);
      if (!add(update->output(), state, mine)) return;
    }
    for (std::size_t read : uses.reads) {
      const Node* node = nodes_[read].node;
      mine.nothing.insert(node);
      if (node == before) continue;
      if (read < from || !add(node->output(), state, mine)) return;
    }
    if (before) mine.state_of[before->output()] = state;
    found_.state_of.merge(mine.state_of);
    found_.nothing.merge(mine.nothing);
    found_.in_place.merge(mine.in_place);
  }

  bool updates_rows(const Node* node) {
    if (!is<mil::slice_update>(node) || !place_.count(node)) return false;
    auto op = view<mil::slice_update>(*node);
    auto plain = [](const Ints& strides) {
      return std::all_of(strides.begin(), strides.end(), [](std::int64_t s) { return s == 1; });
    };
    bool squeezes = std::any_of(op.squeeze_mask->begin(), op.squeeze_mask->end(), [](std::int64_t s) { return s; });
    return plain(*op.stride) && !squeezes && op.begin.dtype() == DType::int32 && op.end.dtype() == DType::int32 &&
           is_float(op.x.dtype());
  }

  // All users must be in the segment. A cast of fp16 to fp32 is the same numbers.
  bool add(Value value, Value state, StateAliases& mine) {
    if (results_.count(value)) return false;
    mine.state_of[value] = state;
    for (const Node* user : value.users()) {
      if (!place_.count(user)) return false;
      bool widens = is<mil::cast>(user) && value.dtype() == DType::fp16 && user->output().dtype() == DType::fp32;
      if (!widens) continue;
      mine.nothing.insert(user);
      if (!add(user->output(), state, mine)) return false;
    }
    return true;
  }

  const std::vector<PlannedNode>& nodes_;
  std::set<Value> results_;
  std::map<const Node*, std::size_t> place_;
  std::map<Value, Uses> uses_;
  StateAliases found_;
};

}  // namespace

StateAliases find_state_aliases(const std::vector<PlannedNode>& nodes, const Values& results) {
  return AliasFinder(nodes, results).run();
}

}  // namespace pomona::cpu
