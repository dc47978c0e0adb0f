#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "ir/builder.h"
#include "ops/elementwise_unary.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

// The dtype a border value of this dtype is given.
DType border_dtype(DType dtype, Target opset, bool half) {
  if (half && opset >= iOS16 && (dtype == DType::fp32 || dtype == DType::fp16)) return DType::fp16;
  if (dtype == DType::fp32 || dtype == DType::int32 || dtype == DType::string) return dtype;
  if (dtype == DType::fp16) return opset >= iOS16 ? DType::fp16 : DType::fp32;
  if (dtype == DType::int8 && opset >= iOS26) return dtype;
  return is_integer(dtype) ? DType::int32 : DType::fp32;
}

Feature& feature_for(std::vector<Feature>& features, Value value) {
  auto at = std::find_if(features.begin(), features.end(), [&](const Feature& f) { return f.name == value.name(); });
  if (at != features.end()) return *at;
  Feature& feature = features.emplace_back();
  feature.name = value.name();
  feature.dtype = value.dtype();
  if (value.type().kind == Type::Kind::dictionary) {
    feature.kind = Feature::Kind::dictionary;
    feature.dtype = value.type().key;
  } else if (value.dtype() == DType::string) {
    feature.kind = Feature::Kind::string;
  }
  feature.has_shape = all_known(value.shape());
  if (feature.has_shape) feature.shape = known_sizes(value.shape());
  return feature;
}

class Border {
 public:
  Border(Function& function, const BorderOptions& options) : function_(function), options_(options) {}

  Result<std::vector<std::string>> run() {
    for (std::size_t i = 0; i < function_.body.input_count(); ++i) POM_TRY(adapt_input(function_.body.input(i)));
    Values results = function_.body.results();
    // Outputs are called what their features are called: a result may be a value that has another name of its own.
    bool described = function_.outputs.size() == results.size();
    std::vector<std::string> names;
    for (std::size_t i = 0; i < results.size(); ++i)
      names.push_back(described ? function_.outputs[i].name : results[i].name());
    std::set<const ValueInfo*> seen;
    for (std::size_t i = 0; i < results.size(); ++i)
      POM_TRY(adapt_output(results[i], names[i], !seen.insert(&results[i].info()).second));
    function_.body.set_results(results);
    return std::move(sentences_);
  }

 private:
  Status adapt_input(Value input) {
    if (input.type().kind == Type::Kind::state) {
      feature_for(function_.states, input);
      return {};
    }
    Feature& feature = feature_for(function_.inputs, input);
    if (feature.kind == Feature::Kind::image) return {};
    DType inside = input.dtype(), outside = border_dtype(inside, function_.opset, options_.half);
    bool scalar = input.rank() == 0;
    feature.dtype = outside;
    if (outside == inside && !scalar) return {};
    auto& nodes = function_.body.nodes();
    Builder g(function_.body, nodes.empty() ? nullptr : nodes.front().get());
    std::vector<Node*> users = input.users();
    input.info().type = tensor_type(outside, scalar ? Shape{1} : input.shape());
    if (scalar) feature.shape = {1};
    feature.has_shape = feature.has_shape || scalar;
    Value value = input;
    if (outside != inside)
      value = g.add(mil::cast{.x = value, .dtype = std::string(name(inside))},
                    input.name() + "_to_" + std::string(name(inside)));
    if (scalar && value) value = g.add(mil::squeeze{.x = value, .axes = Ints{0}}, input.name() + "_scalar");
    POM_TRY_IN(Status(g.status()), "input '{}'", input.name());
    for (Node* user : users)
      for (std::size_t i = 0; i < user->inputs().size(); ++i)
        if (user->inputs()[i] == input) user->set_input(i, value);
    describe("input", input.name(), inside, outside, scalar);
    return {};
  }

  // `again`: the value is a result already, and each result needs a name of its own.
  Status adapt_output(Value& result, std::string output, bool again) {
    const Node* maker = result.producer();
    bool is_label = maker && maker->op && maker->op->name == "classify";
    bool plain = result.type().kind == Type::Kind::tensor && result.dtype() != DType::string && !is_label;
    if (again && result.name() == output) output += "_again";
    bool given = !result.producer() || result.is_weight();  // not computed: an input or a constant
    Value named = result;
    std::string before = result.name();
    if (result.is_weight() && before == output) result.set_name(output + "_constant");
    DType inside = result.dtype(), outside = plain ? border_dtype(inside, function_.opset, options_.half) : inside;
    if (const Feature* feature = find_feature(output); feature && feature->kind == Feature::Kind::image)
      outside = inside;
    bool scalar = plain && result.rank() == 0;
    if (outside != inside || scalar || again || given) {
      Builder g(function_.body);
      if (!given && !again) result.set_name(before + "_inside");
      if (outside != inside) named = g.add(mil::cast{.x = named, .dtype = std::string(name(outside))});
      if (scalar && named) named = g.add(mil::expand_dims{.x = named, .axes = Ints{0}});
      if (named == result) named = g.add(mil::identity{.x = named});
      POM_TRY_IN(Status(g.status()), "output '{}'", output);
      describe("output", output, inside, outside, scalar);
    }
    named.set_name(output);
    result = named;
    Feature& feature = feature_for(function_.outputs, named);
    if (is_label && named.dtype() == DType::int64) feature.kind = Feature::Kind::int64;
    if (!plain || feature.kind == Feature::Kind::image) return {};
    feature.dtype = outside;
    feature.has_shape = all_known(named.shape());
    feature.shape = feature.has_shape ? known_sizes(named.shape()) : Sizes();
    return {};
  }
  const Feature* find_feature(const std::string& wanted) const {
    for (const Feature& feature : function_.outputs)
      if (feature.name == wanted) return &feature;
    return nullptr;
  }

  void describe(std::string_view what, const std::string& feature, DType inside, DType outside, bool scalar) {
    if (inside != outside)
      sentences_.push_back(fmt::format("{} '{}' is {} instead of {}", what, feature, name(outside), name(inside)));
    if (scalar) sentences_.push_back(fmt::format("{} '{}' has shape [1] instead of rank 0", what, feature));
  }

  Function& function_;
  const BorderOptions& options_;
  std::vector<std::string> sentences_;
};

}  // namespace

Result<std::vector<std::string>> adapt_border(Program& program, const BorderOptions& options) {
  std::vector<std::string> sentences;
  for (auto& function : program.functions) {
    auto found = POM_TRY_IN(Border(*function, options).run(), "function '{}'", function->name);
    sentences.insert(sentences.end(), found.begin(), found.end());
  }
  return sentences;
}

}  // namespace pomona::rewrite
