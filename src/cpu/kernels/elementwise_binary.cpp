// Elementwise ops of two or three tensors, as instructions.
#include "ops/elementwise_binary.h"

#include "cpu/kernels/kernels.h"

namespace pomona::cpu {
namespace {

bool floating(const InputField& x) { return is_float(x.dtype()); }

// x + c for a constant; merged with the multiplication that made x.
RegisterNumber emit_shift(RegisterNumber x, float c, VectorEmitter& e) {
  const Instruction* made = e.maker(x);
  if (made && made->op == Opcode::scale) return e.emit(Opcode::affine, made->x, {.alpha = made->alpha, .beta = c});
  return e.emit(Opcode::shift, x, {.beta = c});
}
RegisterNumber emit_sum(RegisterNumber x, RegisterNumber y, VectorEmitter& e) {
  const Instruction *a = e.maker(x), *b = e.maker(y);
  if (a && a->op == Opcode::multiply) return e.emit(Opcode::multiply_add, a->x, a->y, y);
  if (b && b->op == Opcode::multiply) return e.emit(Opcode::multiply_add, b->x, b->y, x);
  return e.emit(Opcode::add, x, y);
}

RegisterNumber emit_add(const mil::add& op, VectorEmitter& e) {
  if (auto c = e.number(op.y)) return emit_shift(e.operand(op.x), *c, e);
  if (auto c = e.number(op.x)) return emit_shift(e.operand(op.y), *c, e);
  RegisterNumber x = e.operand(op.x), y = e.operand(op.y);
  return floating(op.x) ? emit_sum(x, y, e) : e.emit(Opcode::integer_add, x, y);
}
RegisterNumber emit_sub(const mil::sub& op, VectorEmitter& e) {
  if (auto c = e.number(op.y)) return emit_shift(e.operand(op.x), -*c, e);
  if (auto c = e.number(op.x)) return e.emit(Opcode::affine, e.operand(op.y), {.alpha = -1, .beta = *c});
  RegisterNumber x = e.operand(op.x), y = e.operand(op.y);
  return e.emit(floating(op.x) ? Opcode::subtract : Opcode::integer_subtract, x, y);
}
RegisterNumber emit_mul(const mil::mul& op, VectorEmitter& e) {
  if (auto c = e.number(op.y)) return e.emit(Opcode::scale, e.operand(op.x), {.alpha = *c});
  if (auto c = e.number(op.x)) return e.emit(Opcode::scale, e.operand(op.y), {.alpha = *c});
  RegisterNumber x = e.operand(op.x), y = e.operand(op.y);
  return e.emit(floating(op.x) ? Opcode::multiply : Opcode::integer_multiply, x, y);
}
RegisterNumber emit_real_div(const mil::real_div& op, VectorEmitter& e) {
  auto c = e.number(op.y);
  // The reciprocal of a normal number, when it is one, too: at most an ulp away.
  if (c && std::isnormal(*c) && std::isnormal(1 / *c) && !e.exact())
    return e.emit(Opcode::scale, e.operand(op.x), {.alpha = 1 / *c});
  RegisterNumber x = e.operand(op.x), y = e.operand(op.y);
  if (floating(op.x)) return e.emit(Opcode::divide, x, y);
  return e.emit(Opcode::integer_call_two, x, y, no_register, {.function = {.of_two_integers = mil::real_div::f}});
}
template <class Op>
RegisterNumber emit_rare(const Op& op, VectorEmitter& e) {
  RareFunction f;
  if (floating(op.x))
    f.of_two = static_cast<double (*)(double, double)>(Op::f);
  else
    f.of_two_integers = static_cast<std::int64_t (*)(std::int64_t, std::int64_t)>(Op::f);
  RegisterNumber x = e.operand(op.x), y = e.operand(op.y);
  return e.emit(floating(op.x) ? Opcode::call_two : Opcode::integer_call_two, x, y, no_register, {.function = f});
}
RegisterNumber emit_pow(const mil::pow& op, VectorEmitter& e) {
  auto c = e.number(op.y);
  if (c == 2.0f) return e.emit(Opcode::square, e.operand(op.x));
  if (c == 1.0f) return e.operand(op.x);
  if (c == -1.0f) return e.emit(Opcode::reciprocal, e.operand(op.x));
  if (c == 3.0f && !e.exact()) {
    RegisterNumber x = e.operand(op.x);
    return e.emit(Opcode::multiply, e.emit(Opcode::square, x), x);
  }
  return emit_rare(op, e);
}

// Opcodes by whether the operands are floating.
template <class Op, Opcode floats, Opcode integers>
RegisterNumber emit_two(const Op& op, VectorEmitter& e) {
  RegisterNumber x = e.operand(op.x), y = e.operand(op.y);
  return e.emit(floating(op.x) ? floats : integers, x, y);
}
template <class Op, Opcode floats, Opcode integers>
RegisterNumber emit_swapped(const Op& op, VectorEmitter& e) {
  RegisterNumber x = e.operand(op.x), y = e.operand(op.y);
  return e.emit(floating(op.x) ? floats : integers, y, x);
}
template <class Op, Opcode opcode>
RegisterNumber emit_logical(const Op& op, VectorEmitter& e) {
  RegisterNumber x = e.operand(op.x), y = e.operand(op.y);
  return e.emit(opcode, x, y);
}
RegisterNumber emit_select(const mil::select& op, VectorEmitter& e) {
  RegisterNumber cond = e.operand(op.cond), a = e.operand(op.a), b = e.operand(op.b);
  return e.emit(Opcode::select, cond, a, b);
}

template <class Op, Opcode floats, Opcode integers>
ElementwiseRule two() {
  return elementwise<Op, emit_two<Op, floats, integers>>();
}
template <class Op, Opcode floats, Opcode integers>
ElementwiseRule swapped() {
  return elementwise<Op, emit_swapped<Op, floats, integers>>();
}
template <class Op, Opcode opcode>
ElementwiseRule logical() {
  return elementwise<Op, emit_logical<Op, opcode>>();
}

}  // namespace

std::vector<ElementwiseRule> elementwise_binary_elementwise() {
  return {
      elementwise<mil::add, emit_add>(),
      elementwise<mil::sub, emit_sub>(),
      elementwise<mil::mul, emit_mul>(),
      elementwise<mil::real_div, emit_real_div>(),
      elementwise<mil::floor_div, emit_rare<mil::floor_div>>(),
      elementwise<mil::mod, emit_rare<mil::mod>>(),
      elementwise<mil::pow, emit_pow>(),
      two<mil::maximum, Opcode::maximum, Opcode::integer_maximum>(),
      two<mil::minimum, Opcode::minimum, Opcode::integer_minimum>(),
      two<mil::equal, Opcode::equal, Opcode::integer_equal>(),
      two<mil::not_equal, Opcode::not_equal, Opcode::integer_not_equal>(),
      two<mil::less, Opcode::less, Opcode::integer_less>(),
      two<mil::less_equal, Opcode::less_equal, Opcode::integer_less_equal>(),
      swapped<mil::greater, Opcode::less, Opcode::integer_less>(),
      swapped<mil::greater_equal, Opcode::less_equal, Opcode::integer_less_equal>(),
      logical<mil::logical_and, Opcode::logical_and>(),
      logical<mil::logical_or, Opcode::logical_or>(),
      logical<mil::logical_xor, Opcode::logical_xor>(),
      elementwise<mil::select, emit_select>(),
  };
}

}  // namespace pomona::cpu
