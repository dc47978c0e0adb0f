#include "ir/evaluate.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/interrupt.h"
#include "base/memory.h"

namespace pomona {

namespace {

// What the node's outputs are known to be, or what they become for these inputs.
Result<Types> result_types(const Node& node, std::span<const std::vector<Operand>> operands, const At& at) {
  Types types;
  for (std::size_t i = 0; i < node.output_count(); ++i) types.push_back(node.output(i).type());
  bool known = std::all_of(types.begin(), types.end(), [](const Type& type) { return all_known(type.shape); });
  if (known || !node.blocks.empty()) return types;
  return infer_types(*node.op, node.attributes, operands, at);
}

}  // namespace

Status check_fits_memory(const Node& node, std::span<const Type> results) {
  for (const Type& type : results) {
    double bytes = double(element_size_bytes(type.dtype));
    for (const Dim& size : type.shape) bytes *= size.known() ? double(size.value()) : 1;
    double memory = double(physical_memory_bytes());
    if (type.kind == Type::Kind::tensor && bytes > memory)
      return fail("{} makes {}, which is {:.3g} GB, and this machine has {:.3g} GB of memory", node.label(),
                  type.text(), bytes / 1e9, memory / 1e9)
          .blame(Fault::environment);
  }
  return {};
}

Result<Tensors> evaluate_node(const Node& node, std::span<const Tensor> inputs, const At& at) {
  std::vector<Type> types;
  types.reserve(inputs.size());
  for (const Tensor& tensor : inputs) types.push_back(tensor.type());
  std::vector<std::vector<Operand>> operands;
  std::size_t next = 0;
  for (std::uint32_t count : node.counts()) {
    std::vector<Operand>& field = operands.emplace_back();
    for (std::uint32_t k = 0; k < count; ++k, ++next) {
      Value value = node.inputs()[next];
      bool state = value.type().kind == Type::Kind::state;
      field.push_back({value, state ? &value.type() : &types[next], state ? nullptr : &inputs[next]});
    }
  }
  POM_TRY(check_fits_memory(node, POM_TRY_IN(result_types(node, operands, at), "{}", node.label())));
  auto results = node.op->eval(*node.op, node.attributes, operands, at);
  if (!results) return std::move(results).error().in(node.label());
  return results;
}

Result<Tensors> Evaluation::operator()(const NamedTensors& inputs) {
  values_.clear();
  Tensors arguments;
  const Block& body = function_->body;
  for (std::size_t i = 0; i < body.input_count(); ++i) {
    Value input = body.input(i);
    if (input.type().kind == Type::Kind::state) {
      arguments.emplace_back();
      continue;
    }
    auto at = inputs.find(input.name());
    POM_REQUIRE(at != inputs.end(), "input '{}' ({}) is missing", input.name(), input.type().text());
    POM_REQUIRE(at->second.dtype() == input.dtype() && at->second.rank() == input.rank(), "input '{}' is {}, not {}",
                input.name(), at->second.type().text(), input.type().text());
    arguments.push_back(at->second);
  }
  return run(body, arguments);
}

Result<Tensors> Evaluation::run(const Block& block, std::span<const Tensor> arguments) {
  for (std::size_t i = 0; i < block.input_count(); ++i) values_[&block.input(i).info()] = arguments[i];
  for (const auto& node : block.nodes()) {
    POM_TRY(check_interrupt());
    POM_TRY(run_node(*node));
  }
  Tensors results;
  for (Value value : block.results()) results.push_back(POM_TRY(value_of(value)));
  return results;
}

Result<Tensor> Evaluation::value_of(Value value) {
  auto at = values_.find(&value.info());
  POM_REQUIRE(at != values_.end(), "value '{}' is used before it is made", value.name());
  return at->second;
}

Status Evaluation::run_node(const Node& node) {
  Tensors inputs;
  for (Value value : node.inputs())
    inputs.push_back(value.type().kind == Type::Kind::state ? Tensor()
                                                            : POM_TRY_IN(value_of(value), "{}", node.label()));
  Tensors results = POM_TRY(evaluate_node(node, inputs, {function_->opset, &node, this}));
  if (observe) POM_TRY(observe(node, results));
  for (std::size_t i = 0; i < results.size(); ++i) values_[&node.output(i).info()] = std::move(results[i]);
  return {};
}

Tensor& Evaluation::state(Value state) {
  auto [at, fresh] = states_.try_emplace(state.name());
  if (fresh) at->second = Tensor(state.dtype(), known_sizes(state.shape()));
  return at->second;
}

std::uint64_t Evaluation::random() {
  // splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014)
  std::uint64_t z = random_ += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

}  // namespace pomona
