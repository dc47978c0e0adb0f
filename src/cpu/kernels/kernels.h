// The kernel chapters; each .cpp of this folder ends with its list of rules.
#pragma once
#include <vector>

#include "cpu/kernel.h"

namespace pomona::cpu {

std::vector<KernelRule> activation_kernels();

}  // namespace pomona::cpu
