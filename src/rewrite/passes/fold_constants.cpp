#include <fmt/format.h>

#include <algorithm>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

constexpr std::size_t small_elements = 4096;         // computed at once
constexpr std::size_t growth_limit_bytes = 1 << 20;  // a result this much larger than its inputs stays a node

bool is_made_of_constants(const Node& node) {
  if (node.op->structural || node.op->constexpr_op || node.op->random || node.op->side_effects || !node.blocks.empty())
    return false;
  if (node.inputs().empty() || node.output_count() == 0) return false;
  for (Value input : node.inputs())
    if (!input.literal()) return false;
  for (std::size_t i = 0; i < node.output_count(); ++i) {
    const Type& type = node.output(i).type();
    if (type.kind != Type::Kind::tensor) return false;
  }
  return true;
}

bool is_small(const Node& node) {
  for (Value input : node.inputs())
    if (input.literal()->count() > small_elements) return false;
  for (std::size_t i = 0; i < node.output_count(); ++i) {
    Dim count = element_count(node.output(i).shape());
    if (!count.known() || count.value() > std::int64_t(small_elements)) return false;
  }
  return true;
}

bool grows_too_much(const Node& node) {
  std::uint64_t before = 0, after = 0;
  for (Value input : node.inputs()) before += input.literal()->stored_size();
  for (std::size_t i = 0; i < node.output_count(); ++i) {
    Dim count = element_count(node.output(i).shape());
    if (!count.known()) return true;
    after += std::uint64_t(std::max<std::int64_t>(count.value(), 0)) * element_size_bytes(node.output(i).dtype());
  }
  return after > 4 * before + growth_limit_bytes;
}

// A node's attributes and structure without its place in a program, for a recipe that outlives the program.
struct Call {
  const OpDef* op;
  std::vector<Attribute> attributes;
  std::vector<std::uint32_t> counts;
  Target opset;

  Result<Tensors> operator()(std::span<const Tensor> inputs) const {
    std::vector<Type> types;
    for (const Tensor& tensor : inputs) types.push_back(tensor.type());
    std::vector<std::vector<Operand>> operands;
    std::size_t next = 0;
    for (std::uint32_t count : counts) {
      auto& field = operands.emplace_back();
      for (std::uint32_t k = 0; k < count; ++k, ++next) field.push_back({Value(), &types[next], &inputs[next]});
    }
    return op->eval(*op, attributes, operands, {opset, nullptr, nullptr});
  }
};

Weight recipe(const Node& node, std::size_t output, std::vector<Weight> inputs) {
  std::string what = fmt::format("{}.{}", node.op->name, output);
  for (const Attribute& attribute : node.attributes)
    what += fmt::format(",{}:{}", attribute.index(), to_string(attribute));
  for (std::uint32_t count : node.counts()) what += fmt::format(";{}", count);
  what += name(node.block()->function().opset);
  Call call{node.op, node.attributes, node.counts(), node.block()->function().opset};
  const Type& type = node.output(output).type();
  return Weight::derived(
      {what, type.dtype, known_sizes(type.shape), std::move(inputs),
       [call, output](std::span<const Tensor> in) -> Result<Tensor> { return std::move(POM_TRY(call(in))[output]); }});
}

}  // namespace

bool is_foldable(const Node& node) {
  if (!is_made_of_constants(node) || (!is_small(node) && grows_too_much(node))) return false;
  // Core ML wants results that an op makes.
  for (std::size_t i = 0; i < node.output_count(); ++i)
    if (is_result(node.output(i))) return false;
  return true;
}

Result<Values> fold_node(Node& node) {
  bool small = is_small(node);
  std::vector<Weight> inputs;
  for (Value input : node.inputs()) inputs.push_back(*input.literal());
  Tensors results;
  if (small) {
    Tensors tensors;
    for (const Weight& weight : inputs) tensors.push_back(POM_TRY(weight.materialise()));
    results = POM_TRY(evaluate_node(node, tensors, {node.block()->function().opset, &node, nullptr}));
  }
  Builder g(*node.block(), &node);
  g.source = node.source;
  Values constants;
  for (std::size_t i = 0; i < node.output_count(); ++i)
    constants.push_back(g.constant(small ? Weight(results[i]) : recipe(node, i, inputs), node.output(i).name()));
  return constants;
}

namespace {

// The constant for a value whose elements are all known.
void fold_contents(Node& node) {
  if (node.op->structural || node.output_count() != 1 || node.op->side_effects) return;
  Value value = node.output();
  if (is_result(value)) return;
  auto contents = value.info().contents;
  if (!contents || !std::all_of(contents->begin(), contents->end(), [](Dim d) { return d.known(); })) return;
  Ints values;
  for (Dim d : *contents) values.push_back(d.value());
  Tensor tensor = Tensor::ints(values, value.dtype());
  Sizes sizes;
  if (value.rank() == 1) sizes = {std::int64_t(values.size())};
  if (value.rank() > 1) return;
  Builder g(*node.block(), &node);
  g.source = node.source;
  replace_uses(value, g.constant(tensor.reshaped(sizes), value.name()));
}

Status fold_in(Block& block) {
  for (auto at = block.nodes().begin(); at != block.nodes().end(); ++at) {
    Node& node = **at;
    for (auto& inner : node.blocks) POM_TRY(fold_in(*inner));
    if (is_foldable(node)) {
      Values constants = POM_TRY_IN(fold_node(node), "{}", node.label());
      for (std::size_t i = 0; i < constants.size(); ++i) replace_uses(node.output(i), constants[i]);
    } else {
      fold_contents(node);
    }
  }
  return {};
}

}  // namespace

Status fold_constants(Program& program) {
  for (auto& function : program.functions) POM_TRY(fold_in(function->body));
  remove_dead(program);
  return {};
}

}  // namespace pomona::rewrite
