#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <limits>
#include <set>

#include "ops/catalogue.h"
#include "python/arrays.h"
#include "python/callbacks.h"
#include "python/errors.h"
#include "python/graph.h"

namespace pomona::python {
namespace nb = nanobind;
using rewrite::Match;
using rewrite::Pattern;
using rewrite::Rule;
namespace {

// Patterns hold names as views; these last as long as the process.
std::string_view kept(const std::string& name) {
  static std::set<std::string> names;
  return *names.insert(name).first;
}

// Fits only where there is no value at all.
Pattern absent() { return rewrite::maybe(rewrite::number(std::numeric_limits<double>::quiet_NaN())); }

Pattern argument_pattern(nb::handle value) {
  if (nb::isinstance<Pattern>(value)) return nb::cast<Pattern>(value);
  if (nb::isinstance<nb::bool_>(value)) return rewrite::flag(nb::cast<bool>(value));
  if (nb::isinstance<nb::int_>(value) || nb::isinstance<nb::float_>(value))
    return rewrite::number(nb::cast<double>(value));
  throw_error(fail("a {} is neither a pattern nor a number", nb::type_name(value.type()).c_str()));
}

// The pattern of one version of an op. Throws for a field that it has not.
Pattern call_of(const OpDef& op, const nb::dict& fields) {
  Pattern pattern;
  pattern.kind = Pattern::Kind::call;
  pattern.op = &op;
  std::vector<Pattern> arguments;
  for (const FieldInfo* input : op.inputs) {
    nb::object key = text_of(input->name);
    if (OpDef::rule(input).presence == Presence::variadic)
      throw_error(fail("patterns do not see the list '{}' of op '{}'", input->name, op.name));
    if (!fields.contains(key) && OpDef::rule(input).presence == Presence::required)
      throw_error(fail("input '{}' of op '{}' is missing", input->name, op.name).advise("pattern.any()"));
    arguments.push_back(fields.contains(key) ? argument_pattern(fields[key]) : absent());
  }
  pattern.parts = std::move(arguments);
  for (auto [key, value] : fields) {
    std::string field = nb::cast<std::string>(key);
    if (op.input_index(field)) continue;
    auto attribute = op.attribute_index(field);
    if (!attribute) throw_error(fail("op '{}' has no input '{}'", op.name, field));
    Tensor literal = tensor_of(value);
    if (literal.dtype() == DType::fp64) literal = literal.converted(DType::fp32);
    const FieldInfo& info = *op.attributes[*attribute];
    auto wanted = attribute_from(info, std::vector<Weight>{literal});
    if (!wanted)
      throw_error(std::move(wanted).error().in("input '" + field + "'").in("op '" + std::string(op.name) + "'"));
    pattern.required.emplace_back(info.name, *std::move(wanted));
  }
  return pattern;
}

// All versions of the op that have the fields.
Pattern op_pattern(const std::string& name, const nb::dict& fields) {
  std::vector<Pattern> versions;
  std::optional<nb::python_error> refused;
  for (const OpDef* op : mil::catalogue()) {
    if (op->name != name || op->structural) continue;
    try {
      versions.push_back(call_of(*op, fields));
    } catch (nb::python_error& error) {
      refused.emplace(std::move(error));
    }
  }
  if (versions.empty() && refused) throw nb::python_error(*refused);
  if (versions.empty()) {
    std::string near = mil::nearest_op(name);
    Error error = fail("there is no op '{}'", name);
    throw_error(near.empty() ? error : std::move(error).advise("the nearest name is '" + near + "'"));
  }
  return versions.size() == 1 ? versions[0] : rewrite::either(std::move(versions));
}

nb::dict match_dict(const Match& match, const Graph& graph) {
  nb::dict all;
  for (const auto& [name, value] : match.names) all[text_of(name)] = graph.wrap(value);
  return all;
}

std::string place_of(const Rule& rule, const Node& root) {
  return fmt::format("rewrite rule '{}' at {}", rule.name, root.label());
}

// Empty: it holds.
std::string condition_text(nb::handle condition, const Match& match) {
  auto graph = std::make_shared<Graph>(*match.root->block(), match.root);
  Closing closing{*graph};
  nb::object answer = condition(match_dict(match, *graph));
  if (nb::isinstance<nb::str>(answer)) return nb::cast<std::string>(answer);
  return nb::cast<bool>(nb::bool_(answer)) ? "" : "its condition does not hold";
}

Value replacement(nb::handle replace, const Match& match, Builder& g) {
  auto graph = std::make_shared<Graph>(g.block(), g.place());
  Closing closing{*graph};
  std::size_t uses = match.result().users().size();
  nb::object result = replace(ops_object(graph), match_dict(match, *graph));
  // None: it does not apply here after all.
  if (result.is_none()) return {};
  Value value = graph->values_of(result).at(0);
  if (value == match.result() || match.result().users().size() != uses)
    throw_error(fail("the replacement uses the value that it replaces"));
  return value;
}

}  // namespace

UserRules::UserRules(nb::handle given) {
  for (nb::handle each : nb::borrow<nb::object>(given)) {
    nb::tuple parts = nb::cast<nb::tuple>(each);
    Rule& rule = rules_.emplace_back();
    rule.name = texts_.emplace_back(nb::cast<std::string>(parts[0]));
    rule.pattern = nb::cast<Pattern>(parts[1]);
    if (rule.pattern.kind != Pattern::Kind::call && rule.pattern.kind != Pattern::Kind::either)
      throw_error(fail("the pattern of rule '{}' is no op", rule.name));
    nb::handle replace = parts[2], condition = parts[3];  // the caller's list keeps them
    rule.replace = [&rule, replace](const Match& match, Builder& g) {
      auto value = with_python(place_of(rule, *match.root), [&] { return replacement(replace, match, g); });
      return value ? *value : g.refuse(std::move(value).error());
    };
    if (condition.is_none()) continue;
    rule.condition = [this, &rule, condition](const Match& match) -> std::string_view {
      auto text = with_python(place_of(rule, *match.root), [&] { return condition_text(condition, match); });
      return texts_.emplace_back(text ? *text : "its condition raised an exception");
    };
  }
}

std::vector<const Rule*> UserRules::pointers() const {
  std::vector<const Rule*> all;
  for (const Rule& rule : rules_) all.push_back(&rule);
  return all;
}

void bind_callbacks(nb::module_& m) {
  nb::class_<Pattern>(m, "Pattern")
      .def(
          "named", [](const Pattern& self, const std::string& name) { return self.named(kept(name)); }, nb::arg("name"))
      .def("shared", [](const Pattern& self) { return self.shared(); })
      .def("optional", [](const Pattern& self) { return rewrite::maybe(self); });
  m.def("pattern_any", [](const std::string& name) { return rewrite::any(kept(name)); }, nb::arg("name") = "");
  m.def(
      "pattern_constant", [](const std::string& name) { return rewrite::constant(kept(name), {}); },
      nb::arg("name") = "");
  m.def(
      "pattern_number",
      [](std::optional<double> value, const std::string& name) {
        return value ? rewrite::number(*value).named(kept(name)) : rewrite::number(kept(name), 0);
      },
      nb::arg("value").none(), nb::arg("name") = "");
  m.def(
      "pattern_either", [](std::vector<Pattern> alternatives) { return rewrite::either(std::move(alternatives)); },
      nb::arg("alternatives"));
  m.def("pattern_op", op_pattern, nb::arg("op"), nb::arg("fields"));
}

}  // namespace pomona::python
