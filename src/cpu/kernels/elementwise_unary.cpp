// Elementwise ops of one tensor, as instructions.
#include "ops/elementwise_unary.h"

#include "cpu/kernels/kernels.h"

namespace pomona::cpu {
namespace {

template <class Op, Opcode opcode>
RegisterNumber emit_one(const Op& op, VectorEmitter& e) {
  return e.emit(opcode, e.operand(op.x));
}
template <class Op>
RegisterNumber emit_rare(const Op& op, VectorEmitter& e) {
  RareFunction f;
  f.of_one = static_cast<double (*)(double)>(Op::f);
  return e.emit(Opcode::call, e.operand(op.x), {.function = f});
}
template <class Op>
RegisterNumber emit_rare_integer(const Op& op, VectorEmitter& e) {
  RareFunction f;
  f.of_integer = static_cast<std::int64_t (*)(std::int64_t)>(Op::f);
  return e.emit(Opcode::integer_call, e.operand(op.x), {.function = f});
}
// Ops of floats or integers.
template <class Op, Opcode floats>
RegisterNumber emit_either(const Op& op, VectorEmitter& e) {
  return is_float(op.x.dtype()) ? emit_one<Op, floats>(op, e) : emit_rare_integer(op, e);
}
RegisterNumber emit_exp2(const mil::exp2& op, VectorEmitter& e) {
  return is_float(op.x.dtype()) ? emit_rare(op, e) : emit_rare_integer(op, e);
}
RegisterNumber emit_clip(const mil::clip& op, VectorEmitter& e) {
  return e.emit(Opcode::clip, e.operand(op.x), {.alpha = float(op.alpha), .beta = float(op.beta)});
}
template <class Op, Opcode opcode>
RegisterNumber emit_with_epsilon(const Op& op, VectorEmitter& e) {
  return e.emit(opcode, e.operand(op.x), {.alpha = float(mil::rounded_to(op.x.dtype(), op.epsilon))});
}
RegisterNumber emit_threshold(const mil::threshold& op, VectorEmitter& e) {
  RegisterNumber x = e.operand(op.x);
  if (is_float(op.x.dtype())) return e.emit(Opcode::at_least, x, {.alpha = float(op.alpha)});
  RegisterNumber limit = e.integer(std::int32_t(op.alpha));
  return e.emit(Opcode::integer_maximum, x, limit);
}

// To the 32-bit lanes that a dtype has in registers.
RegisterNumber emit_narrowing(RegisterNumber x, DType to, VectorEmitter& e) {
  switch (to) {
    case DType::int8:
      return e.emit(Opcode::int8_from_integer, x);
    case DType::uint8:
      return e.emit(Opcode::uint8_from_integer, x);
    case DType::int16:
      return e.emit(Opcode::int16_from_integer, x);
    case DType::uint16:
      return e.emit(Opcode::uint16_from_integer, x);
    default:
      return x;
  }
}
RegisterNumber emit_cast(const mil::cast& op, VectorEmitter& e) {
  DType from = op.x.dtype(), to = e.result_dtype();
  RegisterNumber x = e.operand(op.x);
  if (is_float(from) && is_float(to)) return x;
  if (is_float(to)) return e.emit(Opcode::float_from_integer, x);
  if (to == DType::boolean) return e.emit(is_float(from) ? Opcode::bool_from_float : Opcode::bool_from_integer, x);
  if (is_float(from)) x = e.emit(Opcode::integer_from_float, x);
  return emit_narrowing(x, to, e);
}

template <class Op, Opcode opcode>
ElementwiseRule one() {
  return elementwise<Op, emit_one<Op, opcode>>();
}

}  // namespace

std::vector<ElementwiseRule> elementwise_unary_elementwise() {
  return {
      elementwise<mil::acos, emit_rare<mil::acos>>(),
      elementwise<mil::asin, emit_rare<mil::asin>>(),
      elementwise<mil::atan, emit_rare<mil::atan>>(),
      elementwise<mil::atanh, emit_rare<mil::atanh>>(),
      one<mil::ceil, Opcode::ceil>(),
      elementwise<mil::cos, emit_rare<mil::cos>>(),
      elementwise<mil::cosh, emit_rare<mil::cosh>>(),
      one<mil::erf, Opcode::erf>(),
      one<mil::exp, Opcode::exp>(),
      one<mil::floor, Opcode::floor>(),
      one<mil::round, Opcode::round>(),
      elementwise<mil::sin, emit_rare<mil::sin>>(),
      elementwise<mil::sinh, emit_rare<mil::sinh>>(),
      one<mil::sqrt, Opcode::square_root>(),
      elementwise<mil::tan, emit_rare<mil::tan>>(),
      one<mil::tanh, Opcode::tanh>(),
      elementwise<mil::abs, emit_either<mil::abs, Opcode::absolute>>(),
      elementwise<mil::exp2, emit_exp2>(),
      elementwise<mil::sign, emit_either<mil::sign, Opcode::sign>>(),
      elementwise<mil::square, emit_either<mil::square, Opcode::square>>(),
      elementwise<mil::clip, emit_clip>(),
      elementwise<mil::inverse, emit_with_epsilon<mil::inverse, Opcode::reciprocal>>(),
      elementwise<mil::log, emit_with_epsilon<mil::log, Opcode::log>>(),
      elementwise<mil::rsqrt, emit_with_epsilon<mil::rsqrt, Opcode::rsqrt>>(),
      elementwise<mil::threshold, emit_threshold>(),
      one<mil::logical_not, Opcode::logical_not>(),
      elementwise<mil::cast, emit_cast>(),
  };
}

}  // namespace pomona::cpu
