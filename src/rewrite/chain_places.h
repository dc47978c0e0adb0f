// Where a function can be cut in two, and what would then pass; see chain.h.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ir/program.h"

namespace pomona::rewrite {

// A function as a line of nodes, weights left out.
class FunctionLine {
 public:
  explicit FunctionLine(const Function& function);

  const Function& function() const { return *function_; }
  const std::vector<const Node*>& nodes() const { return nodes_; }
  // Values that would pass between nodes [0, place) and the rest, in the order in which they are made.
  Values passing(std::size_t place) const;
  // Whether a value comes of small inputs alone, so that each part had better compute it.
  bool is_light(Value value) const { return light_.count(value) != 0; }
  // A place and the bytes that pass there, by what is before it: the weights that are used so far. The narrowest place
  // of each kind; none where something cannot pass.
  struct Place {
    std::size_t at = 0;
    std::uint64_t width = 0;
  };
  std::map<std::string, Place> places() const;
  // Large weights that nodes [begin, end) use, by identity, with their bytes.
  std::map<std::string, std::uint64_t> weights(std::size_t begin, std::size_t end) const;

 private:
  void find_small();
  void find_light();
  void find_uses();
  const Function* function_;
  std::vector<const Node*> nodes_;
  std::uint64_t small_ = 0;                // bytes of the largest constants that come along wherever they are wanted
  std::map<Value, std::size_t> last_use_;  // of values that are not light
  std::map<Value, std::pair<std::size_t, std::size_t>> state_uses_;  // first and last
  std::set<Value> light_;
};

inline bool is_state(Value value) { return value.type().kind == Type::Kind::state; }
// Whether a value can be an output of one program and an input of another.
bool can_pass(Value value);

}  // namespace pomona::rewrite
