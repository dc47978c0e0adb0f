#include "ir/encoded_weight.h"

namespace pomona {

Value add_encoded(Builder& g, const EncodedWeight& weight, const std::string& name) {
  if (!weight.op) return g.constant(weight.operands.at(0), name);
  Values inputs;
  std::vector<std::uint32_t> counts;
  for (std::size_t i = 0; i < weight.operands.size(); ++i) {
    counts.push_back(weight.operands[i] ? 1 : 0);
    if (weight.operands[i])
      inputs.push_back(g.constant(weight.operands[i], name + "_" + std::string(weight.op->inputs[i]->name)));
  }
  Values outputs = g.add_call(*weight.op, weight.attributes, inputs, counts, name);
  return outputs.empty() ? Value() : outputs[0];
}

std::uint64_t stored_size(const EncodedWeight& weight) {
  std::uint64_t total = 0;
  for (const Weight& operand : weight.operands) total += operand ? operand.stored_size() : 0;
  return total;
}

}  // namespace pomona
