#include "formats/mlpackage/program_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "ir/call.h"
#include "ops/catalogue.h"

namespace pomona::mlpackage {
namespace {

// Names to values, from the innermost block outwards.
struct Scope {
  const Scope* outer = nullptr;
  std::unordered_map<std::string_view, Value> values = {};

  Value find(std::string_view name) const {
    for (const Scope* scope = this; scope; scope = scope->outer)
      if (auto at = scope->values.find(name); at != scope->values.end()) return at->second;
    return {};
  }
  Status add(std::string_view name, Value value) {
    POM_REQUIRE(!name.empty(), "a value has no name");
    POM_REQUIRE(values.emplace(name, value).second, "the name '{}' is given to two values", name);
    return {};
  }
};

struct NamedType {
  std::string_view name;
  DeclaredType declared;
};
struct NamedMessage {
  std::string_view key;
  Message message;
};

// {1 key, 2 value} of a protobuf map.
Result<NamedMessage> read_entry(Message message) {
  NamedMessage entry;
  entry.message = {message.bytes.substr(0, 0), message.origin};
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    if (field.number == 1) entry.key = POM_TRY(field.text());
    if (field.number == 2) entry.message = POM_TRY(field.message());
  }
  return entry;
}

Result<NamedType> read_named_type(Message message, bool name_dimensions) {
  NamedType named;
  Message type{message.bytes.substr(0, 0), message.origin};
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    if (field.number == 1) named.name = POM_TRY(field.text());
    if (field.number == 2) type = POM_TRY(field.message());
  }
  named.declared = POM_TRY_IN(read_value_type(type, name_dimensions ? std::string(named.name) : std::string()),
                              "type of '{}'", named.name);
  return named;
}

struct Operation {
  std::string_view type;
  std::vector<NamedMessage> inputs, attributes;
  std::vector<Message> outputs, blocks;
};
Result<Operation> read_operation_parts(Message message) {
  Operation operation;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) switch (field.number) {
      case 1:
        operation.type = POM_TRY(field.text());
        break;
      case 2:
        operation.inputs.push_back(POM_TRY(read_entry(POM_TRY(field.message()))));
        break;
      case 3:
        operation.outputs.push_back(POM_TRY(field.message()));
        break;
      case 4:
        operation.blocks.push_back(POM_TRY(field.message()));
        break;
      case 5:
        operation.attributes.push_back(POM_TRY(read_entry(POM_TRY(field.message()))));
        break;
    }
  return operation;
}

struct BlockParts {
  std::vector<Message> inputs, operations;
  std::vector<std::string_view> outputs;
};
Result<BlockParts> read_block_parts(Message message) {
  BlockParts parts;
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) switch (field.number) {
      case 1:
        parts.inputs.push_back(POM_TRY(field.message()));
        break;
      case 2:
        parts.outputs.push_back(POM_TRY(field.text()));
        break;
      case 3:
        parts.operations.push_back(POM_TRY(field.message()));
        break;
    }
  return parts;
}

class BlockReader {
 public:
  BlockReader(WeightFiles& files, int depth) : files_(files), depth_(depth) {}

  Status read(const BlockParts& parts, Block& block, Scope& scope) {
    for (Message message : parts.operations) POM_TRY(read_operation(message, block, scope));
    Values results;
    for (std::string_view name : parts.outputs) {
      Value value = scope.find(name);
      POM_REQUIRE(value, "the result '{}' is not defined", name);
      results.push_back(value);
    }
    block.set_results(std::move(results));
    return {};
  }

 private:
  Status read_operation(Message message, Block& block, Scope& scope) {
    Operation operation = POM_TRY(read_operation_parts(message));
    std::string name;
    for (const NamedMessage& attribute : operation.attributes)
      if (attribute.key == "name") name = POM_TRY(read_text_value(attribute.message, files_));
    std::string label = name.empty() ? std::string(operation.type) : fmt::format("{} '{}'", operation.type, name);
    if (operation.type == "const") return with_place(read_const(operation, name, block, scope), label);
    Target opset = block.function().opset;
    const OpDef* op = mil::find_op(operation.type, opset);
    if (!op) return unknown_op(operation.type, name, opset, message.place());
    return with_place(read_call(*op, operation, name, block, scope), label);
  }

  static Status with_place(Status status, const std::string& label) {
    if (status) return status;
    Error error = std::move(status).error();
    if (!error.places.empty() && error.places.back() == label) return error;
    return std::move(error).in(label);
  }

  static Error unknown_op(std::string_view type, const std::string& name, Target opset, std::uint64_t place) {
    Error error = fail("byte {}: {} has no op '{}'", place, pomona::name(opset), type);
    if (std::string near = mil::nearest_op(type); !near.empty() && near != type)
      error = std::move(error).advise(fmt::format("the nearest name is '{}'", near));
    return name.empty() ? error : std::move(error).in(fmt::format("op '{}'", name));
  }

  Status read_const(const Operation& operation, const std::string& name, Block& block, Scope& scope) {
    POM_REQUIRE(operation.outputs.size() == 1, "a const has {} results", operation.outputs.size());
    NamedType output = POM_TRY(read_named_type(operation.outputs[0], false));
    const NamedMessage* value = nullptr;
    for (const auto* entries : {&operation.attributes, &operation.inputs})
      for (const NamedMessage& entry : *entries)
        if (entry.key == "val") value = &entry;
    POM_REQUIRE(value, "a const has no value");
    Weight literal = POM_TRY(read_value(value->message, files_));
    const Tensor* tensor = literal.in_memory();
    Type type = tensor ? tensor->type() : literal.type();
    if (output.declared.type.kind == Type::Kind::tensor && !output.declared.is_tuple)
      POM_TRY(agreed_type(type, output.declared.type, output.declared.any_rank));
    return scope.add(output.name, add_constant(block, std::move(literal), std::string(output.name), name));
  }

  Result<CallArgument> read_argument(const NamedMessage& entry, const Scope& scope) {
    CallArgument argument{std::string(entry.key), {}};
    WireField field, inner;
    for (WireReader reader(entry.message); POM_TRY(reader.next(field));) {
      if (field.number != 1) continue;
      CallOperand operand;
      for (WireReader binding(POM_TRY(field.message())); POM_TRY(binding.next(inner));) {
        if (inner.number == 1) {
          std::string_view name = POM_TRY(inner.text());
          operand.value = scope.find(name);
          POM_REQUIRE(operand.value, "'{}' is not defined", name);
        } else if (inner.number == 2) {
          operand.literal = POM_TRY(read_value(POM_TRY(inner.message()), files_));
        }
      }
      POM_REQUIRE(operand.value || operand.literal, "byte {}: a binding is empty", field.contents.place());
      argument.operands.push_back(std::move(operand));
    }
    return argument;
  }

  Status read_call(const OpDef& op, const Operation& operation, const std::string& name, Block& block, Scope& scope) {
    Call call{.op = &op, .name = name};
    for (const NamedMessage& entry : operation.inputs)
      call.arguments.push_back(POM_TRY_IN(read_argument(entry, scope), "input '{}'", entry.key));
    for (const NamedMessage& entry : operation.attributes) {
      if (entry.key == "name") continue;
      Weight literal = POM_TRY_IN(read_value(entry.message, files_), "attribute '{}'", entry.key);
      call.arguments.push_back({std::string(entry.key), {{.literal = std::move(literal)}}});
    }
    for (Message message : operation.outputs) {
      NamedType output = POM_TRY(read_named_type(message, false));
      call.results.push_back({std::string(output.name), output.declared.type, output.declared.any_rank});
    }
    if (!operation.blocks.empty())
      call.fill_blocks = [&](Node& node) -> Status {
        for (Message message : operation.blocks) POM_TRY(read_inner_block(message, node, scope));
        return {};
      };
    Node* node = POM_TRY(add_call(block, std::move(call)));
    for (std::size_t i = 0; i < node->output_count(); ++i) POM_TRY(scope.add(node->output(i).name(), node->output(i)));
    return {};
  }

  Status read_inner_block(Message message, Node& node, const Scope& outer) {
    POM_REQUIRE(depth_ < deepest_nesting, "blocks are nested deeper than {}", deepest_nesting);
    BlockParts parts = POM_TRY(read_block_parts(message));
    auto& block = node.blocks.emplace_back(std::make_unique<Block>(&node.block()->function(), &node));
    Scope scope{&outer};
    for (Message input : parts.inputs) {
      NamedType named = POM_TRY(read_named_type(input, false));
      for (Dim& dim : named.declared.type.shape)
        if (!dim.known()) dim = Dim::unknown();
      Value value = block->add_input(std::string(named.name), named.declared.type);
      POM_TRY(scope.add(value.name(), value));
    }
    return BlockReader(files_, depth_ + 1).read(parts, *block, scope);
  }

  WeightFiles& files_;
  int depth_;
};

Status read_function(const NamedMessage& entry, WeightFiles& files, Program& program) {
  std::vector<Message> inputs;
  std::vector<NamedMessage> blocks;
  std::string_view opset;
  WireField field;
  for (WireReader reader(entry.message); POM_TRY(reader.next(field));) switch (field.number) {
      case 1:
        inputs.push_back(POM_TRY(field.message()));
        break;
      case 2:
        opset = POM_TRY(field.text());
        break;
      case 3:
        blocks.push_back(POM_TRY(read_entry(POM_TRY(field.message()))));
        break;
    }
  auto target = target_named(opset);
  POM_REQUIRE(target, "the operator set '{}' is not known", opset);
  const NamedMessage* body = nullptr;
  for (const NamedMessage& block : blocks)
    if (block.key == opset) body = &block;
  POM_REQUIRE(body, "the function has no block for its operator set {}", opset);
  Function& function = program.add_function(std::string(entry.key), *target);
  Scope scope;
  for (Message message : inputs) {
    NamedType input = POM_TRY(read_named_type(message, true));
    POM_REQUIRE(!input.declared.any_rank && !input.declared.is_tuple, "input '{}' has no known rank", input.name);
    Value value = function.body.add_input(std::string(input.name), input.declared.type);
    POM_TRY(scope.add(value.name(), value));
  }
  POM_TRY(BlockReader(files, 0).read(POM_TRY(read_block_parts(body->message)), function.body, scope));
  erase_unused_constants(function.body);
  return {};
}

}  // namespace

Status read_program(Message message, WeightFiles& files, Program& program) {
  WireField field;
  for (WireReader reader(message); POM_TRY(reader.next(field));) {
    if (field.number == 2) {
      NamedMessage entry = POM_TRY(read_entry(POM_TRY(field.message())));
      POM_REQUIRE(!program.function(entry.key), "there are two functions '{}'", entry.key);
      POM_TRY_IN(read_function(entry, files, program), "function '{}'", entry.key);
    } else if (field.number == 4) {
      NamedMessage entry = POM_TRY(read_entry(POM_TRY(field.message())));
      if (entry.key == "buildInfo") program.build_info = POM_TRY(read_text_dictionary(entry.message, files));
    }
  }
  POM_REQUIRE(!program.functions.empty(), "the program has no function");
  // A map has no order; a fixed one makes reading reproducible.
  std::sort(program.functions.begin(), program.functions.end(),
            [](const auto& a, const auto& b) { return a->name < b->name; });
  return {};
}

}  // namespace pomona::mlpackage
