#include "api/inspect.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "api/files.h"
#include "api/inspect_checkpoint.h"
#include "formats/mlpackage/package.h"
#include "formats/onnx/proto.h"
#include "ir/border.h"
#include "ir/op.h"

namespace pomona::api {
namespace {

std::string range_text(const Feature::Range& range) {
  if (range.lower == range.upper) return std::to_string(range.lower);
  return range.upper < 0 ? fmt::format("{}..", range.lower) : fmt::format("{}..{}", range.lower, range.upper);
}

std::string_view color_name(int color_space) {
  switch (color_space) {
    case 10:
      return "grayscale";
    case 20:
      return "RGB";
    case 30:
      return "BGR";
    case 40:
      return "grayscale fp16";
  }
  return "of unknown colours";
}

std::string shape_text(const Feature& feature) {
  if (!feature.enumerated.empty()) {
    std::string all;
    for (const Sizes& sizes : feature.enumerated) all += (all.empty() ? "" : " or ") + to_string(sizes);
    return all;
  }
  if (!feature.ranges.empty()) {
    std::string all = "[";
    for (const Feature::Range& range : feature.ranges) all += (all.size() > 1 ? ", " : "") + range_text(range);
    return all + "]";
  }
  return feature.has_shape ? to_string(feature.shape) : "of any shape";
}

class Inspector {
 public:
  explicit Inspector(Inspection& found) : found_(found) {}

  void look_at(const Function& function) {
    FunctionFacts facts;
    facts.name = function.name;
    facts.opset = function.opset;
    for (std::size_t i = 0; i < function.body.input_count(); ++i) {
      Value input = function.body.input(i);
      bool state = input.type().kind == Type::Kind::state;
      (state ? facts.states : facts.inputs).push_back(line_of(state ? function.states : function.inputs, input));
    }
    for (Value result : function.body.results()) facts.outputs.push_back(line_of(function.outputs, result));
    look_at(function.body, facts);
    facts.open_sizes = open_sizes(function);
    found_.functions.push_back(std::move(facts));
  }

 private:
  // Importers describe what they must; what they leave out is read off the value.
  static FeatureLine line_of(const std::vector<Feature>& features, Value value) {
    for (const Feature& feature : features) {
      if (feature.name != value.name()) continue;
      bool open = feature.kind == Feature::Kind::array && !feature.has_shape && feature.ranges.empty() &&
                  feature.enumerated.empty();
      return {feature, open ? value_text(value) : feature_text(feature)};
    }
    return {feature_of(value), value_text(value)};
  }
  static std::string value_text(Value value) {
    return fmt::format("{} {}", name(value.dtype()), to_string(value.shape()));
  }

  void look_at(const Block& block, FunctionFacts& facts) {
    for (const auto& node : block.nodes()) {
      for (const auto& inner : node->blocks) look_at(*inner, facts);
      if (node->literal) {
        look_at_constant(*node);
        continue;
      }
      ++facts.ops[std::string(node->op->name)];
      if (Target oldest = oldest_target(*node); oldest > facts.needs) {
        facts.needs = oldest;
        facts.needs_because = node->label();
      }
      if (node->op->constexpr_op) note_decoded(*node);
      std::string types;
      for (std::size_t i = 0; i < node->output_count(); ++i) types += (i ? ", " : "") + node->output(i).type().text();
      found_.ops.push_back({node->name, std::string(node->op->name), node->source, types});
    }
  }

  void look_at_constant(const Node& node) {
    const Weight& weight = node.literal;
    if (weight.dtype() == DType::string || !seen_.insert(weight.identity()).second) return;
    const OpDef* decoder = nullptr;
    for (const Node* user : node.output().users())
      if (user->op && user->op->constexpr_op) decoder = user->op;
    std::string kind(name(weight.dtype()));
    if (decoder) kind += fmt::format(" ({})", decoder->name);
    found_.bytes_by_kind[kind] += weight.stored_size();
    if (decoder) return;
    found_.parameters += weight.count();
    if (weight.sizes().empty()) return;
    found_.weights.push_back({node.output().name(), "dense", weight.type(), weight.count(), weight.stored_size()});
  }

  // A decoded weight counts as the numbers it stands for, and costs what it is decoded from.
  void note_decoded(const Node& node) {
    Value value = node.output();
    for (const Node* user : value.users())
      if (user->op && user->op->constexpr_op) return;
    if (!all_known(value.shape())) return;
    std::uint64_t parameters = std::uint64_t(element_count(known_sizes(value.shape()))), bytes = 0;
    for (Value input : node.inputs())
      if (const Weight* weight = input.literal()) bytes += weight->stored_size();
    found_.parameters += parameters;
    found_.weights.push_back({value.name(), std::string(node.op->name), value.type(), parameters, bytes});
  }

  Inspection& found_;
  std::set<std::string> seen_;
};

}  // namespace

std::string feature_text(const Feature& feature) {
  switch (feature.kind) {
    case Feature::Kind::image:
      return fmt::format("image {} {}", color_name(feature.color_space), shape_text(feature));
    case Feature::Kind::int64:
      return "int64";
    case Feature::Kind::real:
      return "double";
    case Feature::Kind::string:
      return "string";
    case Feature::Kind::dictionary:
      return fmt::format("dictionary by {}", name(feature.dtype));
    case Feature::Kind::sequence:
      return fmt::format("sequence of {}", name(feature.dtype));
    case Feature::Kind::array:
      break;
  }
  std::string text = fmt::format("{} {}", name(feature.dtype), shape_text(feature));
  if (feature.optional) text += fmt::format(", optional ({})", feature.default_value.value_or(0));
  return text;
}

Inspection inspect(const Model& model) {
  Inspection found;
  found.path = model.path;
  found.format = model.format;
  found.file_bytes = size_on_disk(model.path);
  found.default_function = model.program.default_function;
  found.metadata = model.program.metadata;
  Inspector inspector(found);
  for (const auto& function : model.program.functions) inspector.look_at(*function);
  return found;
}

namespace {

// A model that cannot be imported may still be whole: an ONNX file with unknown operators, a Core ML model of another
// kind, a format that is known by sight only.
Result<bool> is_damaged(const std::string& path) {
  std::string format = POM_TRY(format_of(path));
  std::error_code ignored;
  // A member that is not there is no damage, but an error all the same.
  if (path.find('#') != path.npos && !std::filesystem::exists(path, ignored)) return true;
  if (format == onnx_name) return !onnx::parse_model(POM_TRY(map_file(path)));
  if (format == package_name || format == model_file_name) return POM_TRY(mlpackage::holds_program(path));
  return format == mil_text_name;
}

}  // namespace

Result<Inspection> inspect(const std::string& path) {
  if (auto format = format_of(path); format && is_checkpoint_format(*format)) return inspect_checkpoint(path, *format);
  auto model = open_model(path);
  if (model) return inspect(*model);
  if (model.error().fault != Fault::request || POM_TRY(is_damaged(path))) return std::move(model).error();
  Inspection found;
  found.path = path;
  found.format = POM_TRY(format_of(path));
  found.file_bytes = size_on_disk(path);
  found.obstacle = describe(model.error());
  return found;
}

}  // namespace pomona::api
