#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ir/call.h"
#include "ir/naming.h"
#include "ir/text.h"

namespace pomona {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out + "\"";
}

bool is_identifier(std::string_view name) {
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string dim_text(Dim dim) {
  if (dim.known()) return dim.text();
  auto symbol = dim.symbol();
  std::vector<std::string> symbols = dim.symbols();
  if (std::ranges::any_of(symbols, [](const std::string& s) { return s.starts_with('?'); })) return "?";
  if (std::ranges::all_of(symbols, is_identifier)) return "?{" + dim.text() + "}";
  return symbol ? "?{" + quoted(*symbol) + "}" : "?";
}

std::string tensor_text(DType dtype, const Shape& shape) {
  if (shape.empty()) return std::string(name(dtype));
  std::string dims;
  for (Dim dim : shape) dims += (dims.empty() ? "" : ", ") + dim_text(dim);
  return fmt::format("tensor<{}, [{}]>", name(dtype), dims);
}

void append_number(std::string& out, const Tensor& tensor, std::size_t i, const std::vector<std::int64_t>& integers) {
  if (tensor.dtype() == DType::string) {
    out += quoted(tensor.text()[i]);
  } else if (tensor.dtype() == DType::boolean) {
    out += integers[i] ? "true" : "false";
  } else if (!is_float(tensor.dtype())) {
    out += tensor.dtype() == DType::uint64 ? std::to_string(std::uint64_t(integers[i])) : std::to_string(integers[i]);
  } else {
    double value = tensor.number(i);
    out += std::isnan(value) ? "nan" : std::isinf(value) ? (value < 0 ? "-inf" : "inf") : fmt::format("{:a}", value);
  }
}

// Elements in nested brackets, as many levels as the rank; one empty pair when there are none.
std::string elements_text(const Tensor& tensor) {
  std::vector<std::int64_t> integers;
  if (tensor.dtype() != DType::string && !is_float(tensor.dtype())) integers = tensor.integers();
  std::string out;
  const Sizes& sizes = tensor.sizes();
  if (tensor.count() == 0) return "[]";
  for (std::size_t i = 0; i < tensor.count(); ++i) {
    std::size_t block = 1, opening = 0;
    for (std::size_t d = sizes.size(); d-- > 0 && i % (block *= std::size_t(sizes[d])) == 0;) ++opening;
    if (i) out.append(opening, ']').append(", ");
    out.append(i ? opening : sizes.size(), '[');
    append_number(out, tensor, i, integers);
  }
  return out.append(sizes.size(), ']');
}

class Printer {
 public:
  Printer(const Function& function, const TextOptions& options)
      : function_(function), options_(options), names_(name_all(function)) {}

  void print(std::string& out) {
    std::string opset(name(function_.opset));
    std::ranges::transform(opset, opset.begin(), [](char c) { return char(c >= 'A' && c <= 'Z' ? c + 32 : c); });
    out += fmt::format("    func {}<{}>({}) {{\n", legal_name(function_.name, "func_"), opset, inputs(function_.body));
    block(function_.body, 2, out);
    out += "    } -> " + results(function_.body) + ";\n";
  }

 private:
  std::string scalar(DType dtype) const {
    bool as_tensor = options_.compiled && function_.opset < Target::iOS18;
    return as_tensor ? fmt::format("tensor<{}, []>", name(dtype)) : std::string(name(dtype));
  }
  std::string type_of(const Type& type) const {
    return type.kind == Type::Kind::tensor && type.shape.empty() ? scalar(type.dtype) : type_text(type);
  }
  std::string inputs(const Block& block) const {
    std::string text;
    for (std::size_t i = 0; i < block.input_count(); ++i)
      text += (i ? ", " : "") + type_of(block.input(i).type()) + " " + names_.of(block.input(i));
    return text;
  }
  std::string results(const Block& block) const {
    std::string text;
    for (Value value : block.results()) text += (text.empty() ? "" : ", ") + names_.of(value);
    return "(" + text + ")";
  }

  std::string literal(const Weight& weight) const {
    const Tensor* tensor = weight.in_memory();
    Type type = tensor ? tensor->type() : weight.type();
    if (tensor && tensor->is_list()) {
      std::string elements;
      for (const Tensor& element : tensor->elements())
        elements += (elements.empty() ? "" : ", ") + elements_text(element);
      return fmt::format("{}([{}])", type_of(type), elements);
    }
    if (TextBlob place; options_.blob && options_.blob(weight, place))
      return fmt::format("{}(BLOBFILE(path = {}({}), offset = {}({})))", type_of(type), scalar(DType::string),
                         quoted(place.path), scalar(DType::uint64), place.offset);
    if (weight.count() > options_.elide_above) return type_of(type) + "(ELIDED)";
    auto computed = weight.materialise();
    return computed ? fmt::format("{}({})", type_of(type), elements_text(*computed)) : type_of(type) + "(ELIDED)";
  }

  std::string operand(const CallOperand& operand) const {
    return operand.value ? names_.of(operand.value) : literal(operand.literal);
  }
  std::string argument(const CallArgument& argument) const {
    if (argument.operands.size() == 1) return argument.field + " = " + operand(argument.operands[0]);
    std::string parts;
    for (const CallOperand& each : argument.operands) parts += (parts.empty() ? "" : ", ") + operand(each);
    return fmt::format("{} = ({})", argument.field, parts);
  }

  void node(const Node& node, std::size_t depth, std::string& out) {
    std::string indent(4 * depth, ' '), outputs, arguments, more;
    for (std::size_t i = 0; i < node.output_count(); ++i)
      outputs += (i ? ", " : "") + type_of(node.output(i).type()) + " " + names_.of(node.output(i));
    if (!outputs.empty()) outputs += " = ";
    if (node.op->structural)
      more = ", val = " + literal(node.literal);
    else
      for (const CallArgument& each : arguments_of(node)) arguments += (arguments.empty() ? "" : ", ") + argument(each);
    out += fmt::format("{}{}{}({})[name = {}({}){}]", indent, outputs, node.op->name, arguments, scalar(DType::string),
                       quoted(names_.of(node)), more);
    for (std::size_t i = 0; i < node.blocks.size(); ++i) {
      out += fmt::format("{}({}) {{\n", i ? ", " : " ", inputs(*node.blocks[i]));
      block(*node.blocks[i], depth + 1, out);
      out += indent + "} -> " + results(*node.blocks[i]);
    }
    out += ";\n";
  }

  void block(const Block& block, std::size_t depth, std::string& out) {
    for (const auto& each : block.nodes())
      // Readers drop constants that nothing uses.
      if (!each->op->structural || !each->output().users().empty()) node(*each, depth, out);
  }

  const Function& function_;
  const TextOptions& options_;
  Names names_;
};

}  // namespace

std::string type_text(const Type& type) {
  switch (type.kind) {
    case Type::Kind::list:
      return fmt::format("list<{}, {}>", tensor_text(type.dtype, type.shape), dim_text(type.length));
    case Type::Kind::dictionary:
      return fmt::format("dict<{}, {}>", name(type.key), name(type.dtype));
    case Type::Kind::state:
      return fmt::format("state<{}>", tensor_text(type.dtype, type.shape));
    default:
      return tensor_text(type.dtype, type.shape);
  }
}

std::string to_text(const Function& function, const TextOptions& options) {
  std::string out;
  Printer(function, options).print(out);
  return out;
}

std::string to_text(const Program& program, const TextOptions& options) {
  std::string attributes, out = "program(1.0)\n";
  for (const auto& [key, value] : program.build_info)
    attributes += fmt::format("{}{{{}, {}}}", attributes.empty() ? "" : ", ", quoted(key), quoted(value));
  if (!attributes.empty()) attributes = "buildInfo = dict<string, string>({" + attributes + "})";
  if (!program.default_function.empty())
    attributes += fmt::format("{}defaultFunction = string({})", attributes.empty() ? "" : ", ",
                              quoted(legal_name(program.default_function, "func_")));
  if (!attributes.empty()) out += "[" + attributes + "]\n";
  out += "{\n";
  for (const auto& function : program.functions) Printer(*function, options).print(out);
  return out + "}\n";
}

}  // namespace pomona
