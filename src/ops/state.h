// MIL states: buffers that live between calls of a function. A function input of kind state is read by read_state and
// set by write_state; both take effect in the order of the program.
//
//   Value now = g.add(mil::read_state{.input = cache});
//   g.add_all(mil::write_state{.input = cache, .data = next});     // has no results
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct read_state {
  static constexpr auto doc = "A copy of the state's present contents";
  static constexpr Target from = iOS18;
  static constexpr bool side_effects = true;  // its place between the writes matters
  POM_IN(input, .kind = Type::Kind::state);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct write_state {
  static constexpr auto doc = "Replaces the state's contents";
  static constexpr Target from = iOS18;
  static constexpr bool side_effects = true;
  POM_IN(input, .kind = Type::Kind::state);
  POM_IN(data, {'T', dtypes::all});
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
