#include <fmt/format.h>

#include "compress/policy.h"
#include "ir/builder.h"
#include "ir/call.h"

namespace pomona::compress {
namespace {

// What a node does to its operands, kept after the node is gone.
struct Decoding {
  const OpDef* op;
  std::vector<Attribute> attributes;
  std::vector<std::uint32_t> counts;
  Target opset;

  Result<Tensors> operator()(std::span<const Tensor> inputs) const {
    std::vector<Type> types;
    types.reserve(inputs.size());
    for (const Tensor& tensor : inputs) types.push_back(tensor.type());
    std::vector<std::vector<Operand>> operands;
    std::size_t next = 0;
    for (std::uint32_t count : counts) {
      std::vector<Operand>& field = operands.emplace_back();
      for (std::uint32_t k = 0; k < count; ++k, ++next) field.push_back({{}, &types[next], &inputs[next]});
    }
    return op->eval(*op, attributes, operands, {opset, nullptr, nullptr});
  }

  std::string identity() const {
    std::string text = fmt::format("{} {}", op->name, int(opset));
    for (const Attribute& attribute : attributes) text += " " + to_string(attribute);
    for (std::uint32_t count : counts) text += fmt::format(" {}", count);
    return text;
  }
};

Status decode(Node& node, const std::shared_ptr<Shelf>& shelf) {
  std::vector<Weight> inputs;
  for (Value input : node.inputs()) {
    const Weight* literal = input.literal();
    POM_REQUIRE(literal, "its operand '{}' is not constant", input.name());
    inputs.push_back(*literal);
  }
  Decoding decoding{node.op, node.attributes, node.counts(), node.block()->function().opset};
  std::vector<PartType> parts;
  for (std::size_t i = 0; i < node.output_count(); ++i) {
    Value output = node.output(i);
    POM_REQUIRE(all_known(output.shape()), "its result '{}' has an unknown size", output.name());
    parts.push_back({output.dtype(), known_sizes(output.shape())});
  }
  std::vector<Weight> decoded = parts_of(decoding.identity(), inputs, parts, decoding, shelf);
  Builder g(*node.block(), &node);
  g.source = node.source;
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    Value before = node.output(i), after = g.constant(decoded[i], before.name());
    if (node.output_count() == 1) after.producer()->name = node.name;
    replace_uses(before, after);
  }
  node.block()->erase(node);
  return {};
}

// In order, so that what a decoder reads from another one is a constant by then.
Result<std::size_t> decode_all(Block& block, const std::shared_ptr<Shelf>& shelf) {
  std::size_t count = 0;
  for (Node* node = block.nodes().empty() ? nullptr : block.nodes().front().get(); node;) {
    Node* next = block.next(*node);
    for (auto& inner : node->blocks) count += POM_TRY(decode_all(*inner, shelf));
    if (node->op->constexpr_op) {
      POM_TRY_IN(decode(*node, shelf), "{}", node->label());
      ++count;
    }
    node = next;
  }
  return count;
}

}  // namespace

Result<std::size_t> decompress(Program& program) {
  auto shelf = std::make_shared<Shelf>();
  std::size_t count = 0;
  for (const auto& function : program.functions) {
    count += POM_TRY_IN(decode_all(function->body, shelf), "function '{}'", function->name);
    erase_unused_constants(function->body);
  }
  return count;
}

}  // namespace pomona::compress
