// Quantisation of activations, as elementwise ops of a scale and a zero point, or of those along an axis.
#include "ops/quantization.h"

#include "cpu/kernels/kernels.h"
#include "ops/axes.h"

namespace pomona::cpu {
namespace {

// One number for all, or one for each index of the axis.
RegisterNumber emit_numbers(const InputField& field, const std::optional<int>& axis, std::size_t rank,
                            VectorEmitter& e) {
  std::vector<double> numbers = field.tensor().numbers();
  std::size_t along = axis ? normal_axis(*axis, rank).value_or(rank) : rank;
  return e.numbers_along(along, {numbers.begin(), numbers.end()});
}

RegisterNumber emit_quantize(const mil::quantize& op, VectorEmitter& e) {
  std::size_t rank = op.input.rank();
  RegisterNumber x = e.operand(op.input), scale = emit_numbers(op.scale, op.axis, rank, e);
  // The quotient in the input's dtype, so that halves are the same ones as in the reference.
  RegisterNumber quotient = e.emit(Opcode::divide, x, scale, no_register, {.rounds = op.input.dtype() == DType::fp16});
  RegisterNumber level = e.emit(Opcode::round, quotient);
  // Not a number is the zero point.
  level = e.emit(Opcode::select, e.emit(Opcode::equal, level, level), level, e.integer(0));
  if (op.zero_point) level = e.emit(Opcode::add, level, emit_numbers(op.zero_point, op.axis, rank, e));
  DType to = *dtype_named(*op.output_dtype);
  level = e.emit(Opcode::clip, level, {.alpha = float(lowest_value(to)), .beta = float(highest_value(to))});
  return e.emit(Opcode::integer_from_float, level);
}

RegisterNumber emit_dequantize(const mil::dequantize& op, VectorEmitter& e) {
  std::size_t rank = op.input.rank();
  RegisterNumber level = e.emit(Opcode::float_from_integer, e.operand(op.input));
  if (op.zero_point) level = e.emit(Opcode::subtract, level, emit_numbers(op.zero_point, op.axis, rank, e));
  return e.emit(Opcode::multiply, level, emit_numbers(op.scale, op.axis, rank, e));
}

}  // namespace

std::vector<ElementwiseRule> quantization_elementwise() {
  return {elementwise<mil::quantize, emit_quantize>(), elementwise<mil::dequantize, emit_dequantize>()};
}

}  // namespace pomona::cpu
