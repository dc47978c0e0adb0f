#include <algorithm>

#include "ir/op.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {

bool is_result(Value value) {
  const Block& block = *value.block();
  if (&block != &block.function().body) return false;
  const auto& users = value.users();
  return std::find(users.begin(), users.end(), block.return_node()) != users.end();
}

bool take_name(Value before, Value after) {
  Node* producer = after.producer();
  if (!is_result(before)) {
    if (!after.name().empty() || before.name().empty()) return true;
  } else if (before.name() != after.name() && (!producer || producer->op->structural || is_result(after))) {
    return false;
  }
  after.set_name(before.name());
  if (producer && before.producer()) producer->name = before.producer()->name;
  return true;
}

}  // namespace pomona::rewrite
