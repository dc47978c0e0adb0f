#include "formats/mlpackage/program_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <protozero/pbf_writer.hpp>

#include "ir/call.h"
#include "ir/naming.h"

namespace pomona::mlpackage {
namespace {

using protozero::pbf_writer;

constexpr std::size_t fewest_blob_elements = 10;
constexpr std::size_t largest_program_bytes = 0x7FFF0000;  // protobuf's limit, less a little for the description

bool may_be_blob(const Weight& weight, Target opset) {
  const Tensor* tensor = weight.in_memory();
  if ((tensor && tensor->is_list()) || weight.count() < fewest_blob_elements) return false;
  switch (weight.dtype()) {
    case DType::int16:
    case DType::uint16:
    case DType::int32:
    case DType::uint32:
      return opset >= iOS18;
    default:
      return info(weight.dtype()).blob != 0;
  }
}

void add_entry(pbf_writer& out, protozero::pbf_tag_type tag, std::string_view key, const std::string& value) {
  pbf_writer entry(out, tag);
  entry.add_string(1, key.data(), key.size());
  entry.add_message(2, value);
}

void add_named_type(pbf_writer& out, protozero::pbf_tag_type tag, const std::string& name, const Type& type) {
  pbf_writer named(out, tag);
  named.add_string(1, name);
  named.add_message(2, value_type_bytes(type));
}

// Operands of the constexpr classes that iOS16 brought are attributes of the operation; later classes have inputs.
bool operands_are_attributes(const OpDef& op, Target opset) {
  if (!op.constexpr_op) return false;
  Target version = op.since;
  for (Target each : op.versions())
    if (each <= opset) version = std::max(version, each);
  return version <= iOS16;
}

class FunctionWriter {
 public:
  FunctionWriter(const Function& function, Names names, BlobPlan& plan)
      : function_(function), names_(std::move(names)), plan_(plan) {}

  Result<std::string> block(const Block& block, bool nested) {
    std::string bytes;
    pbf_writer out(bytes);
    if (nested)
      for (std::size_t i = 0; i < block.input_count(); ++i)
        add_named_type(out, 1, names_.of(block.input(i)), block.input(i).type());
    for (Value result : block.results()) out.add_string(2, names_.of(result));
    for (const auto& node : block.nodes()) {
      if (node->op->structural)
        POM_TRY_IN(constant(*node, out), "{}", node->label());
      else
        POM_TRY_IN(operation(*node, out), "{}", node->label());
      POM_REQUIRE(bytes.size() < largest_program_bytes, "the program is larger than 2 GB without its weight file");
    }
    return bytes;
  }

 private:
  Result<std::string> value(const Weight& weight) {
    if (!may_be_blob(weight, function_.opset)) return value_bytes(weight);
    auto [at, fresh] = plan_.places.try_emplace(weight.identity());
    if (fresh) {
      at->second.offset = plan_.layout.add(weight.dtype(), weight.count());
      plan_.blobs.push_back({weight, at->second.offset});
    }
    return value_bytes(weight, &at->second);
  }

  // Nobody reads it, or everybody has it in place.
  static bool is_hidden(const Node& node) {
    return std::ranges::all_of(node.output().users(),
                               [](const Node* user) { return user->op && user->op->constexpr_op; });
  }

  Status constant(const Node& node, pbf_writer& block) {
    if (is_hidden(node)) return {};
    return add_const(block, names_.of(node), names_.of(node.output()), node.output().type(), node.literal);
  }

  Status add_const(pbf_writer& block, const std::string& op_name, const std::string& value_name, const Type& type,
                   const Weight& literal) {
    std::string contents = POM_TRY(value(literal));
    pbf_writer out(block, 3);
    out.add_string(1, "const");
    add_named_type(out, 3, value_name, type);
    add_entry(out, 5, "name", text_value_bytes(op_name));
    add_entry(out, 5, "val", contents);
    return {};
  }

  // The Argument message of a field. Literals that are not written in place become const ops before this one.
  Result<std::string> argument(const Node& node, const CallArgument& argument, pbf_writer& block) {
    std::string bytes;
    pbf_writer out(bytes);
    for (std::size_t i = 0; i < argument.operands.size(); ++i) {
      const CallOperand& operand = argument.operands[i];
      std::string name, contents;
      if (operand.value) {
        const Weight* literal = node.op->constexpr_op ? operand.value.literal() : nullptr;
        if (literal)
          contents = POM_TRY(value(*literal));
        else
          name = names_.of(operand.value);
      } else if (argument.inlined || node.op->constexpr_op) {
        contents = POM_TRY(value(operand.literal));
      } else {
        std::string position = argument.operands.size() > 1 ? std::to_string(i) : "";
        name = names_.fresh(fmt::format("{}_{}{}_0", names_.of(node), argument.field, position));
        POM_TRY(add_const(block, name, name, literal_type(operand.literal), operand.literal));
      }
      pbf_writer binding(out, 1);
      if (name.empty())
        binding.add_message(2, contents);
      else
        binding.add_string(1, name);
    }
    return bytes;
  }

  static Type literal_type(const Weight& literal) {
    const Tensor* tensor = literal.in_memory();
    return tensor ? tensor->type() : literal.type();
  }

  Result<std::string> attribute(const CallArgument& argument) {
    POM_REQUIRE(argument.operands.size() == 1, "'{}' has {} operands", argument.field, argument.operands.size());
    const CallOperand& operand = argument.operands[0];
    const Weight* literal = operand.value ? operand.value.literal() : &operand.literal;
    POM_REQUIRE(literal, "'{}' must be a constant, but is computed by '{}'", argument.field, operand.value.name());
    return value(*literal);
  }

  Status operation(const Node& node, pbf_writer& block) {
    std::vector<std::pair<std::string, std::string>> inputs, attributes;
    bool as_attributes = operands_are_attributes(*node.op, function_.opset);
    for (const CallArgument& each : arguments_of(node)) {
      if (as_attributes)
        attributes.emplace_back(each.field, POM_TRY_IN(attribute(each), "input '{}'", each.field));
      else
        inputs.emplace_back(each.field, POM_TRY_IN(argument(node, each, block), "input '{}'", each.field));
    }
    std::vector<std::string> blocks;
    for (const auto& inner : node.blocks) blocks.push_back(POM_TRY(this->block(*inner, true)));
    pbf_writer out(block, 3);
    out.add_string(1, node.op->name.data(), node.op->name.size());
    for (const auto& [field, bytes] : inputs) add_entry(out, 2, field, bytes);
    for (std::size_t i = 0; i < node.output_count(); ++i)
      add_named_type(out, 3, names_.of(node.output(i)), node.output(i).type());
    for (const std::string& bytes : blocks) out.add_message(4, bytes);
    add_entry(out, 5, "name", text_value_bytes(names_.of(node)));
    for (const auto& [field, bytes] : attributes) add_entry(out, 5, field, bytes);
    return {};
  }

  const Function& function_;
  Names names_;
  BlobPlan& plan_;
};

Result<std::string> function_bytes(const Function& function, BlobPlan& plan) {
  FunctionWriter writer(function, POM_TRY(name_values(function)), plan);
  std::string block = POM_TRY(writer.block(function.body, false));
  std::string bytes;
  pbf_writer out(bytes);
  for (std::size_t i = 0; i < function.body.input_count(); ++i)
    add_named_type(out, 1, function.body.input(i).name(), function.body.input(i).type());
  std::string opset(info(function.opset).opset);
  out.add_string(2, opset);
  add_entry(out, 3, opset, block);
  return bytes;
}

}  // namespace

Result<std::string> program_bytes(const Program& program, BlobPlan& plan) {
  std::string bytes;
  pbf_writer out(bytes);
  out.add_int64(1, 1);
  for (const auto& function : program.functions) {
    std::string body = POM_TRY_IN(function_bytes(*function, plan), "function '{}'", function->name);
    POM_REQUIRE(bytes.size() + body.size() < largest_program_bytes,
                "the program is larger than 2 GB without its weight file");
    add_entry(out, 2, function->name, body);
  }
  if (!program.build_info.empty()) add_entry(out, 4, "buildInfo", text_dictionary_bytes(program.build_info));
  return bytes;
}

}  // namespace pomona::mlpackage
