#include "cpu/kernels/kernels.h"

#include <unordered_map>

namespace pomona::cpu {
namespace {

constexpr std::vector<KernelRule> (*chapters[])() = {
    activation_kernels,
    attention_kernels,
    conv_kernels,
    gather_scatter_kernels,
    image_kernels,
    linear_kernels,
    norm_kernels,
    pool_kernels,
    recurrent_kernels,
    reduction_kernels,
    shape_kernels,
    state_kernels,
    tensor_operation_kernels,
};
constexpr std::vector<ElementwiseRule> (*elementwise_chapters[])() = {
    activation_elementwise, elementwise_unary_elementwise, elementwise_binary_elementwise, norm_elementwise,
    quantization_elementwise};

template <class Rule, std::size_t count>
std::unordered_map<const OpDef*, Rule> rules_by_op(std::vector<Rule> (*const (&chapters)[count])()) {
  std::unordered_map<const OpDef*, Rule> map;
  for (auto chapter : chapters)
    for (const Rule& rule : chapter()) map.emplace(rule.op, rule);
  return map;
}

}  // namespace

const KernelRule* find_kernel(const OpDef* op) {
  static const auto rules = rules_by_op(chapters);
  auto at = rules.find(op);
  return at == rules.end() ? nullptr : &at->second;
}
const ElementwiseRule* find_elementwise(const OpDef* op) {
  static const auto rules = rules_by_op(elementwise_chapters);
  auto at = rules.find(op);
  return at == rules.end() ? nullptr : &at->second;
}

}  // namespace pomona::cpu
