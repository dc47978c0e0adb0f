#include "ir/encoded_weight.h"

namespace pomona {

Value add_encoded(Builder& g, const EncodedWeight& weight, const std::string& name) {
  if (!weight.op) return g.constant(weight.operands.at(0), name);
  Values inputs;
  std::vector<std::uint32_t> counts;
  for (std::size_t i = 0; i < weight.operands.size(); ++i) {
    std::string operand_name = name + "_" + std::string(weight.op->inputs[i]->name);
    bool made = weight.data && weight.op->inputs[i]->name == "data";
    counts.push_back(weight.operands[i] || made ? 1 : 0);
    if (made)
      inputs.push_back(add_encoded(g, *weight.data, operand_name));
    else if (weight.operands[i])
      inputs.push_back(g.constant(weight.operands[i], operand_name));
  }
  Values outputs = g.add_call(*weight.op, weight.attributes, inputs, counts, name);
  return outputs.empty() ? Value() : outputs[0];
}

std::uint64_t stored_size(const EncodedWeight& weight) {
  std::uint64_t total = weight.data ? stored_size(*weight.data) : 0;
  for (const Weight& operand : weight.operands) total += operand ? operand.stored_size() : 0;
  return total;
}

}  // namespace pomona
