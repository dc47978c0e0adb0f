// The order in which a program's ops would be cut into segments: Core ML cuts the graph, not the list of ops, so that
// an op which waits for nothing (the cast of an output, a mask made from another input) splits no segment.
//
//   std::vector<std::size_t> order = grouped_order(after, kind);
//
// Internal to silicon/.
#pragma once
#include <cstddef>
#include <vector>

namespace pomona::silicon {

// A topological order that stays with one kind (0 to 2) as long as it can; ties by number. `after[i]` are the items
// that item i needs, each below i; kind[i] < 0: goes with any. Starts with kind 2.
std::vector<std::size_t> grouped_order(const std::vector<std::vector<std::size_t>>& after,
                                       const std::vector<int>& kind);

}  // namespace pomona::silicon
