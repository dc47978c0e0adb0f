#include "ir/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "ir/call.h"
#include "ir/naming.h"
#include "ir/walk.h"

namespace pomona {
namespace {

constexpr std::size_t most_reported = 20, highest_rank = 5, highest_list_rank = 4;

template <class Visit>
void each_value(const Block& block, Visit&& visit) {
  for (std::size_t i = 0; i < block.input_count(); ++i) visit(block.input(i));
  for (const auto& node : block.nodes()) {
    for (std::size_t i = 0; i < node->output_count(); ++i) visit(node->output(i));
    for (const auto& inner : node->blocks) each_value(*inner, visit);
  }
}
std::string value_place(Value value) {
  return value.producer() ? value.producer()->label() : fmt::format("input '{}'", value.name());
}

void check_order_in(const Block& block, std::unordered_set<const ValueInfo*> known, Findings& findings) {
  for (std::size_t i = 0; i < block.input_count(); ++i) known.insert(&block.input(i).info());
  auto check = [&](Value value, const std::string& place) {
    if (!known.contains(&value.info()))
      findings.push_back({"order", place, fmt::format("'{}' is used where it is not yet made", value.name())});
  };
  for (const auto& node : block.nodes()) {
    for (Value value : node->inputs()) check(value, node->label());
    for (const auto& inner : node->blocks) check_order_in(*inner, known, findings);
    for (std::size_t i = 0; i < node->output_count(); ++i) known.insert(&node->output(i).info());
  }
  for (Value value : block.results()) check(value, "results");
}
void check_order(const Function& function, Findings& findings) { check_order_in(function.body, {}, findings); }

void check_types(const Function& function, Findings& findings) {
  each_node(function.body, [&](const Node& node) {
    if (node.op->structural) return;
    auto operands = operands_of(node);
    auto types = infer_types(*node.op, node.attributes, operands, {function.opset, &node, nullptr});
    if (!types) {
      findings.push_back({"types", node.label(), types.error().what});
      return;
    }
    if (types->size() != node.output_count())
      findings.push_back(
          {"types", node.label(), fmt::format("has {} results, not {}", node.output_count(), types->size())});
    for (std::size_t i = 0; i < std::min(types->size(), node.output_count()); ++i) {
      const Type &inferred = (*types)[i], &held = node.output(i).type();
      if (!agreed_type(inferred, held))
        findings.push_back({"types", node.label(),
                            fmt::format("result {} is held to be {}, but is {}", i, held.text(), inferred.text())});
    }
  });
}

void check_constants(const Function& function, Findings& findings) {
  each_node(function.body, [&](const Node& node) {
    for (std::size_t i = 0; i < node.op->inputs.size(); ++i) {
      const InputRule& rule = OpDef::rule(node.op->inputs[i]);
      if (!rule.constant || (rule.constant_until != Target::never && function.opset >= rule.constant_until)) continue;
      for (Value value : node.inputs_of(i))
        if (!value.is_weight())
          findings.push_back({"constants", node.label(),
                              fmt::format("input '{}' must be constant, but '{}' is computed", node.op->inputs[i]->name,
                                          value.name())});
    }
  });
}

bool feeds_only_constexpr(Value value) {
  return value.is_weight() &&
         std::ranges::all_of(value.users(), [](const Node* user) { return user->op && user->op->constexpr_op; });
}

void check_ranks(const Function& function, Findings& findings) {
  each_value(function.body, [&](Value value) {
    std::size_t highest = value.type().kind == Type::Kind::list ? highest_list_rank : highest_rank;
    if (value.rank() > highest && !feeds_only_constexpr(value))
      findings.push_back({"ranks", value_place(value),
                          fmt::format("'{}' is {}, of a rank above {}", value.name(), value.type().text(), highest)});
  });
}

void check_names(const Function& function, Findings& findings) {
  std::unordered_set<std::string> seen;
  auto check = [&](Value value, const char* what) {
    std::string place = fmt::format("{} '{}'", what, value.name());
    if (!is_legal_name(value.name())) findings.push_back({"names", place, "the name is not one that MIL allows"});
    if (!seen.insert(value.name()).second) findings.push_back({"names", place, "the name is used twice"});
  };
  for (std::size_t i = 0; i < function.body.input_count(); ++i) check(function.body.input(i), "input");
  for (Value result : function.body.results())
    if (result.producer()) check(result, "output");
}

void check_opset(const Function& function, Findings& findings) {
  each_node(function.body, [&](const Node& node) {
    Target oldest = oldest_target(node);
    bool gone = node.op->until != Target::never && function.opset >= node.op->until;
    if (oldest > function.opset)
      findings.push_back({"opset", node.label(),
                          fmt::format("needs {}, but the function is for {}", name(oldest), name(function.opset))});
    if (gone)
      findings.push_back({"opset", node.label(), fmt::format("is another op from {} on", name(node.op->until))});
  });
}

void check_states(const Function& function, Findings& findings) {
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value state = function.body.input(i);
    if (state.type().kind != Type::Kind::state) continue;
    auto find = [&](std::string text) { findings.push_back({"states", value_place(state), std::move(text)}); };
    if (function.opset < Target::iOS18)
      find(fmt::format("states need iOS18, but the function is for {}", name(function.opset)));
    if (!all_known(state.shape()))
      find(fmt::format("a state's shape must be known, but it is {}", state.type().text()));
    if (state.dtype() != DType::fp16 && state.dtype() != DType::int8)
      find(fmt::format("a state is fp16 or int8, not {}", name(state.dtype())));
  }
  each_value(function.body, [&](Value value) {
    if (value.type().kind == Type::Kind::state && (value.producer() || value.block() != &function.body))
      findings.push_back({"states", value_place(value), "only inputs of the function may be states"});
  });
  for (Value result : function.body.results())
    if (result.type().kind == Type::Kind::state)
      findings.push_back({"states", value_place(result), "a state may not be a result"});
}

bool is_interface_dtype(DType dtype, Target opset) {
  return dtype == DType::fp32 || dtype == DType::int32 || (dtype == DType::fp16 && opset >= Target::iOS16) ||
         (dtype == DType::int8 && opset >= Target::iOS26);
}

void check_interface(const Function& function, Findings& findings) {
  auto is_image = [](const std::vector<Feature>& features, const std::string& name) {
    return std::ranges::any_of(features,
                               [&](const Feature& f) { return f.name == name && f.kind == Feature::Kind::image; });
  };
  auto wrong_dtype = [&](Value value, const char* what) {
    findings.push_back(
        {"interface", fmt::format("{} '{}'", what, value.name()),
         fmt::format("{} may not be passed in or out with {}", value.type().text(), name(function.opset))});
  };
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    if (input.type().kind == Type::Kind::state) continue;
    bool gray =
        input.dtype() == DType::uint8 && function.opset >= Target::iOS17 && is_image(function.inputs, input.name());
    bool tensor = input.type().kind == Type::Kind::tensor;
    if (!tensor || (!gray && !is_interface_dtype(input.dtype(), function.opset))) wrong_dtype(input, "input");
  }
  for (Value result : function.body.results()) {
    // A classifier's label and probabilities.
    bool label = result.rank() == 0 && (result.dtype() == DType::string || result.dtype() == DType::int64);
    Type::Kind kind = result.type().kind;
    if (label || kind == Type::Kind::dictionary) continue;
    if (kind != Type::Kind::tensor || !is_interface_dtype(result.dtype(), function.opset))
      wrong_dtype(result, "output");
  }
}

void check_results(const Function& function, Findings& findings) {
  if (function.body.results().empty()) findings.push_back({"results", "results", "the function returns nothing"});
  if (function.body.input_count() == 0 && function.opset < Target::iOS18)
    findings.push_back(
        {"results", "inputs", fmt::format("a function without inputs needs iOS18, not {}", name(function.opset))});
}

bool runs_on(DType dtype, Target opset) {
  switch (dtype) {
    case DType::fp16:
    case DType::fp32:
    case DType::int32:
    case DType::boolean:
    case DType::string:
      return true;
    case DType::int8:
    case DType::uint8:
    case DType::int16:
    case DType::uint16:
      return opset >= Target::iOS17;
    default:
      return false;
  }
}

void check_dtypes(const Function& function, Findings& findings) {
  each_value(function.body, [&](Value value) {
    if (value.is_weight() || value.type().kind == Type::Kind::dictionary) return;
    bool label = value.rank() == 0 && value.dtype() == DType::int64 && value.producer();
    if (!label && !runs_on(value.dtype(), function.opset) && !is_interface_dtype(value.dtype(), function.opset))
      findings.push_back({"dtypes", value_place(value),
                          fmt::format("'{}' is {}, which {} cannot compute with", value.name(), name(value.dtype()),
                                      name(function.opset))});
  });
}

void check_features_of(const std::vector<Feature>& features, const Values& values, const char* what,
                       Findings& findings) {
  for (const Feature& feature : features) {
    std::string place = fmt::format("{} '{}'", what, feature.name);
    auto at = std::ranges::find_if(values, [&](Value value) { return value.name() == feature.name; });
    if (at == values.end()) {
      findings.push_back({"features", place, "it is described, but the function does not have it"});
      continue;
    }
    if (feature.kind != Feature::Kind::array || at->type().kind == Type::Kind::dictionary) continue;
    if (feature.dtype != at->dtype())
      findings.push_back(
          {"features", place, fmt::format("it is described as {}, but is {}", name(feature.dtype), name(at->dtype()))});
    // A scalar input is described as one element.
    bool same_rank = feature.shape.size() == at->rank() || at->rank() == 0;
    if (feature.has_shape && !same_rank)
      findings.push_back(
          {"features", place,
           fmt::format("it is described as {}, but is {}", to_string(feature.shape), at->type().text())});
    for (std::size_t d = 0; feature.has_shape && same_rank && d < at->rank(); ++d)
      if (at->shape()[d].known() && at->shape()[d] != Dim(feature.shape[d]) && feature.enumerated.empty())
        findings.push_back(
            {"features", place,
             fmt::format("it is described as {}, but is {}", to_string(feature.shape), at->type().text())});
  }
}

void check_features(const Function& function, Findings& findings) {
  Values inputs, states;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    (input.type().kind == Type::Kind::state ? states : inputs).push_back(input);
  }
  check_features_of(function.inputs, inputs, "input", findings);
  check_features_of(function.states, states, "state", findings);
  check_features_of(function.outputs, function.body.results(), "output", findings);
}

// The first two keep the others from looking at a broken graph.
constexpr VerifyRule rules[] = {
    {"order", "every value is made before it is used, in a block that its user sees", check_order},
    {"types", "the types of results are those that follow from the operands", check_types},
    {"constants", "inputs that must be known when the model is loaded are constant", check_constants},
    {"ranks", "tensors have at most 5 dimensions, elements of lists 4; data of constexpr ops may have more",
     check_ranks},
    {"names", "inputs and outputs have legal and different names", check_names},
    {"opset", "the function's operator set has every op, input and dtype", check_opset},
    {"states", "states are fp16 or int8 inputs of known shape, used by state ops only, from iOS18 on", check_states},
    {"interface", "inputs and outputs have the dtypes that models may have", check_interface},
    {"dtypes", "values have dtypes that can be computed with", check_dtypes},
    {"results", "a function returns something, and takes something before iOS18", check_results},
    {"features", "descriptions of inputs, outputs and states fit them", check_features},
};

Status error_of(const Findings& findings, const std::string& function) {
  if (findings.empty()) return {};
  std::string text = fmt::format("function '{}' breaks {} rules", function, findings.size());
  if (findings.size() == 1) text = fmt::format("function '{}' breaks a rule", function);
  for (std::size_t i = 0; i < std::min(findings.size(), most_reported); ++i)
    text += fmt::format("\n  {}: {}: {}", findings[i].rule, findings[i].place, findings[i].text);
  if (findings.size() > most_reported) text += fmt::format("\n  and {} more", findings.size() - most_reported);
  return Error{std::move(text), {}, {}, Fault::request};
}

}  // namespace

std::span<const VerifyRule> verify_rules() { return rules; }

Findings findings_of(const Function& function) {
  Findings findings;
  for (const VerifyRule& rule : rules) {
    rule.check(function, findings);
    if (rule.name == "order" && !findings.empty()) break;
  }
  return findings;
}

Status verify(const Function& function) { return error_of(findings_of(function), function.name); }

Status verify(const Program& program) {
  POM_REQUIRE(!program.functions.empty(), "the program has no function");
  for (const auto& function : program.functions) POM_TRY(verify(*function));
  bool several = program.functions.size() > 1 || !program.default_function.empty();
  for (const auto& function : program.functions) {
    POM_REQUIRE(function->opset == program.functions[0]->opset, "functions '{}' and '{}' are for different systems",
                program.functions[0]->name, function->name);
    POM_REQUIRE(!several || function->opset >= Target::iOS18, "a model of several functions needs iOS18, not {}",
                name(function->opset));
  }
  if (program.default_function.empty()) {
    POM_REQUIRE(!several, "the program has {} functions, but none of them is the default one",
                program.functions.size());
    return {};
  }
  bool exists =
      std::ranges::any_of(program.functions, [&](const auto& f) { return f->name == program.default_function; });
  POM_REQUIRE(exists, "the default function '{}' does not exist", program.default_function);
  return {};
}

}  // namespace pomona
