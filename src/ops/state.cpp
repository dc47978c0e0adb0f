#include "ops/state.h"

#include <cstring>

#include "ops/axes.h"
#include "ops/catalogue.h"

namespace pomona::mil {
namespace {

Result<Interpreter*> states_of(const At& at) {
  if (!at.interpreter) return fail("a state can only be used while a program runs");
  return at.interpreter;
}

}  // namespace

Result<Types> read_state::infer(const At&) const { return Types{tensor_type(input.dtype(), input.shape())}; }
Result<Tensors> read_state::eval(const At& at) const { return Tensors{POM_TRY(states_of(at))->state(input)}; }

Result<Types> write_state::infer(const At&) const {
  bool same = data.rank() == input.rank() && data.dtype() == input.dtype();
  for (std::size_t d = 0; same && d < data.rank(); ++d) same = may_equal(data.shape()[d], input.shape()[d]);
  POM_REQUIRE(same, "data is {}, but the state is {}", data.type().text(), input.type().text());
  return Types{};
}
Result<Tensors> write_state::eval(const At& at) const {
  POM_TRY(infer(at));
  // Into the state's own memory: the data may lie in memory that is used again.
  Tensor& state = POM_TRY(states_of(at))->state(input);
  if (state.size_bytes()) std::memcpy(state.mutable_data(), data.tensor().data(), state.size_bytes());
  return Tensors{};
}

std::vector<const OpDef*> state_chapter() { return op_list<read_state, write_state>(); }

}  // namespace pomona::mil
