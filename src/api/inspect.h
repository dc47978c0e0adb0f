// What a model is: its format and versions, its border, its ops, its weights, and what stands in the way of a
// conversion.
//
//   Inspection found = POM_TRY(inspect("model.onnx"));
#pragma once
#include "api/model.h"

namespace pomona::api {

struct WeightLine {
  std::string name, scheme;  // "dense", or the op that decodes it
  Type type;
  std::uint64_t parameters = 0, bytes = 0;
};
struct OpLine {
  std::string name, op, source, types;
};
struct FeatureLine {
  Feature feature;
  std::string type;  // A feature's type, in words.
  std::string feature_text(const Feature& feature);

}  // namespace pomona::api
