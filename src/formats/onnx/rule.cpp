#include "formats/onnx/rule.h"

#include <algorithm>
#include <map>

namespace pomona::onnx {
namespace {

Attribute attribute_value(const AttributeProto& a) {
  switch (a.type) {
    case FLOAT:
      return double(a.f);
    case INT:
      return a.i;
    case STRING:
      return std::string(a.s);
    case FLOATS:
      return Floats(a.floats.begin(), a.floats.end());
    case INTS:
      return Ints(a.ints);
    case STRINGS:
      return Strings(a.strings.begin(), a.strings.end());
    default:
      return {};
  }
}

bool exists(const FieldRule& rule, int opset) { return rule.since <= opset && opset < rule.until; }

Status set_attribute(Field& field, const FieldRule& rule, const AttributeProto& a) {
  if (rule.kind == FieldRule::Kind::tensor) {
    POM_REQUIRE(a.t, "attribute '{}' is no tensor", a.name);
    static_cast<TensorField&>(field).proto = a.t.get();
    return {};
  }
  if (rule.kind == FieldRule::Kind::type) return {};
  if (rule.kind == FieldRule::Kind::graph) {
    POM_REQUIRE(a.g, "attribute '{}' is no graph", a.name);
    static_cast<GraphField&>(field).proto = a.g.get();
    return {};
  }
  Attribute value = attribute_value(a);
  POM_REQUIRE(value.index() != 0 && field.info().set(field, value), "attribute '{}' has a value that does not fit",
              a.name);
  return {};
}

Status fill_attributes(const RecordInfo& record, void* rule, const NodeCall& call, int opset) {
  std::vector<bool> given(record.fields.size());
  for (const AttributeProto& a : call.attributes) {
    bool known = false;
    std::vector<std::string_view> names;
    for (std::size_t i = 0; i < record.fields.size() && !known; ++i) {
      Field& field = record.at(rule, i);
      const auto& detail = *static_cast<const FieldRule*>(field.info().detail);
      if (detail.kind == FieldRule::Kind::input || detail.kind == FieldRule::Kind::variadic) continue;
      if (!exists(detail, opset)) continue;
      names.push_back(field.info().name);
      if (field.info().name != a.name) continue;
      POM_TRY(set_attribute(field, detail, a));
      known = given[i] = true;
    }
    if (!known) {
      std::string near = nearest_word(a.name, names);
      return fail("attribute '{}' is not part of this operator at operator set {}{}", a.name, opset,
                  near.empty() ? "" : " (did you mean '" + near + "'?)");
    }
  }
  for (std::size_t i = 0; i < record.fields.size(); ++i) {
    const auto& detail = *static_cast<const FieldRule*>(record.fields[i]->detail);
    bool attribute = detail.kind != FieldRule::Kind::input && detail.kind != FieldRule::Kind::variadic;
    POM_REQUIRE(!attribute || !detail.required || given[i] || !exists(detail, opset), "attribute '{}' is missing",
                record.fields[i]->name);
  }
  return {};
}

}  // namespace

Status fill_rule(const RecordInfo& record, void* rule, const NodeCall& call, int opset) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < record.fields.size(); ++i) {
    Field& field = record.at(rule, i);
    const auto& detail = *static_cast<const FieldRule*>(field.info().detail);
    if (!exists(detail, opset)) continue;
    if (detail.kind == FieldRule::Kind::variadic) {
      for (; next < call.inputs.size(); ++next) {
        POM_REQUIRE(call.inputs[next], "input {} is missing", next);
        POM_REQUIRE(!call.inputs[next].items || detail.sequence, "input {} is a sequence, not a tensor", next);
        POM_REQUIRE(!call.inputs[next].is_text(),
                    "input {} is a classifier's label in words or its map of scores, which can only be an output",
                    next);
        static_cast<VariadicField&>(field).entries.push_back(call.inputs[next]);
      }
    } else if (detail.kind == FieldRule::Kind::input) {
      auto& input = static_cast<InputField&>(field);
      if (next < call.inputs.size()) input.set(call.inputs[next]);
      POM_REQUIRE(!detail.required || input.entry(), "input '{}' is missing", field.info().name);
      POM_REQUIRE(!input.entry().is_text() || detail.sequence,
                  "input '{}' is a classifier's label in words or its map of scores, which can only be an output",
                  field.info().name);
      POM_REQUIRE(!input.entry().items || detail.sequence, "input '{}' is a sequence, not a tensor", field.info().name);
      ++next;
    }
  }
  for (std::size_t extra = next; extra < call.inputs.size(); ++extra)
    POM_REQUIRE(!call.inputs[extra], "there are {} inputs, but operator set {} takes {}", call.inputs.size(), opset,
                next);
  return fill_attributes(record, rule, call, opset);
}

const Rules& all_rules() {
  static const Rules all = [] {
    constexpr Rules (*chapters[])() = {math_chapter,
                                       logical_chapter,
                                       activation_chapter,
                                       reduction_chapter,
                                       shape_chapter,
                                       generator_chapter,
                                       gather_scatter_chapter,
                                       matrix_chapter,
                                       attention_chapter,
                                       convolution_chapter,
                                       pooling_chapter,
                                       normalization_chapter,
                                       padding_chapter,
                                       resize_chapter,
                                       recurrent_chapter,
                                       quantization_chapter,
                                       spectral_chapter,
                                       loss_chapter,
                                       control_flow_chapter,
                                       sequence_chapter,
                                       sampling_chapter,
                                       selection_chapter,
                                       contrib_chapter,
                                       contrib_attention_chapter,
                                       contrib_plain_chapter,
                                       contrib_quantization_chapter,
                                       ml_chapter,
                                       ml_classifier_chapter,
                                       ml_svm_chapter,
                                       ml_tree_chapter};
    Rules all;
    for (auto chapter : chapters)
      for (const Rule& rule : chapter()) all.push_back(rule);
    return all;
  }();
  return all;
}

const Rule* find_rule(std::string_view domain, std::string_view op, std::int64_t opset) {
  static const auto by_name = [] {
    std::multimap<std::string_view, const Rule*> map;
    for (const Rule& rule : all_rules()) map.emplace(rule.op, &rule);
    return map;
  }();
  if (domain == "ai.onnx") domain = {};
  auto [first, last] = by_name.equal_range(op);
  for (; first != last; ++first) {
    const Rule& rule = *first->second;
    if (rule.domain == domain && rule.since <= opset && opset < rule.until) return &rule;
  }
  return nullptr;
}

}  // namespace pomona::onnx
