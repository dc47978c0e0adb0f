// Where factors of a value's channels can be moved: into the constants that make the value.
//
//   auto fold = find_fold(value, axis);           // none: nothing takes them
//   POM_TRY(fold->apply(scales));                 // value becomes value / scales
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/program.h"

namespace pomona::compress {

using Scales = std::shared_ptr<const std::vector<float>>;

// A constant input of a node, the axis of it that runs along the channels, and whether it takes the factors or, as
// the weight of a layer, their opposite.
struct FoldPlace {
  Node* node = nullptr;
  std::string field;
  std::size_t axis = 0;
};
struct Fold {
  std::vector<FoldPlace> places;
  std::vector<std::pair<Value, std::size_t>> values;  // that change with it, and their channels' axis
};
// Of a value whose readers are all known to take it scaled.
std::optional<Fold> find_fold(Value value, std::size_t axis);
// Divides the constants by the scales, in the function of the fold.
Status apply_fold(const Fold& fold, const Scales& scales);
// The constant with its elements along the axis multiplied, or divided, by the scales.
Weight times_scales(const Weight& weight, std::size_t axis, const Scales& scales, bool divide);
// Makes a constant that one input of the node reads, instead of the one that it has.
Status set_constant(Node& node, std::string_view field, Weight weight);

}  // namespace pomona::compress
