#include "rewrite/fix_shapes.h"

#include <algorithm>

#include "ir/border.h"
#include "ir/builder.h"

namespace pomona::rewrite {
namespace {

bool allows(const Feature& feature, std::size_t axis, std::int64_t size) {
  if (axis >= feature.ranges.size()) return true;
  const Feature::Range& range = feature.ranges[axis];
  return size >= range.lower && (range.upper < 0 || size <= range.upper);
}

// Which of a feature's sizes an axis is: a picture has its height and width only, behind batch and channels.
std::size_t feature_axis(const Feature& feature, std::size_t axis, std::size_t rank) {
  return feature.kind == Feature::Kind::image ? axis - (rank - 2) : axis;
}

Status fix_input(Function& function, Feature& feature, const Sizes& sizes) {
  Value input = function.body.input(feature.name);
  POM_REQUIRE(sizes.size() == input.rank(), "it has {} dims, and {} are given", input.rank(), sizes.size());
  Shape shape = input.shape();
  Sizes fixed;
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    if (sizes[axis] < 0) continue;
    POM_REQUIRE(!shape[axis].known() || shape[axis].value() == sizes[axis], "its size along axis {} is {}, not {}",
                axis, shape[axis].text(), sizes[axis]);
    std::size_t own = feature_axis(feature, axis, sizes.size());
    POM_REQUIRE(shape[axis].known() || allows(feature, own, sizes[axis]),
                "its size along axis {} lies between {} and {}, and {} is given", axis, feature.ranges[own].lower,
                feature.ranges[own].upper, sizes[axis]);
    shape[axis] = sizes[axis];
    if (own < feature.shape.size()) feature.shape[own] = sizes[axis];
    if (own < feature.ranges.size()) feature.ranges[own] = {sizes[axis], sizes[axis]};
  }
  bool listed =
      feature.enumerated.empty() || std::ranges::find(feature.enumerated, feature.shape) != feature.enumerated.end();
  POM_REQUIRE(listed, "{} is none of the shapes that it allows", to_string(feature.shape));
  feature.enumerated.clear();
  auto open = [](const Feature::Range& range) { return range.lower != range.upper; };
  if (std::ranges::none_of(feature.ranges, open)) feature.ranges.clear();
  input.info().type.shape = shape;
  return {};
}

Status infer_block(Block& block) {
  for (auto& node : block.nodes()) {
    for (auto& inner : node->blocks) POM_TRY(infer_block(*inner));
    POM_TRY(infer_again(*node));
  }
  return {};
}

void close_outputs(Function& function) {
  for (Feature& feature : function.outputs)
    for (Value result : function.body.results())
      if (result.name() == feature.name && feature.kind == Feature::Kind::array && all_known(result.shape())) {
        feature.shape = known_sizes(result.shape());
        feature.ranges.clear();
        feature.enumerated.clear();
      }
}

}  // namespace

Status fix_shapes(Program& program, const std::map<std::string, Sizes>& shapes) {
  for (const auto& [name, sizes] : shapes) {
    bool found = false;
    for (auto& function : program.functions)
      for (Feature& feature : function->inputs) {
        if (feature.name != name) continue;
        found = true;
        POM_TRY_IN(fix_input(*function, feature, sizes), "input '{}' of function '{}'", name, function->name);
      }
    POM_REQUIRE(found, "the program has no input '{}'", name);
  }
  for (auto& function : program.functions) {
    POM_TRY_IN(infer_block(function->body), "function '{}', with the sizes given", function->name);
    close_outputs(*function);
  }
  return {};
}

}  // namespace pomona::rewrite
