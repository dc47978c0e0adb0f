// The step that multiplies vectors lying one after another by an encoded matrix: what linear, a matmul with a constant
// and a convolution of single positions become.
#pragma once
#include "cpu/encoded_matrix.h"
#include "cpu/kernel.h"

namespace pomona::cpu {

struct EncodedLinearSlots {
  SlotNumber x, bias = no_slot, y;
};
Kernel encoded_linear_kernel(SharedMatrix matrix, const EncodedLinearSlots& slots, std::size_t vectors,
                             const Finish& finish);

}  // namespace pomona::cpu
