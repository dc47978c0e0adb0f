// Ways of storing or computing that are known to fail on a system, as records: which nodes, from and until which
// system, on which engine, who says so. Internal to silicon/.
#pragma once
#include <fmt/format.h>

#include "silicon/check.h"

namespace pomona::silicon {

// One line for all ops of a kind: the first, and how many.
struct Tally {
  std::size_t count = 0;
  std::string first;
  void add(const Node& node) {
    if (!count++) first = node.label();
  }
  std::string place() const { return count > 1 ? fmt::format("{} and {} more", first, count - 1) : first; }
};

bool is_known_bad(std::string_view id);
void known_bad_schemes(const CheckAt& at, std::vector<Concern>& found);

}  // namespace pomona::silicon
