// Which values of a segment may be a state's own memory, so that a cache is changed in place and never copied.
//
//   c0 = read_state(S); c1 = slice_update(c0, rows, begin, end); write_state(S, c1); c2 = read_state(S)
//
// Here c1 and c2 are the state: the rows are written into it, and the other three nodes do nothing. A slice of c2 that
// lies in one piece (the row of a layer, where one state holds all layers) is a part of the state. This is only found
// where it cannot be noticed: whoever reads what an update changes is needed for that update, so runs before it, and
// nothing outside of the segment reads these values.
#pragma once
#include <map>
#include <set>
#include <tuple>

#include "cpu/group.h"

namespace pomona::cpu {

// A state's memory, or a part of it.
struct StatePlace {
  Value state;
  std::size_t offset = 0;  // in elements
  Sizes sizes;
  friend bool operator<(const StatePlace& a, const StatePlace& b) {
    return std::tie(a.state, a.offset, a.sizes) < std::tie(b.state, b.offset, b.sizes);
  }
};
struct StateAliases {
  std::map<Value, StatePlace> place_of;  // values that are a state's memory, also as cast to fp32
  std::set<const Node*> nothing;         // nodes with nothing left to do
  std::set<const Node*> in_place;        // slice_updates of a state's memory
};
// `results` are wanted after the segment.
StateAliases find_state_aliases(const std::vector<PlannedNode>& nodes, const Values& results);

}  // namespace pomona::cpu
