#include "cpu/kernels/kernels.h"

#include <unordered_map>

namespace pomona::cpu {
namespace {

constexpr std::vector<KernelRule> (*chapters[])() = {activation_kernels};

}  // namespace

const KernelRule* find_kernel(const OpDef* op) {
  static const auto rules = [] {
    std::unordered_map<const OpDef*, KernelRule> map;
    for (auto chapter : chapters)
      for (const KernelRule& rule : chapter()) map.emplace(rule.op, rule);
    return map;
  }();
  auto at = rules.find(op);
  return at == rules.end() ? nullptr : &at->second;
}

}  // namespace pomona::cpu
