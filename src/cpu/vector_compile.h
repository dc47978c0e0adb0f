// Compiles elementwise nodes into one vector program (vector_program.h), and the rules by which each op is compiled.
//
//   RegisterNumber emit_relu(const mil::relu& op, VectorEmitter& e) {
//     return e.emit(Opcode::at_least, e.operand(op.x), {.alpha = 0});
//   }
//   std::vector<ElementwiseRule> activation_elementwise() { return {elementwise<mil::relu, emit_relu>()}; }
//
// The chapters of rules are in kernels/. Rounding is the emitter's business: rules do not see it.
#pragma once
#include <memory>
#include <optional>

#include "cpu/kernel.h"
#include "cpu/vector_program.h"

namespace pomona::cpu {

class VectorEmitter;
struct ElementwiseRule {
  const OpDef* op;
  RegisterNumber (*emit)(VectorEmitter&);
};
// The rule for an op, or null.
const ElementwiseRule* find_elementwise(const OpDef* op);

// A value where it lies.
struct Place {
  SlotNumber slot = no_slot;
  bool channels_last = false;
};
struct Parameters {
  float alpha = 0, beta = 0;
  RareFunction function = {};
  bool rounds = false;  // to fp16's values
};

class VectorEmitter {
 public:
  // `sizes` and `channels_last` are the result's; `place_of` gives the place of a value from outside.
  VectorEmitter(Sizes sizes, bool channels_last, Rounding rounding, std::function<Place(const Operand&)> place_of)
      : sizes_(std::move(sizes)), channels_last_(channels_last), rounding_(rounding), place_of_(std::move(place_of)) {}

  // Makes `value` known as what already lies, element for element, in the result's memory.
  void start_from(Value value, SlotNumber result, bool rounds);
  void add(const Node& node, const std::vector<std::vector<Operand>>& operands, const Type& result);
  // The finished program; empty when it is too large. The last value added is the result.
  std::optional<Finish> finish(SlotNumber result, DType dtype);

  // For rules.
  template <class Op>
  Op view() const {
    return detail::view_of<Op>(*node_->op, node_->attributes, *operands_);
  }
  RegisterNumber operand(const InputField& field);
  // An operand of rank 1 that lies along axis 1 of the result; and numbers that do, or that lie along another axis.
  RegisterNumber operand_along_channels(const InputField& field);
  RegisterNumber numbers_along_channels(std::vector<float> numbers) { return numbers_along(1, std::move(numbers)); }
  RegisterNumber numbers_along(std::size_t axis, std::vector<float> numbers);
  RegisterNumber integer(std::int32_t number);
  // A floating operand that is constant and has one element.
  std::optional<float> number(const InputField& field) const;
  RegisterNumber emit(Opcode op, RegisterNumber x, const Parameters& parameters = {});
  RegisterNumber emit(Opcode op, RegisterNumber x, RegisterNumber y, RegisterNumber z = no_register,
                      const Parameters& parameters = {});
  // The instruction that made a register, unless it is a source or was rounded: to be merged into the next one.
  const Instruction* maker(RegisterNumber r) const;
  DType result_dtype() const { return result_->dtype; }
  // Whether every result is rounded on its own, so that a step's small change may show.
  bool exact() const { return rounding_ == Rounding::strict && result_->dtype == DType::fp16; }

 private:
  struct Source {
    VectorSource source;
    SlotNumber slot;
  };
  RegisterNumber add_source(SlotNumber slot, DType dtype, Sizes strides, std::vector<std::uint32_t> constant);
  Sizes strides_for(const Sizes& sizes, bool channels_last) const;
  void remove_unused(RegisterNumber result);
  void collapse(VectorProgram& program) const;
  void choose_direct(VectorProgram& program) const;
  static bool assign_buffers(VectorProgram& program);

  Sizes sizes_;
  bool channels_last_;
  Rounding rounding_;
  std::function<Place(const Operand&)> place_of_;
  const Node* node_ = nullptr;
  const std::vector<std::vector<Operand>>* operands_ = nullptr;
  const Type* result_ = nullptr;
  std::vector<Source> sources_;
  std::vector<Instruction> code_;
  RegisterNumber next_ = first_computed;
  RegisterNumber last_ = no_register;
  std::map<Value, RegisterNumber> registers_;
  static constexpr RegisterNumber first_computed = 1000;  // below: sources, while compiling
};

template <class Op, RegisterNumber (*Emit)(const Op&, VectorEmitter&)>
ElementwiseRule elementwise() {
  return {&def<Op>(), [](VectorEmitter& e) { return Emit(e.view<Op>(), e); }};
}

}  // namespace pomona::cpu
