#include "python/graph.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <array>

#include "ops/catalogue.h"
#include "python/arrays.h"
#include "python/errors.h"

namespace pomona::python {
namespace nb = nanobind;
namespace {

bool is_symbol(nb::handle value) { return nb::isinstance<Symbol>(value); }
bool is_sequence(nb::handle value) { return nb::isinstance<nb::list>(value) || nb::isinstance<nb::tuple>(value); }

// NumPy's usual dtypes as the ones that programs compute with.
Tensor narrowed(Tensor tensor) {
  if (tensor.dtype() == DType::fp64) return tensor.converted(DType::fp32);
  if (tensor.dtype() == DType::int64 || tensor.dtype() == DType::uint64) return tensor.converted(DType::int32);
  return tensor;
}

// A number of the program's, not the caller's memory, which may change.
Tensor literal_of(nb::handle value, std::optional<DType> wanted) {
  Tensor tensor = narrowed(tensor_of(value));
  bool is_number = nb::isinstance<nb::int_>(value) || nb::isinstance<nb::float_>(value);
  if (wanted && tensor.dtype() != *wanted && tensor.dtype() != DType::string) {
    bool fits =
        is_float(*wanted) ? is_number || is_float(tensor.dtype()) : is_integer(*wanted) && is_integer(tensor.dtype());
    if (fits) tensor = tensor.converted(*wanted);
  }
  if (tensor.dtype() != DType::string) tensor.mutable_data();
  return tensor;
}

const OpDef& op_named(const std::string& name, Target opset) {
  const OpDef* op = mil::find_op(name, opset);
  if (op && !op->structural) return *op;
  Error error = fail("{} has no op '{}'", pomona::name(opset), name);
  std::string near = mil::nearest_op(name);
  throw_error(near.empty() ? error : std::move(error).advise("the nearest name is '" + near + "'"));
}

// What the functions are called that fill an op's blocks.
std::array<const char*, 2> block_names(const OpDef& op) {
  if (op.name == "cond") return {"true", "false"};
  if (op.name == "while_loop") return {"condition", "body"};
  return {nullptr, nullptr};
}

// The dtype that a field's numbers take: that of a value in a field that shares its type variable.
std::optional<DType> dtype_beside(const OpDef& op, std::size_t index, const nb::dict& fields, Target opset) {
  char variable = OpDef::rule(op.inputs[index]).var.at(opset);
  auto dtype_of = [](nb::handle value) { return nb::cast<Symbol&>(value).value.dtype(); };
  for (const FieldInfo* other : op.inputs) {
    nb::object key = text_of(other->name);
    if (OpDef::rule(other).var.at(opset) != variable || !fields.contains(key)) continue;
    nb::object value = fields[key];
    if (is_symbol(value)) return dtype_of(value);
    if (!is_sequence(value)) continue;
    for (nb::handle each : value)
      if (is_symbol(each)) return dtype_of(each);
  }
  return {};
}

// Where the graph's values live no more, they must not be looked at.
const Symbol& checked(const Symbol& symbol) {
  for (const Scope* scope = symbol.scope.get(); scope; scope = scope->outer.get())
    if (!scope->graph) throw_error(fail("the value is of a graph that is complete"));
  return symbol;
}

nb::object symbol_shape(const Symbol& symbol) {
  nb::list shape;
  for (Dim dim : checked(symbol).value.shape())
    shape.append(dim.known() ? nb::object(nb::int_(dim.value())) : nb::object(text_of(dim.text())));
  return nb::tuple(shape);
}

nb::object symbol_value(const Symbol& symbol) {
  const Weight* literal = checked(symbol).value.literal();
  return literal ? array_of(value_or_throw(literal->materialise())) : nb::none();
}

std::string symbol_text(const Symbol& symbol) {
  for (const Scope* scope = symbol.scope.get(); scope; scope = scope->outer.get())
    if (!scope->graph) return "Symbol(of a complete graph)";
  return fmt::format("Symbol('{}', {})", symbol.value.name(), symbol.value.type().text());
}

bool is_inside(const std::shared_ptr<Scope>& scope, const std::shared_ptr<Scope>& outer) {
  for (const Scope* each = scope.get(); each; each = each->outer.get())
    if (each == outer.get()) return true;
  return false;
}

// An operator of Python's: in the innermost of both values' graphs.
Symbol binary(const char* op, nb::handle x, nb::handle y) {
  const Symbol *left = is_symbol(x) ? &nb::cast<Symbol&>(x) : nullptr,
               *right = is_symbol(y) ? &nb::cast<Symbol&>(y) : nullptr;
  const Symbol* inner = !left || (right && is_inside(right->scope, left->scope)) ? right : left;
  checked(*inner);
  nb::dict fields;
  fields["x"] = x;
  fields["y"] = y;
  return nb::cast<Symbol>(inner->scope->graph->call(op, fields, ""));
}
Symbol unary(const char* op, const Symbol& x) {
  checked(x);
  nb::dict fields;
  fields["x"] = nb::cast(x);
  return nb::cast<Symbol>(x.scope->graph->call(op, fields, ""));
}

void bind_operators(nb::class_<Symbol>& symbol) {
  struct Operator {
    const char *method, *reflected, *op;
  };
  static constexpr Operator operators[] = {
      {"__add__", "__radd__", "add"},
      {"__sub__", "__rsub__", "sub"},
      {"__mul__", "__rmul__", "mul"},
      {"__truediv__", "__rtruediv__", "real_div"},
      {"__pow__", "__rpow__", "pow"},
      {"__floordiv__", "__rfloordiv__", "floor_div"},
      {"__mod__", "__rmod__", "mod"},
      {"__matmul__", "__rmatmul__", "matmul"},
      {"__lt__", nullptr, "less"},
      {"__le__", nullptr, "less_equal"},
      {"__gt__", nullptr, "greater"},
      {"__ge__", nullptr, "greater_equal"},
      {"__and__", "__rand__", "logical_and"},
      {"__or__", "__ror__", "logical_or"},
      {"__xor__", "__rxor__", "logical_xor"},
  };
  for (const Operator& each : operators) {
    const char* op = each.op;
    symbol.def(each.method, [op](nb::handle x, nb::handle y) { return binary(op, x, y); });
    if (each.reflected) symbol.def(each.reflected, [op](nb::handle y, nb::handle x) { return binary(op, x, y); });
  }
  symbol.def("__neg__", [](nb::handle x) { return binary("mul", x, nb::int_(-1)); });
  symbol.def("__abs__", [](const Symbol& x) { return unary("abs", x); });
  symbol.def("__invert__", [](const Symbol& x) { return unary("logical_not", x); });
  // NumPy's arrays leave `array * symbol` to us.
  symbol.attr("__array_ufunc__") = nb::none();
}

// The ops of an operator set with what they take, for help and stubs.
nb::list op_table(const std::string& target_name) {
  auto target = target_named(target_name);
  if (!target) throw_error(fail("there is no target '{}'", target_name));
  nb::list table;
  for (const OpDef* op : mil::catalogue()) {
    if (op->structural || mil::find_op(op->name, *target) != op) continue;
    nb::list fields;
    for (const FieldInfo* field : op->record->fields) {
      bool is_input = field->kind == FieldInfo::Kind::input;
      Target since = is_input ? OpDef::rule(field).since : OpDef::attribute_rule(field).since;
      if (since > *target) continue;
      bool required =
          is_input ? OpDef::rule(field).presence != Presence::optional : OpDef::attribute_rule(field).required;
      nb::dict d;
      d["name"] = text_of(field->name);
      d["kind"] = !is_input ? "parameter" : OpDef::rule(field).presence == Presence::variadic ? "inputs" : "input";
      d["required"] = required;
      d["default"] = is_input ? "" : to_string(op->defaults[*op->attribute_index(field->name)]);
      fields.append(d);
    }
    for (const char* name : block_names(*op)) {
      if (!name) continue;
      nb::dict d;
      d["name"] = name;
      d["kind"] = "function";
      d["required"] = true;
      d["default"] = "";
      fields.append(d);
    }
    nb::dict d;
    d["name"] = text_of(op->name);
    d["doc"] = text_of(op->doc);
    d["fields"] = fields;
    table.append(d);
  }
  return table;
}

}  // namespace

Graph::Graph(Block& block, Node* place, std::shared_ptr<Scope> outer)
    : block_(&block), place_(place), scope_(std::make_shared<Scope>()) {
  scope_->graph = this;
  scope_->outer = std::move(outer);
}

template <class Work>
auto Graph::placed(Work&& work) {
  Node* last = block_->nodes().empty() ? nullptr : block_->nodes().back().get();
  auto result = work();
  while (place_) {
    Node* added = last ? block_->next(*last) : nullptr;
    if (!added) break;
    block_->move_before(*added, *place_);
  }
  return result;
}

void Graph::check_open() const { checked(wrap({})); }

Value Graph::unwrap(const Symbol& symbol) const {
  checked(symbol);
  if (!is_inside(scope_, symbol.scope))
    throw_error(fail("value '{}' is of another graph, or of a block inside", symbol.value.name()));
  return symbol.value;
}

CallOperand Graph::operand(nb::handle value, std::optional<DType> wanted) {
  if (is_symbol(value)) return {.value = unwrap(nb::cast<Symbol&>(value))};
  return {.literal = literal_of(value, wanted)};
}

CallArgument Graph::argument(const OpDef& op, const std::string& field, nb::handle value, const nb::dict& fields) {
  CallArgument argument{field, {}};
  auto input = op.input_index(field);
  Target opset = block_->function().opset;
  std::optional<DType> wanted = input ? dtype_beside(op, *input, fields, opset) : std::nullopt;
  bool variadic = input && OpDef::rule(op.inputs[*input]).presence == Presence::variadic;
  if (variadic && !is_sequence(value)) throw_error(fail("a list of values is wanted"));
  if (variadic)
    for (nb::handle each : nb::borrow<nb::object>(value)) argument.operands.push_back(operand(each, wanted));
  else
    argument.operands.push_back(operand(value, wanted));
  return argument;
}

Values Graph::values_of(nb::handle result) {
  Values values;
  auto add = [&](nb::handle each) {
    CallOperand one = operand(each, {});
    values.push_back(one.value ? one.value : placed([&] { return add_constant(*block_, std::move(one.literal), ""); }));
  };
  if (is_sequence(result))
    for (nb::handle each : nb::borrow<nb::object>(result)) add(each);
  else
    add(result);
  return values;
}

// Every function gets the ops of its block, and the loop's variables.
Status Graph::fill_blocks(Node& node, const nb::dict& functions) {
  for (const char* name : block_names(*node.op)) {
    auto& block = *node.blocks.emplace_back(std::make_unique<Block>(&block_->function(), &node));
    auto inner = std::make_shared<Graph>(block, nullptr, scope_);
    nb::list arguments;
    arguments.append(ops_object(inner));
    if (node.op->name == "while_loop")
      for (std::size_t i = 0; i < node.inputs().size(); ++i)
        arguments.append(nb::cast(inner->wrap(block.add_input("v" + std::to_string(i), node.inputs()[i].type()))));
    nb::object result = nb::object(functions[name])(*nb::tuple(arguments));
    block.set_results(inner->values_of(result));
    // Python may keep the graph for longer than the block lasts.
    inner->close();
  }
  return {};
}

nb::object Graph::call(const std::string& op_name, const nb::dict& fields, const std::string& name) {
  check_open();
  Call call{.op = &op_named(op_name, block_->function().opset), .name = name};
  call.results_as_inferred = true;
  nb::dict functions;
  for (const char* block : block_names(*call.op)) {
    if (!block) continue;
    if (!fields.contains(block)) throw_error(fail("op '{}' has no function '{}'", op_name, block));
    functions[block] = fields[block];
  }
  for (auto [key, value] : fields) {
    std::string field = nb::cast<std::string>(key);
    if (value.is_none() || functions.contains(key)) continue;
    try {
      call.arguments.push_back(argument(*call.op, field, value, fields));
    } catch (nb::python_error& error) {
      add_place(error, "input '" + field + "'");
      add_place(error, "op '" + op_name + "'");
      throw;
    }
  }
  std::optional<nb::python_error> raised;
  if (functions.size() > 0)
    call.fill_blocks = [&](Node& node) -> Status {
      try {
        return fill_blocks(node, functions);
      } catch (nb::python_error& error) {
        raised.emplace(std::move(error));
        return fail("a function raised");
      }
    };
  auto node = placed([&] { return add_call(*block_, std::move(call)); });
  if (raised) throw nb::python_error(*raised);
  Node& made = *value_or_throw(std::move(node));
  if (made.output_count() == 0) return nb::none();
  if (made.output_count() == 1) return nb::cast(wrap(made.output()));
  nb::list all;
  for (std::size_t i = 0; i < made.output_count(); ++i) all.append(nb::cast(wrap(made.output(i))));
  return nb::tuple(all);
}

Symbol Graph::constant(nb::handle value, const std::string& name) {
  check_open();
  return wrap(placed([&] { return add_constant(*block_, literal_of(value, {}), name); }));
}

nb::object ops_object(const std::shared_ptr<Graph>& graph) {
  return nb::module_::import_("pomona._ops").attr("Ops")(nb::cast(graph));
}

void bind_graph(nb::module_& m) {
  auto symbol = nb::class_<Symbol>(m, "Symbol");
  symbol.def_prop_ro("name", [](const Symbol& self) { return text_of(checked(self).value.name()); })
      .def_prop_ro("dtype", [](const Symbol& self) { return text_of(name(checked(self).value.dtype())); })
      .def_prop_ro("rank", [](const Symbol& self) { return checked(self).value.rank(); })
      .def_prop_ro("shape", symbol_shape)
      .def_prop_ro("value", symbol_value)
      .def("__repr__", symbol_text);
  bind_operators(symbol);
  nb::class_<Graph>(m, "Graph")
      .def("call", &Graph::call, nb::arg("op"), nb::arg("fields"), nb::arg("name") = "")
      .def("constant", &Graph::constant, nb::arg("value"), nb::arg("name") = "");
  m.def("op_table", op_table, nb::arg("target") = "iOS26");
}

}  // namespace pomona::python
