// The kernel chapters; each .cpp of this folder ends with its lists of rules.
#pragma once
#include <vector>

#include "cpu/vector_compile.h"

namespace pomona::cpu {

std::vector<KernelRule> activation_kernels();
std::vector<KernelRule> attention_kernels();
std::vector<KernelRule> conv_kernels();
std::vector<KernelRule> gather_scatter_kernels();
std::vector<KernelRule> image_kernels();
std::vector<KernelRule> linear_kernels();
std::vector<KernelRule> norm_kernels();
std::vector<KernelRule> pool_kernels();
std::vector<KernelRule> recurrent_kernels();
std::vector<KernelRule> reduction_kernels();
std::vector<KernelRule> shape_kernels();
std::vector<KernelRule> state_kernels();
std::vector<KernelRule> tensor_operation_kernels();

std::vector<ElementwiseRule> activation_elementwise();
std::vector<ElementwiseRule> elementwise_unary_elementwise();
std::vector<ElementwiseRule> elementwise_binary_elementwise();
std::vector<ElementwiseRule> norm_elementwise();
std::vector<ElementwiseRule> quantization_elementwise();

}  // namespace pomona::cpu
