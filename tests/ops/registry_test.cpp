// Compares the op catalogue with the registry of Core ML's own converter, class version by class version: names,
// inputs, which may be absent, which must be constant, dtypes, which of them must be equal, and defaults.
//
// The registry is a JSON file made by truth/registry.py; POMONA_REGISTRY is its path.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "ops/catalogue.h"

namespace pomona {
namespace {

using nlohmann::json;
using Words = std::set<std::string>;

json read_registry() {
  const char* path = std::getenv("POMONA_REGISTRY");
  if (!path) return {};
  std::ifstream file(path);
  return json::parse(file, nullptr, false);
}

// Inputs of the registry that are no operands here: blocks, and what only the converter uses.
bool is_operand(const json& input) {
  return input["kind"] != "PyFunctionInputType" && input["kind"] != "InternalInputType";
}

std::string join(const Words& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

Words names_of(const Domain& domain, Target opset) {
  Words names;
  for (std::size_t d = 0; d < dtype_count; ++d)
    if (domain.accepts(DType(d), opset)) names.insert(std::string(name(DType(d))));
  return names;
}

struct Comparison {
  const OpDef& op;
  const json& record;
  Target opset;
  std::vector<std::string> differences;
  std::map<std::string, char> variables;  // of the registry -> ours

  void differ(std::string text) { differences.push_back(std::move(text)); }

  void compare_fields() {
    Words wanted, found;
    for (const json& input : record["inputs"])
      if (is_operand(input)) wanted.insert(input["name"].get<std::string>());
    for (const FieldInfo* field : op.record->fields)
      if (since_of(field) <= opset) found.insert(std::string(field->name));
    if (wanted != found) differ("inputs are {" + join(found) + "}, not {" + join(wanted) + "}");
    for (const json& input : record["inputs"]) {
      std::string input_name = input["name"];
      if (!found.contains(input_name)) continue;
      if (auto i = op.input_index(input_name)) compare_input(input, op.inputs[*i]);
      if (auto i = op.attribute_index(input_name)) compare_attribute(input, *i);
    }
  }
  static Target since_of(const FieldInfo* field) {
    return field->kind == FieldInfo::Kind::input ? OpDef::rule(field).since : OpDef::attribute_rule(field).since;
  }

  void compare_input(const json& input, const FieldInfo* field) {
    const InputRule& rule = OpDef::rule(field);
    std::string where = "input '" + std::string(field->name) + "'";
    if ((rule.presence == Presence::optional) != input["optional"].get<bool>())
      differ(where + (input["optional"].get<bool>() ? " may be absent" : " may not be absent"));
    bool constant = rule.constant && (rule.constant_until == never || opset < rule.constant_until);
    if (constant != input["const"].get<bool>())
      differ(where + (input["const"].get<bool>() ? " must be constant" : " need not be constant"));
    compare_dtypes(input, where, names_of(rule.var.domain, opset));
    compare_variable(input, where, rule.var.at(opset));
  }

  void compare_attribute(const json& input, std::size_t i) {
    const AttributeRule& rule = OpDef::attribute_rule(op.attributes[i]);
    std::string where = "input '" + std::string(op.attributes[i]->name) + "'";
    if (!input["const"].get<bool>() && input["kind"] == "TensorInputType") differ(where + " need not be constant");
    if (input["optional"].get<bool>() == rule.required)
      differ(where + (rule.required ? " may be absent" : " may not be absent"));
    compare_default(input, where, op.defaults[i]);
    switch (op.defaults[i].index()) {
      case 0:  // absent by default: any of these
        return;
      case 1:
        return compare_dtypes(input, where, {"bool"});
      case 2:
      case 5:
        if (!rule.var.domain.up_to(opset)) return compare_dtypes(input, where, {std::string(name(rule.wire))});
        break;
      case 4:
      case 7:
        return compare_dtypes(input, where, {"string"});
      default:
        break;
    }
    compare_dtypes(input, where, names_of(rule.var.domain, opset));
    compare_variable(input, where, rule.var.at(opset));
  }

  Words wanted_dtypes(const json& input) const {
    if (input.contains("types")) return input["types"].get<Words>();
    if (input.contains("type_var")) return record["type_vars"][input["type_var"].get<std::string>()].get<Words>();
    return {};
  }
  void compare_dtypes(const json& input, const std::string& where, const Words& found) {
    if (Words wanted = wanted_dtypes(input); !wanted.empty() && wanted != found)
      differ(where + " is one of {" + join(found) + "}, not {" + join(wanted) + "}");
  }
  // A variable that several inputs share must be one here, and different ones must differ.
  void compare_variable(const json& input, const std::string& where, char ours) {
    if (!input.contains("type_var") || wanted_dtypes(input).size() < 2) return;
    std::string theirs = input["type_var"];
    auto [at, fresh] = variables.try_emplace(theirs, ours);
    if (at->second != ours)
      differ(where + " has another dtype variable than others that share " + theirs);
    else if (fresh)
      for (auto& [other, variable] : variables)
        if (other != theirs && variable == ours && ours != 0)
          differ(where + " shares a dtype variable with inputs of " + other);
  }

  static bool same_number(double a, const json& b) {
    return b.is_number() && std::fabs(a - b.get<double>()) <= 1e-6 * std::fabs(a);
  }
  static bool same_default(const Attribute& ours, const json& theirs) {
    if (auto* v = std::get_if<bool>(&ours)) return theirs.is_boolean() && *v == theirs.get<bool>();
    if (auto* v = std::get_if<std::int64_t>(&ours)) return same_number(double(*v), theirs);
    if (auto* v = std::get_if<double>(&ours)) return same_number(*v, theirs);
    if (auto* v = std::get_if<std::string>(&ours))
      return theirs.is_null() ? v->empty() : theirs.is_string() && *v == theirs.get<std::string>();
    if (auto* v = std::get_if<Ints>(&ours))
      return theirs.is_null()    ? v->empty()
             : theirs.is_array() ? *v == theirs.get<Ints>()
                                 : *v == Ints{theirs.get<std::int64_t>()};
    if (auto* v = std::get_if<Floats>(&ours))  // a Scalar: dtype and value
      return v->size() == 2 && same_number((*v)[1], theirs);
    return theirs.is_null();
  }
  void compare_default(const json& input, const std::string& where, const Attribute& ours) {
    const json& defaults = record["defaults"];
    std::string input_name = input["name"];
    if (!defaults.contains(input_name)) return;
    if (!same_default(ours, defaults[input_name]))
      differ(where + " defaults to " + to_string(ours) + ", not " + defaults[input_name].dump());
  }
};

std::string label(const json& record) {
  return record["op"].get<std::string>() + " of " + record["since"].get<std::string>();
}

TEST(Catalogue, AgreesWithTheRegistryInEveryClassVersion) {
  json registry = read_registry();
  if (registry.is_null()) GTEST_SKIP() << "POMONA_REGISTRY names no registry";
  ASSERT_TRUE(registry.is_object()) << std::getenv("POMONA_REGISTRY") << " is not JSON";
  std::size_t agreeing = 0;
  for (const json& record : registry["ops"]) {
    Target opset = target_named(record["since"].get<std::string>()).value_or(never);
    std::string op_name = record["op"];
    const OpDef* op = mil::find_op(op_name, opset);
    if (!op) {
      ADD_FAILURE() << label(record) << ": missing";
      continue;
    }
    if (op->structural) {  // const: its literal is on the node
      ++agreeing;
      continue;
    }
    Comparison comparison{*op, record, opset, {}, {}};
    comparison.compare_fields();
    for (const std::string& difference : comparison.differences) ADD_FAILURE() << label(record) << ": " << difference;
    agreeing += comparison.differences.empty();
  }
  EXPECT_EQ(agreeing, registry["ops"].size());
  EXPECT_EQ(registry["ops"].size(), 226u);
}

TEST(Catalogue, HasTheRegistrysClassVersionsAndNoOthers) {
  json registry = read_registry();
  if (registry.is_null()) GTEST_SKIP() << "POMONA_REGISTRY names no registry";
  std::map<std::string, Words> wanted, found;
  for (const json& record : registry["ops"]) wanted[record["op"]].insert(record["since"].get<std::string>());
  for (const OpDef* op : mil::catalogue())
    for (Target version : op->versions()) found[std::string(op->name)].insert(std::string(name(version)));
  for (auto& [op_name, versions] : wanted) {
    if (!found.contains(op_name)) continue;  // the other test names it
    EXPECT_EQ(join(found[op_name]), join(versions)) << op_name;
  }
}

}  // namespace
}  // namespace pomona
