#include "formats/onnx/custom.h"

#include <fmt/format.h>

#include <unordered_map>

#include "ir/text.h"
#include "ops/catalogue.h"

namespace pomona::onnx {
namespace {

std::string numbers_text(const auto& numbers) {
  std::string text;
  for (auto n : numbers) text += (text.empty() ? "" : ", ") + fmt::format("{}", n);
  return text;
}

Result<std::string> attribute_text(const AttributeProto& a) {
  switch (a.type) {
    case FLOAT:
      return fmt::format("{}", a.f);
    case INT:
      return fmt::format("{}", a.i);
    case STRING:
      return fmt::format("\"{}\"", a.s);
    case FLOATS:
      return numbers_text(a.floats);
    case INTS:
      return numbers_text(a.ints);
    default:
      return fail("attribute '{}' is neither a number, text, nor a list of numbers", a.name);
  }
}

// Names of the function's inputs: the last word before each comma of its first parentheses.
std::vector<std::string> input_names(const std::string& text) {
  std::vector<std::string> names;
  std::size_t at = text.find("func ");
  if (at == text.npos || (at = text.find('(', at)) == text.npos) return names;
  int depth = 0;
  std::string word;
  for (++at; at < text.size(); ++at) {
    char c = text[at];
    if (c == '<' || c == '[' || c == '{') ++depth;
    if (c == '>' || c == ']' || c == '}') --depth;
    bool end = depth == 0 && (c == ',' || c == ')');
    if (end && !word.empty()) names.push_back(word);
    if (end || (depth == 0 && (c == ' ' || c == '\n' || c == '\t'))) word.clear();
    if (!end && depth == 0 && c != ' ' && c != '\n' && c != '\t' && c != '>') word += c;
    if (depth == 0 && c == ')') break;
  }
  return names;
}

Result<std::string> value_of(Lowering& g, const std::string& name, const std::vector<std::string>& inputs) {
  for (const AttributeProto& a : g.call().attributes)
    if (a.name == name) return attribute_text(a);
  std::size_t dot = name.rfind('.');
  for (std::size_t i = 0; dot != name.npos && i < inputs.size(); ++i) {
    if (name.substr(0, dot) != inputs[i]) continue;
    std::string axis = name.substr(dot + 1);
    POM_REQUIRE(axis.size() == 1 && axis[0] >= '0' && axis[0] <= '9', "'{}' is no axis", axis);
    auto along = std::size_t(axis[0] - '0');
    const auto& given = g.call().inputs;
    POM_REQUIRE(i < given.size() && given[i].value && along < given[i].value.rank(), "'{}' has no axis {}", inputs[i],
                along);
    Dim size = given[i].value.shape()[along];
    POM_REQUIRE(size.known(), "the size '{}' is not known before the model runs", name);
    return std::to_string(size.value());
  }
  return fail("'${{{}}}' is neither an attribute of the node nor a size of an input", name);
}

Result<std::string> filled_in(Lowering& g, const std::string& text) {
  std::vector<std::string> inputs = input_names(text);
  std::string result;
  std::size_t at = 0;
  for (std::size_t begin; (begin = text.find("${", at)) != text.npos;) {
    std::size_t end = text.find('}', begin);
    POM_REQUIRE(end != text.npos, "a '${{' has no end");
    result += text.substr(at, begin - at) + POM_TRY(value_of(g, text.substr(begin + 2, end - begin - 2), inputs));
    at = end + 1;
  }
  return result + text.substr(at);
}

// The type that the text gives an input fits the value: dtype, rank, known sizes, and sizes of one name.
Status check_input(const Type& declared, Value value, const std::string& name,
                   std::unordered_map<std::string, Dim>& sizes) {
  POM_REQUIRE(
      declared.kind == Type::Kind::tensor && declared.dtype == value.dtype() && declared.shape.size() == value.rank(),
      "input '{}' is {} in the text, but {} in the model", name, declared.text(), value.type().text());
  for (std::size_t d = 0; d < value.rank(); ++d) {
    Dim wanted = declared.shape[d], have = value.shape()[d];
    if (!wanted.known()) {
      auto [known, fresh] = sizes.try_emplace(wanted.text(), have);
      POM_REQUIRE(fresh || known->second == have, "the size '{}' is {} and {}", wanted.text(), known->second.text(),
                  have.text());
    } else {
      POM_REQUIRE(have == wanted, "axis {} of input '{}' is {} in the text, but {} in the model", d, name,
                  wanted.text(), have.text());
    }
  }
  return {};
}

using Handed = std::unordered_map<const ValueInfo*, Value>;  // from the program to the model

// The program's nodes after what is there.
Status place_program(Lowering& g, const Function& function, Handed& here) {
  POM_REQUIRE(function.opset <= g.target(), "the text is for {}, the model for {}", name(function.opset),
              name(g.target()));
  for (const auto& node : function.body.nodes()) {
    if (node->op->structural) {
      // A known input of the node's stays the value it is.
      Value& constant = here[&node->output().info()];
      if (!constant) constant = g.constant(node->literal);
      continue;
    }
    POM_REQUIRE(node->blocks.empty(), "'{}' has blocks, which custom operators may not have", node->op->name);
    Values inputs;
    for (Value input : node->inputs()) inputs.push_back(here[&input.info()]);
    std::vector<std::uint32_t> counts(node->counts().begin(), node->counts().end());
    Values made = g.add_call(*node->op, node->attributes, inputs, counts);
    if (!g.status()) return g.status();
    for (std::size_t k = 0; k < made.size(); ++k) here[&node->output(k).info()] = made[k];
  }
  for (Value result : function.body.results()) {
    Value made = here[&result.info()];
    std::optional<Elem> elem;
    if (made && made.dtype() == DType::int32) elem = Elem::int64;
    POM_TRY(g.result(made, elem));
  }
  return {};
}

Status lower_text(Lowering& g, const std::string& text) {
  ParseOptions options{.find_op = mil::find_op, .nearest_op = mil::nearest_op, .blob = {}};
  Program program = POM_TRY_IN(parse_text(POM_TRY(filled_in(g, text)), options), "the text of the custom operator");
  const Function& function = program.main();
  const auto& given = g.call().inputs;
  POM_REQUIRE(function.body.input_count() == given.size(), "the text takes {} inputs, but the node has {}",
              function.body.input_count(), given.size());
  Handed here;
  std::unordered_map<std::string, Dim> sizes;
  for (std::size_t i = 0; i < given.size(); ++i) {
    Value input = function.body.input(i);
    POM_REQUIRE(given[i].value, "input '{}' is missing", input.name());
    POM_TRY(check_input(input.type(), given[i].value, input.name(), sizes));
    here[&input.info()] = given[i].value;
  }
  return place_program(g, function, here);
}

Status note_attribute(CustomNode& node, const AttributeProto& a, GraphLowering& graphs) {
  std::string name(a.name);
  switch (a.type) {
    case FLOAT:
      node.attributes[name] = double(a.f);
      return {};
    case INT:
      node.attributes[name] = a.i;
      return {};
    case STRING:
      node.attributes[name] = std::string(a.s);
      return {};
    case FLOATS:
      node.attributes[name] = Floats(a.floats.begin(), a.floats.end());
      return {};
    case INTS:
      node.attributes[name] = Ints(a.ints.begin(), a.ints.end());
      return {};
    case STRINGS:
      node.attributes[name] = Strings(a.strings.begin(), a.strings.end());
      return {};
    case TENSOR:
      node.tensors[name] = POM_TRY(POM_TRY(stored_weight(*a.t, graphs.files())).materialise());
      return {};
    default:
      return fail("attribute '{}' is neither a number, text or tensor, nor a list of numbers or texts", a.name);
  }
}

Status lower_written(Lowering& g, const CustomOp& op) {
  CustomNode node{.place = g.call().source, .target = g.target(), .attributes = {}, .tensors = {}, .inputs = {}};
  for (const AttributeProto& a : g.call().attributes) POM_TRY(note_attribute(node, a, g.graphs()));
  for (const Entry& input : g.call().inputs) node.inputs.push_back(input.value);
  CustomBody body = POM_TRY(op.write(node));
  const Function& function = body.program.main();
  Handed here;
  for (auto [value, index] : body.known) here[&value.info()] = node.inputs.at(index);
  std::size_t next = 0;
  for (Value input : node.inputs)
    if (input && !input.literal()) here[&function.body.input(next++).info()] = input;
  return place_program(g, function, here);
}

}  // namespace

Status lower_custom(Lowering& g, const CustomOp& op) {
  return op.write ? lower_written(g, op) : lower_text(g, op.text);
}

}  // namespace pomona::onnx
