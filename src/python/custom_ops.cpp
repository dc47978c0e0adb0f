#include <nanobind/stl/string.h>

#include "python/arrays.h"
#include "python/built_program.h"
#include "python/callbacks.h"
#include "python/errors.h"

namespace pomona::python {
namespace nb = nanobind;
namespace {

nb::object python_of(const Attribute& attribute) {
  return std::visit(
      [](const auto& value) -> nb::object {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::monostate>) return nb::none();
        if constexpr (std::is_same_v<T, bool>) return nb::bool_(value);
        if constexpr (std::is_same_v<T, std::int64_t>) return nb::int_(value);
        if constexpr (std::is_same_v<T, double>) return nb::float_(value);
        if constexpr (std::is_same_v<T, std::string>) return text_of(value);
        if constexpr (std::is_same_v<T, Strings>) {
          nb::list all;
          for (const std::string& each : value) all.append(text_of(each));
          return all;
        }
        if constexpr (std::is_same_v<T, Ints> || std::is_same_v<T, Floats>) {
          nb::list all;
          for (auto each : value) all.append(each);
          return all;
        }
      },
      attribute);
}

nb::dict attributes_dict(const onnx::CustomNode& node) {
  nb::dict all;
  for (const auto& [name, value] : node.attributes) all[text_of(name)] = python_of(value);
  for (const auto& [name, tensor] : node.tensors) all[text_of(name)] = array_of(tensor);
  return all;
}

// The program that the function writes for a node: computed inputs are its inputs, known ones constants.
onnx::CustomBody written(const onnx::CustomNode& node, nb::handle function) {
  BuiltProgram built("main", node.target);
  onnx::CustomBody body;
  nb::list inputs;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    Value input = node.inputs[i];
    if (!input) {
      inputs.append(nb::none());
      continue;
    }
    std::string name = "input_" + std::to_string(i);
    Value value = input.literal() ? add_constant(built.function->body, *input.literal(), name)
                                  : built.function->body.add_input(name, input.type());
    if (input.literal()) body.known.emplace_back(value, i);
    inputs.append(nb::cast(built.graph->wrap(value)));
  }
  nb::object result = function(ops_object(built.graph), inputs, attributes_dict(node));
  if (result.is_none()) throw_error(fail("the function gives no value").advise("return what the operator stands for"));
  built.function->body.set_results(built.graph->values_of(result));
  built.graph->close();
  body.program = std::move(built.program);
  return body;
}

}  // namespace

std::map<std::string, onnx::CustomOp> custom_bodies(const nb::dict& functions) {
  std::map<std::string, onnx::CustomOp> ops;
  for (auto [key, function] : functions) {
    nb::handle callable = function;  // the caller's dict keeps it
    ops[nb::cast<std::string>(key)].write = [callable](const onnx::CustomNode& node) {
      return with_python(node.place, [&] { return written(node, callable); });
    };
  }
  return ops;
}

}  // namespace pomona::python
