// Copies of nodes in other functions, with what they are made from.
//
//   NodeCopier copy(part_function);
//   copy.set(value, there);            // what stands for a value of the source
//   POM_TRY(copy.node(node));          // its operands have been set, are copied, or are weights, which come along
#pragma once
#include <map>

#include "ir/builder.h"

namespace pomona::rewrite {

class NodeCopier {
 public:
  explicit NodeCopier(Block& to) : g_(to) {}
  void set(Value from, Value to) { copies_[from] = to; }
  Value operator[](Value from) const { return copies_.at(from); }
  Status node(const Node& node);

 private:
  Result<Value> operand(Value from);
  Status block(const Block& from, Block& to);
  Builder g_;
  std::map<Value, Value> copies_;
};

}  // namespace pomona::rewrite
