#include "cpu/state_alias.h"

#include <algorithm>
#include <optional>

#include "cpu/slice.h"
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
  // What happens to one state, in order. Version k is what it holds after k updates.
  struct Update {
    const Node *node, *before, *write;
  };
  struct History {
    Value state;
    std::vector<Update> updates;
    StateAliases found;
  };

  void take(Value state, const Uses& uses) {
    History h{state, {}, {}};
    for (std::size_t place : uses.writes)
      if (!add_update(h, nodes_[place].node)) return;
    StatePlace whole{state, 0, known_sizes(state.shape())};
    for (std::size_t k = 0; k < h.updates.size(); ++k) {
      h.found.in_place.insert(h.updates[k].node);
      h.found.nothing.insert(h.updates[k].write);
      if (!add(h, h.updates[k].node->output(), whole, k + 1)) return;
    }
    for (std::size_t place : uses.reads) {
      auto later = [&](const Update& u) { return place_[u.write] > place; };
      std::size_t version = std::size_t(std::ranges::find_if(h.updates, later) - h.updates.begin());
      h.found.nothing.insert(nodes_[place].node);
      if (!add(h, nodes_[place].node->output(), whole, version)) return;
    }
    found_.place_of.merge(h.found.place_of);
    found_.nothing.merge(h.found.nothing);
    found_.in_place.merge(h.found.in_place);
  }

  // It must change what the state holds just then.
  bool add_update(History& h, const Node* write) {
    const Node* node = write->input("data").producer();
    if (!updates_rows(node) || place_[node] > place_[write]) return false;
    const Node* before = node->input("x").producer();
    bool current = is<mil::read_state>(before) && before->inputs()[0] == h.state && place_.count(before) &&
                   (h.updates.empty() || place_[before] > place_[h.updates.back().write]);
    if (current) h.updates.push_back({node, before, write});
    return current;
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

  // All users must be in the segment, and those of a version that does not last must run before its end. A cast of fp16
  // to fp32 is the same numbers.
  bool add(History& h, Value value, const StatePlace& place, std::size_t version) {
    if (results_.count(value)) return false;
    h.found.place_of[value] = place;
    const Node* next = version < h.updates.size() ? h.updates[version].node : nullptr;
    for (const Node* user : value.users()) {
      if (!place_.count(user)) return false;
      if (user == next && user->input("x") == value && user->input("update") != value) continue;
      if (version > 0 && user == h.updates[version - 1].write) continue;
      if (auto part = same_memory(user, place)) {
        h.found.nothing.insert(user);
        if (!add(h, user->output(), *part, version)) return false;
      } else if (next && !needed_for(next).count(user)) {
        return false;
      }
    }
    return true;
  }

  // What of a place a node only looks at.
  std::optional<StatePlace> same_memory(const Node* user, const StatePlace& place) {
    if (is<mil::cast>(user)) {
      bool widens = user->inputs()[0].dtype() == DType::fp16 && user->output().dtype() == DType::fp32;
      return widens ? std::optional(place) : std::nullopt;
    }
    if (!is<mil::slice_by_index>(user)) return {};
    const PlannedNode& planned = nodes_[place_.at(user)];
    auto op = detail::view_of<mil::slice_by_index>(*user->op, user->attributes, planned.operands);
    auto slice = slice_of(op, place.sizes);
    if (!slice || op.x.dtype() != user->output().dtype()) return {};
    Sizes sizes = with_squeezed(known_sizes(planned.results[0].shape), *op.squeeze_mask, place.sizes.size());
    Sizes strides = strides_of(place.sizes);
    StatePlace part{place.state, place.offset, known_sizes(planned.results[0].shape)};
    bool one_before = true;  // along the axes before this one a single element is taken
    for (std::size_t d = 0; d < sizes.size(); ++d) {
      if (slice->stride[d] != 1 || (!one_before && sizes[d] != place.sizes[d])) return {};
      one_before = one_before && sizes[d] == 1;
      part.offset += std::size_t(slice->begin[d] * strides[d]);
    }
    return part;
  }

  // The nodes that this one cannot run without.
  const std::set<const Node*>& needed_for(const Node* node) {
    auto [at, fresh] = needed_.try_emplace(node);
    if (!fresh) return at->second;
    std::vector<const Node*> open{node};
    while (!open.empty()) {
      const Node* next = open.back();
      open.pop_back();
      for (Value input : next->inputs())
        if (const Node* from = input.producer(); from && place_.count(from) && at->second.insert(from).second)
          open.push_back(from);
    }
    return at->second;
  }

  const std::vector<PlannedNode>& nodes_;
  std::set<Value> results_;
  std::map<const Node*, std::size_t> place_;
  std::map<Value, Uses> uses_;
  std::map<const Node*, std::set<const Node*>> needed_;
  StateAliases found_;
};

}  // namespace

StateAliases find_state_aliases(const std::vector<PlannedNode>& nodes, const Values& results) {
  return AliasFinder(nodes, results).run();
}

}  // namespace pomona::cpu
