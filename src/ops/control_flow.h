// MIL control flow: cond and while_loop. Their blocks belong to the node (Node::blocks), not to the op struct, so they
// are added with Builder::add_call:
//
//   cond        blocks[0] when pred is true, blocks[1] otherwise; neither has inputs; results match one by one
//   while_loop  blocks[0] the condition, one bool; blocks[1] the body; both have one input per loop variable
//
// A dimension that differs between the two blocks of a cond, or between a loop variable and what the body makes of it,
// is unknown in the result. The inputs of a loop's blocks must leave such a dimension unknown themselves (join_types
// makes that type): what is inferred inside the blocks rests on it.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct cond {
  static constexpr auto doc = "The results of the first block when pred is true, of the second otherwise";
  POM_IN(pred, {'P', dtypes::boolean});
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct while_loop {
  static constexpr auto doc = "Runs the second block on the loop variables for as long as the first block is true";
  static constexpr TypeVar anything{'*', dtypes::any};
  POM_VARIADIC(loop_vars, anything);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

// The type of a value that is of type `a` at times and of type `b` at others; an error when dtype, kind or rank differ.
Result<Type> join_types(const Type& a, const Type& b);

}  // namespace pomona::mil
