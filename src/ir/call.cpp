#include "ir/call.h"

#include <cmath>

namespace pomona {
namespace {

// The elements of literals one after another: all numbers, or all strings.
struct Elements {
  Ints integers;
  Floats reals;
  Strings texts;
  DType dtype = DType::int32;
  std::size_t count() const { return integers.size() + reals.size() + texts.size(); }
};

Status append_elements(Elements& elements, const Tensor& tensor) {
  if (tensor.is_list()) {
    for (const Tensor& element : tensor.elements()) POM_TRY(append_elements(elements, element));
    return {};
  }
  POM_REQUIRE(!tensor.is_dictionary(), "a dictionary is given");
  elements.dtype = tensor.dtype();
  if (tensor.dtype() == DType::string) {
    elements.texts.insert(elements.texts.end(), tensor.text().begin(), tensor.text().end());
  } else if (is_float(tensor.dtype())) {
    std::vector<double> numbers = tensor.numbers();
    elements.reals.insert(elements.reals.end(), numbers.begin(), numbers.end());
  } else {
    Ints integers = tensor.integers();
    elements.integers.insert(elements.integers.end(), integers.begin(), integers.end());
  }
  return {};
}

// Files hold whole numbers in floating constants, too.
Status make_integers(Elements& elements) {
  POM_REQUIRE(elements.texts.empty(), "a string is given, not an integer");
  for (double value : elements.reals) {
    POM_REQUIRE(std::trunc(value) == value && std::fabs(value) < 0x1p53, "{} is given, not an integer", value);
    elements.integers.push_back(std::int64_t(value));
  }
  elements.reals.clear();
  return {};
}
Status make_reals(Elements& elements) {
  POM_REQUIRE(elements.texts.empty(), "a string is given, not a number");
  for (std::int64_t value : elements.integers) elements.reals.push_back(double(value));
  elements.integers.clear();
  return {};
}

Result<Attribute> attribute_of(const FieldInfo& field, Elements& elements) {
  Holds holds = field.holds;
  if (holds == Holds::any)
    holds = !elements.texts.empty() || elements.dtype == DType::string ? Holds::texts
            : elements.reals.empty()                                   ? Holds::integers
                                                                       : Holds::reals;
  bool single = holds != Holds::integers && holds != Holds::reals && holds != Holds::texts;
  POM_REQUIRE(!single || elements.count() == 1, "{} elements are given, not one", elements.count());
  switch (holds) {
    case Holds::boolean:
      POM_TRY(make_integers(elements));
      return Attribute(elements.integers[0] != 0);
    case Holds::int32:
    case Holds::integer: {
      POM_TRY(make_integers(elements));
      std::int64_t value = elements.integers[0];
      POM_REQUIRE(holds == Holds::integer || (value >= INT32_MIN && value <= INT32_MAX), "{} is out of range", value);
      return Attribute(value);
    }
    case Holds::real:
      POM_TRY(make_reals(elements));
      return Attribute(elements.reals[0]);
    case Holds::scalar:
      POM_TRY(make_reals(elements));
      return Attribute(Floats{double(elements.dtype), elements.reals[0]});
    case Holds::text:
      POM_REQUIRE(elements.texts.size() == 1, "a number is given, not a string");
      return Attribute(elements.texts[0]);
    case Holds::integers:
      POM_TRY(make_integers(elements));
      return Attribute(std::move(elements.integers));
    case Holds::reals:
      POM_TRY(make_reals(elements));
      return Attribute(std::move(elements.reals));
    default:
      POM_REQUIRE(elements.integers.empty() && elements.reals.empty(), "a number is given, not a string");
      return Attribute(std::move(elements.texts));
  }
}

std::vector<std::string_view> field_names(const OpDef& op) {
  std::vector<std::string_view> names;
  for (const FieldInfo* field : op.record->fields) names.push_back(field->name);
  return names;
}

Error unknown_field(const OpDef& op, const std::string& field) {
  std::vector<std::string_view> names = field_names(op);
  Error error = fail("op '{}' has no input '{}'", op.name, field);
  std::string near = nearest_word(field, names);
  if (near.empty() && names.size() == 1) near = names[0];
  return near.empty() ? error : std::move(error).advise("the nearest name is '" + near + "'");
}

// What add_call() is putting together for the node.
struct Parts {
  std::vector<Attribute> attributes;
  std::vector<Values> inputs;  // per input field
};

// Longer constants are data; as attributes of many nodes they would take memory out of all proportion to the file.
constexpr std::size_t longest_shared_attribute = 1024;

Status place_attribute(const OpDef& op, std::size_t index, const CallArgument& argument, Parts& parts) {
  std::vector<Weight> literals;
  for (const CallOperand& operand : argument.operands) {
    const Weight* literal = operand.literal ? &operand.literal : operand.value.literal();
    POM_REQUIRE(literal, "'{}' must be a constant, but it is computed", operand.value.name());
    POM_REQUIRE(operand.literal || literal->count() <= longest_shared_attribute, "'{}' has {} elements",
                operand.value.name(), literal->count());
    literals.push_back(*literal);
  }
  parts.attributes[index] = POM_TRY(attribute_from(*op.attributes[index], literals));
  return {};
}

Status place_input(Block& block, const Call& call, std::size_t index, const CallArgument& argument, Parts& parts) {
  const InputRule& rule = OpDef::rule(call.op->inputs[index]);
  POM_REQUIRE(rule.presence == Presence::variadic || argument.operands.size() == 1, "{} values are given, not one",
              argument.operands.size());
  for (std::size_t i = 0; i < argument.operands.size(); ++i) {
    const CallOperand& operand = argument.operands[i];
    Value value = operand.value;
    if (!value) {
      std::string owner = call.name.empty() ? std::string(call.op->name) : call.name;
      std::string name = owner + "_" + argument.field + "_" + std::to_string(i);
      value = add_constant(block, operand.literal, name);
    }
    parts.inputs[index].push_back(value);
  }
  return {};
}

// A field that came with a later operator set does not exist in this one, whatever its value.
Status check_age(Target since, Target opset) {
  POM_REQUIRE(since <= opset, "it needs {}, but the function is for {}", name(since), name(opset));
  return {};
}

Result<Parts> sort_arguments(Block& block, const Call& call) {
  const OpDef& op = *call.op;
  Parts parts{op.defaults, std::vector<Values>(op.inputs.size())};
  for (const CallArgument& argument : call.arguments) {
    auto input = op.input_index(argument.field), attribute = op.attribute_index(argument.field);
    if (attribute)
      POM_TRY_IN(check_age(OpDef::attribute_rule(op.attributes[*attribute]).since, block.function().opset),
                 "input '{}'", argument.field);
    if (input)
      POM_TRY_IN(place_input(block, call, *input, argument, parts), "input '{}'", argument.field);
    else if (attribute)
      POM_TRY_IN(place_attribute(op, *attribute, argument, parts), "input '{}'", argument.field);
    else
      return unknown_field(op, argument.field);
  }
  return parts;
}

void name_results(Node& node, const std::string& name) {
  for (std::size_t i = 0; i < node.output_count() && !name.empty(); ++i)
    node.output(i).set_name(node.output_count() == 1 ? name : name + "_" + std::to_string(i));
}

Status check_results(Node& node, const Call& call) {
  POM_REQUIRE(call.results.size() == node.output_count(), "{} results are declared, but the op has {}",
              call.results.size(), node.output_count());
  std::vector<Type> types;
  for (std::size_t i = 0; i < call.results.size(); ++i) {
    const CallResult& result = call.results[i];
    node.output(i).set_name(result.name);
    const Type& inferred = node.output(i).type();
    types.push_back(result.declared ? POM_TRY_IN(agreed_type(inferred, *result.declared, result.any_rank),
                                                 "result '{}'", result.name)
                                    : inferred);
  }
  node.set_output_types(types);
  return {};
}

Status complete(Node& node, const Call& call) {
  Parts parts = POM_TRY(sort_arguments(*node.block(), call));
  Values inputs;
  std::vector<std::uint32_t> counts;
  for (const Values& values : parts.inputs) {
    inputs.insert(inputs.end(), values.begin(), values.end());
    counts.push_back(std::uint32_t(values.size()));
  }
  node.attributes = std::move(parts.attributes);
  node.set_inputs(std::move(inputs), std::move(counts));
  if (call.fill_blocks) POM_TRY(call.fill_blocks(node));
  At at{node.block()->function().opset, &node, nullptr};
  auto operands = operands_of(node);
  node.set_output_types(POM_TRY(infer_types(*node.op, node.attributes, operands, at)));
  if (node.output_count() && node.op->contents)
    node.output().info().contents = node.op->contents(*node.op, node.attributes, operands, at);
  if (!call.results_as_inferred) return check_results(node, call);
  name_results(node, call.name);
  return {};
}

// The dtype that the type variable of an attribute has at this node, when an input binds it.
std::optional<DType> bound_dtype(const Node& node, const TypeVar& var) {
  Target opset = node.block()->function().opset;
  if (var.at(opset) == 0) return {};
  for (std::size_t i = 0; i < node.op->inputs.size(); ++i) {
    const InputRule& rule = OpDef::rule(node.op->inputs[i]);
    if (rule.kind != Type::Kind::tensor || rule.var.at(opset) != var.at(opset)) continue;
    if (Value value = node.input(i)) return value.dtype();
  }
  return {};
}

std::vector<Weight> one(Tensor tensor) { return {Weight(std::move(tensor))}; }

Tensor tensor_of(DType dtype, Sizes sizes, const Ints& values) {
  if (dtype == DType::int64 || dtype == DType::uint64) {
    Tensor tensor(dtype, std::move(sizes));
    if (!values.empty()) std::memcpy(tensor.mutable_data(), values.data(), values.size() * sizeof(std::int64_t));
    return tensor;
  }
  return Tensor::from_numbers(dtype, std::move(sizes), Floats(values.begin(), values.end()));
}

// Elements in the form that the rule asks for: a vector, pairs, several scalars, or a list of scalars.
template <class Make>
std::vector<Weight> arranged(const AttributeRule& rule, DType dtype, std::size_t count, Make make) {
  using Form = AttributeRule::Form;
  auto length = std::int64_t(count);
  if (rule.form == Form::pairs && count % 2 == 0) return one(make(Sizes{length / 2, 2}, 0, count));
  if (rule.form != Form::tuple && !rule.inline_value) return one(make(Sizes{length}, 0, count));
  std::vector<Tensor> scalars;
  for (std::size_t i = 0; i < count; ++i) scalars.push_back(make(Sizes{}, i, i + 1));
  if (rule.form != Form::tuple) return one(Tensor::list(dtype, {}, std::move(scalars)));
  return {scalars.begin(), scalars.end()};
}

}  // namespace

Result<Attribute> attribute_from(const FieldInfo& field, std::span<const Weight> literals) {
  Elements elements;
  for (const Weight& literal : literals) POM_TRY(append_elements(elements, POM_TRY(literal.materialise())));
  return attribute_of(field, elements);
}

std::vector<Weight> literals_of(const Node& node, std::size_t index) {
  const AttributeRule& rule = OpDef::attribute_rule(node.op->attributes[index]);
  const Attribute& attribute = node.attributes[index];
  std::optional<DType> bound = bound_dtype(node, rule.var);
  DType real = bound && is_float(*bound) ? *bound : DType::fp32;
  DType whole = bound && !is_float(*bound) ? *bound : rule.wire;
  if (auto* flag = std::get_if<bool>(&attribute)) return one(Tensor::scalar(DType::boolean, *flag));
  if (auto* value = std::get_if<std::int64_t>(&attribute)) return one(tensor_of(whole, {}, {*value}));
  if (auto* value = std::get_if<double>(&attribute)) return one(Tensor::scalar(bound.value_or(real), *value));
  if (auto* text = std::get_if<std::string>(&attribute)) return one(Tensor::strings({}, {*text}));
  if (auto* values = std::get_if<Floats>(&attribute)) {
    if (node.op->attributes[index]->holds == Holds::scalar)
      return one(Tensor::scalar(DType(int((*values)[0])), (*values)[1]));
    return arranged(rule, real, values->size(), [&](Sizes sizes, std::size_t begin, std::size_t end) {
      return Tensor::from_numbers(real, std::move(sizes), std::span(*values).subspan(begin, end - begin));
    });
  }
  auto at = [](const auto& list, std::size_t i) { return list.begin() + std::ptrdiff_t(i); };
  if (auto* values = std::get_if<Ints>(&attribute))
    return arranged(rule, whole, values->size(), [&](Sizes sizes, std::size_t begin, std::size_t end) {
      return tensor_of(whole, std::move(sizes), Ints(at(*values, begin), at(*values, end)));
    });
  if (auto* texts = std::get_if<Strings>(&attribute))
    return arranged(rule, DType::string, texts->size(), [&](Sizes sizes, std::size_t begin, std::size_t end) {
      return Tensor::strings(std::move(sizes), Strings(at(*texts, begin), at(*texts, end)));
    });
  return {};
}

Value add_constant(Block& block, Weight literal, std::string value_name, std::string node_name) {
  Node& node = block.insert(&const_op());
  const Tensor* tensor = literal.in_memory();
  node.set_output_types({tensor ? tensor->type() : literal.type()});
  node.literal = std::move(literal);
  node.name = std::move(node_name);
  node.set_inputs({}, {});
  node.output().set_name(std::move(value_name));
  return node.output();
}

Result<Node*> add_call(Block& block, Call call) {
  // Constants that the call itself brings must come before its node.
  Node& node = block.insert(call.op);
  std::size_t before = block.nodes().size();
  node.name = call.name;
  if (node.name.empty() && !call.results.empty()) call.name = call.results[0].name;
  Status status = complete(node, call);
  for (std::size_t added = block.nodes().size() - before; added-- > 0;) block.move_before(*block.next(node), node);
  if (status) return &node;
  std::string label = std::string(call.op->name) + (call.name.empty() ? "" : " '" + call.name + "'");
  block.erase(node);
  return std::move(status).error().in(label);
}

std::vector<CallArgument> arguments_of(const Node& node) {
  const OpDef& op = *node.op;
  Target opset = node.block()->function().opset;
  std::vector<CallArgument> arguments;
  std::size_t next_input = 0, next_attribute = 0;
  for (const FieldInfo* field : op.record->fields) {
    CallArgument argument{std::string(field->name), {}};
    bool present = false;
    if (field->kind == FieldInfo::Kind::input) {
      for (Value value : node.inputs_of(next_input++)) argument.operands.push_back({.value = value});
      present = !argument.operands.empty();
    } else {
      std::size_t index = next_attribute++;
      const AttributeRule& rule = OpDef::attribute_rule(field);
      const Attribute& attribute = node.attributes[index];
      bool empty = std::visit(
          [](const auto& value) {
            if constexpr (requires { value.empty(); }) return value.empty();
            return false;
          },
          attribute);
      present = attribute.index() != 0 && rule.since <= opset && (rule.required || !empty);
      argument.inlined = rule.inline_value;
      if (present)
        for (Weight& literal : literals_of(node, index)) argument.operands.push_back({.literal = std::move(literal)});
    }
    if (present) arguments.push_back(std::move(argument));
  }
  return arguments;
}

void erase_unused_constants(Block& block) {
  for (Node* node = block.nodes().empty() ? nullptr : block.nodes().front().get(); node;) {
    Node* next = block.next(*node);
    for (auto& inner : node->blocks) erase_unused_constants(*inner);
    if (node->op->structural && node->output().users().empty()) block.erase(*node);
    node = next;
  }
}

Result<Type> agreed_type(const Type& inferred, const Type& declared, bool any_rank) {
  auto contradiction = [&] {
    return fail("the file declares {}, but the op's result is {}", declared.text(), inferred.text());
  };
  if (inferred.kind != declared.kind) return contradiction();
  if (inferred.kind == Type::Kind::dictionary) {
    // The op's text and the files written by coremltools disagree on the dtype of probabilities.
    if (inferred.key != declared.key) return contradiction();
    return declared;
  }
  if (inferred.dtype != declared.dtype) return contradiction();
  if (any_rank) return inferred;
  if (inferred.rank() != declared.rank()) return contradiction();
  Type type = inferred;
  for (std::size_t i = 0; i < type.rank(); ++i) {
    Dim known = declared.shape[i];
    if (!known.known() || known == inferred.shape[i]) continue;
    if (inferred.shape[i].known()) return contradiction();
    type.shape[i] = known;
  }
  return type;
}

}  // namespace pomona
