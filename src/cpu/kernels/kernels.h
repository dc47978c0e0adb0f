// The kernel chapters; each .cpp of this folder ends with its list of rules.
#pragma once
#include <vector>

#include "cpu/vector_compile.h"

namespace pomona::cpu {

std::vector<KernelRule> activation_kernels();

std::vector<ElementwiseRule> activation_elementwise();
std::vector<ElementwiseRule> elementwise_unary_elementwise();
std::vector<ElementwiseRule> elementwise_binary_elementwise();
std::vector<ElementwiseRule> norm_elementwise();

}  // namespace pomona::cpu
