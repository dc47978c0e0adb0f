// Activations: as instructions of vector programs, and softmax.
#include "ops/activation.h"

#include <algorithm>

#include "base/threads.h"
#include "cpu/kernels/kernels.h"
#include "cpu/row_kernels.h"

namespace pomona::cpu {
namespace {

// Along an axis whose elements are `stride` apart: a few neighbouring rows at a time, gathered.
void softmax_strided(const float* x, float* y, std::size_t length, std::size_t stride) {
  std::vector<float> row(length);
  for (std::size_t i = 0; i < length; ++i) row[i] = x[i * stride];
  softmax_row(row.data(), row.data(), length);
  for (std::size_t i = 0; i < length; ++i) y[i * stride] = row[i];
}

Kernel plan_softmax(const mil::softmax& op, PlanContext& at) {
  Sizes sizes = at.result_sizes();
  std::size_t axis = *normal_axis(op.axis, sizes.size()), length = std::size_t(sizes[axis]);
  std::size_t stride = std::size_t(strides_of(sizes)[axis]), count = std::size_t(element_count(sizes));
  if (count == 0) return {};
  SlotNumber x = at.source(op.x), y = at.result();
  auto run = [=, finish = at.finish](const Frame& f) {
    const float* in = f.read<float>(x);
    float* out = f.write<float>(y);
    // Rows that share memory lines stay together, and so do ranges to be finished.
    std::size_t block = stride * length;
    parallel_for(count / block, 1 + 8192 / block, [&](std::size_t first, std::size_t last) {
      for (std::size_t row = first * stride; row < last * stride; ++row) {
        std::size_t begin = row / stride * block + row % stride;
        if (stride == 1)
          softmax_row(in + begin, out + begin, length);
        else
          softmax_strided(in + begin, out + begin, length, stride);
      }
      finish(f, first * block, (last - first) * block);
    });
  };
  return {.run = std::move(run), .name = "softmax"};
}

template <class Op, Opcode opcode>
RegisterNumber emit_one(const Op& op, VectorEmitter& e) {
  return e.emit(opcode, e.operand(op.x));
}
template <class Op, Opcode opcode>
RegisterNumber emit_with_alpha(const Op& op, VectorEmitter& e) {
  return e.emit(opcode, e.operand(op.x), {.alpha = float(op.alpha)});
}
template <class Op, Opcode opcode>
RegisterNumber emit_with_both(const Op& op, VectorEmitter& e) {
  return e.emit(opcode, e.operand(op.x), {.alpha = float(op.alpha), .beta = float(op.beta)});
}
RegisterNumber emit_relu(const mil::relu& op, VectorEmitter& e) {
  return e.emit(Opcode::at_least, e.operand(op.x), {.alpha = 0});
}
RegisterNumber emit_relu6(const mil::relu6& op, VectorEmitter& e) {
  return e.emit(Opcode::clip, e.operand(op.x), {.alpha = 0, .beta = 6});
}
RegisterNumber emit_silu(const mil::silu& op, VectorEmitter& e) {
  return e.emit(Opcode::sigmoid_weighted, e.operand(op.x), {.alpha = 1});
}
RegisterNumber emit_scaled_tanh(const mil::scaled_tanh& op, VectorEmitter& e) {
  RegisterNumber inner = e.emit(Opcode::scale, e.operand(op.x), {.alpha = float(op.beta)});
  return e.emit(Opcode::scale, e.emit(Opcode::tanh, inner), {.alpha = float(op.alpha)});
}
RegisterNumber emit_gelu(const mil::gelu& op, VectorEmitter& e) {
  RegisterNumber x = e.operand(op.x);
  if (*op.mode == "EXACT") return e.emit(Opcode::gelu, x);
  if (*op.mode == "TANH_APPROXIMATION") return e.emit(Opcode::gelu_tanh, x);
  return e.emit(Opcode::sigmoid_weighted, x, {.alpha = 1.702f});
}
RegisterNumber emit_prelu(const mil::prelu& op, VectorEmitter& e) {
  RegisterNumber x = e.operand(op.x), slope = e.operand_along_channels(op.alpha);
  return e.emit(Opcode::prelu, x, slope);
}
RegisterNumber emit_softplus_parametric(const mil::softplus_parametric& op, VectorEmitter& e) {
  RegisterNumber x = e.operand(op.x), a = e.operand_along_channels(op.alpha), b = e.operand_along_channels(op.beta);
  return e.emit(Opcode::multiply, e.emit(Opcode::softplus, e.emit(Opcode::multiply, x, b)), a);
}

template <class Op, Opcode opcode>
ElementwiseRule one() {
  return elementwise<Op, emit_one<Op, opcode>>();
}
template <class Op, Opcode opcode>
ElementwiseRule with_alpha() {
  return elementwise<Op, emit_with_alpha<Op, opcode>>();
}
template <class Op, Opcode opcode>
ElementwiseRule with_both() {
  return elementwise<Op, emit_with_both<Op, opcode>>();
}

}  // namespace

std::vector<ElementwiseRule> activation_elementwise() {
  return {
      elementwise<mil::relu, emit_relu>(),
      elementwise<mil::relu6, emit_relu6>(),
      one<mil::sigmoid, Opcode::sigmoid>(),
      elementwise<mil::silu, emit_silu>(),
      one<mil::softplus, Opcode::softplus>(),
      one<mil::softsign, Opcode::softsign>(),
      with_both<mil::clamped_relu, Opcode::clamped_relu>(),
      with_both<mil::linear_activation, Opcode::affine>(),
      elementwise<mil::scaled_tanh, emit_scaled_tanh>(),
      with_both<mil::sigmoid_hard, Opcode::hard_sigmoid>(),
      with_alpha<mil::elu, Opcode::elu>(),
      with_alpha<mil::leaky_relu, Opcode::leaky_relu>(),
      with_alpha<mil::thresholded_relu, Opcode::thresholded_relu>(),
      elementwise<mil::gelu, emit_gelu>(),
      elementwise<mil::prelu, emit_prelu>(),
      elementwise<mil::softplus_parametric, emit_softplus_parametric>(),
  };
}

std::vector<KernelRule> activation_kernels() { return {kernel<mil::softmax, plan_softmax>({.finishes = true})}; }

}  // namespace pomona::cpu
