#include "ir/builder.h"

#include <algorithm>

namespace pomona {

Value Builder::refuse(Error error) {
  if (!source.empty()) error = std::move(error).in(source);
  if (status_) status_ = std::move(error);
  return {};
}

Value Builder::constant(Weight weight, std::string name) {
  if (!status_) return {};
  Node& node = block_->insert(&const_op(), place_);
  const Tensor* tensor = weight.in_memory();
  node.set_output_types({tensor ? tensor->type() : weight.type()});
  node.literal = std::move(weight);
  node.source = source;
  if (!name.empty()) node.output().set_name(std::move(name));
  return node.output();
}

Values Builder::add_erased(const OpDef& op, const void* fields, std::string name) {
  if (!status_) return {};
  std::vector<Attribute> attributes;
  Values inputs;
  std::vector<std::uint32_t> counts;
  op.take(fields, attributes, inputs, counts);
  return add_call(op, std::move(attributes), std::move(inputs), std::move(counts), std::move(name));
}

Values Builder::add_call(const OpDef& op, std::vector<Attribute> attributes, Values inputs,
                         std::vector<std::uint32_t> counts, std::string name,
                         std::vector<std::unique_ptr<Block>> blocks) {
  if (!status_) return {};
  Node& node = block_->insert(&op, place_);
  node.name = name;
  node.source = source;
  node.attributes = std::move(attributes);
  node.blocks = std::move(blocks);
  node.set_inputs(std::move(inputs), std::move(counts));
  if (Status inferred = infer_again(node); !inferred) {
    refuse(std::move(inferred).error());
    block_->erase(node);
    return {};
  }
  Values outputs;
  for (std::size_t i = 0; i < node.output_count(); ++i) {
    outputs.push_back(node.output(i));
    if (!name.empty()) outputs[i].set_name(node.output_count() == 1 ? name : name + "_" + std::to_string(i));
  }
  return outputs;
}

Status infer_again(Node& node) {
  if (node.op->structural) return {};
  At at{node.block()->function().opset, &node, nullptr};
  auto operands = operands_of(node);
  auto types = infer_types(*node.op, node.attributes, operands, at);
  if (!types) return std::move(types).error().in(node.label());
  node.set_output_types(*types);
  if (node.output_count()) {
    auto& contents = node.output().info().contents;
    contents.reset();
    if (node.op->contents) contents = node.op->contents(*node.op, node.attributes, operands, at);
  }
  return {};
}

}  // namespace pomona
