// Normalisations: batch_norm as an elementwise op of the channels.
#include "ops/norm.h"

#include <cmath>

#include "cpu/kernels/kernels.h"

namespace pomona::cpu {
namespace {

RegisterNumber emit_batch_norm(const mil::batch_norm& op, VectorEmitter& e) {
  std::size_t channels = op.mean.tensor().count();
  std::vector<float> scale, shift;
  for (std::size_t c = 0; c < channels; ++c) {
    double factor =
        (op.gamma ? op.gamma.tensor().number(c) : 1) / std::sqrt(op.variance.tensor().number(c) + op.epsilon);
    scale.push_back(float(factor));
    shift.push_back(float((op.beta ? op.beta.tensor().number(c) : 0) - op.mean.tensor().number(c) * factor));
  }
  RegisterNumber x = e.operand(op.x);
  RegisterNumber s = e.numbers_along_channels(std::move(scale)), t = e.numbers_along_channels(std::move(shift));
  return e.emit(Opcode::multiply_add, x, s, t);
}

}  // namespace

std::vector<ElementwiseRule> norm_elementwise() { return {elementwise<mil::batch_norm, emit_batch_norm>()}; }

}  // namespace pomona::cpu
