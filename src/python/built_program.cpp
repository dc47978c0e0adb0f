#include "python/built_program.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <algorithm>

#include "api/build.h"
#include "ir/border.h"
#include "python/errors.h"

namespace pomona::python {
namespace nb = nanobind;
namespace {

DType dtype_given(const std::string& text) {
  auto dtype = dtype_named(text);
  if (!dtype) throw_error(fail("there is no dtype '{}'", text));
  return *dtype;
}

// A size as Python has it: a number, or two bounds of which the upper may be None.
Feature::Range range_given(nb::handle size) {
  Feature::Range range;
  if (nb::isinstance<nb::int_>(size)) {
    range.lower = range.upper = nb::cast<std::int64_t>(size);
  } else {
    nb::tuple bounds = nb::isinstance<nb::tuple>(size) || nb::isinstance<nb::list>(size)
                           ? nb::tuple(nb::borrow<nb::object>(size))
                           : nb::tuple();
    if (bounds.size() != 2 || !nb::isinstance<nb::int_>(bounds[0]) ||
        !(bounds[1].is_none() || nb::isinstance<nb::int_>(bounds[1])))
      throw_error(fail("a size is {}, neither a number nor two bounds", nb::repr(size).c_str()));
    range.lower = nb::cast<std::int64_t>(bounds[0]);
    range.upper = bounds[1].is_none() ? -1 : nb::cast<std::int64_t>(bounds[1]);
  }
  if (range.lower < 1 || (range.upper >= 0 && range.upper < range.lower))
    throw_error(fail("a size is {} to {}", range.lower, range.upper));
  return range;
}

}  // namespace

BuiltProgram::BuiltProgram(const std::string& name, Target target)
    : function(&program.add_function(name, target)), graph(std::make_shared<Graph>(function->body)) {}

Symbol BuiltProgram::add_input(const std::string& name, nb::handle sizes, const std::string& dtype) {
  graph->check_open();
  if (function->body.input(name)) throw_error(fail("there are two inputs '{}'", name));
  Shape shape;
  Feature feature;
  feature.name = name;
  feature.dtype = dtype_given(dtype);
  for (nb::handle size : nb::borrow<nb::object>(sizes)) {
    Feature::Range range = range_given(size);
    bool open = range.lower != range.upper;
    shape.push_back(open ? Dim::named(name + "_" + std::to_string(shape.size())) : Dim(range.lower));
    feature.shape.push_back(range.lower);
    feature.ranges.push_back(range);
  }
  Value value = function->body.add_input(name, tensor_type(feature.dtype, shape));
  if (!all_known(shape)) function->inputs.push_back(feature);
  return graph->wrap(value);
}

Symbol BuiltProgram::add_state(const std::string& name, nb::handle sizes, const std::string& dtype) {
  graph->check_open();
  if (function->body.input(name)) throw_error(fail("there are two inputs '{}'", name));
  Type type = tensor_type(dtype_given(dtype), {});
  for (nb::handle size : nb::borrow<nb::object>(sizes)) {
    Feature::Range range = range_given(size);
    if (range.lower != range.upper) throw_error(fail("state '{}' has a size that is open", name));
    type.shape.push_back(Dim(range.lower));
  }
  type.kind = Type::Kind::state;
  return graph->wrap(function->body.add_input(name, type));
}

// Outputs have names of their own: what is an input, a constant or another output already is handed on.
void BuiltProgram::set_outputs(const nb::dict& outputs) {
  graph->check_open();
  Values results;
  for (auto [key, symbol] : outputs) {
    std::string name = nb::cast<std::string>(key);
    Value value = graph->values_of(symbol).at(0);
    bool taken = std::find(results.begin(), results.end(), value) != results.end();
    if (taken || !value.producer() || value.literal()) {
      nb::dict fields;
      fields["x"] = nb::cast(graph->wrap(value));
      value = graph->unwrap(nb::cast<Symbol&>(graph->call("identity", fields, name)));
    }
    value.set_name(name);
    results.push_back(value);
  }
  if (results.empty()) throw_error(fail("the program has no output").advise("p.output('y', y)"));
  function->body.set_results(results);
}

SharedModel BuiltProgram::finish(const nb::dict& outputs) {
  set_outputs(outputs);
  graph->close();
  return std::make_shared<OpenedModel>(value_or_throw(api::built_model(std::move(program))));
}

void bind_build(nb::module_& m) {
  nb::class_<BuiltProgram>(m, "BuiltProgram")
      .def(
          "__init__",
          [](BuiltProgram* self, const std::string& name, const std::string& target_name) {
            auto target = target_named(target_name);
            if (!target) throw_error(fail("there is no target '{}'", target_name));
            new (self) BuiltProgram(name, *target);
          },
          nb::arg("name"), nb::arg("target"))
      .def_prop_ro("graph", [](const BuiltProgram& self) { return self.graph; })
      .def("add_input", &BuiltProgram::add_input, nb::arg("name"), nb::arg("sizes"), nb::arg("dtype"))
      .def("add_state", &BuiltProgram::add_state, nb::arg("name"), nb::arg("sizes"), nb::arg("dtype"))
      .def("finish", &BuiltProgram::finish, nb::arg("outputs"));
}

}  // namespace pomona::python
