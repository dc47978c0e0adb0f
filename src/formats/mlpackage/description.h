// Model.proto's ModelDescription: what a model's users see. To and from Feature and Metadata.
//
//   ModelDescription d = POM_TRY(read_description(message));
//   std::string bytes = description_bytes(POM_TRY(described(program)));
#pragma once
#include <string>
#include <vector>

#include "formats/mlpackage/wire.h"
#include "ir/program.h"

namespace pomona::mlpackage {

struct FunctionDescription {
  std::string name;  // empty: the model in the single-function form
  std::vector<Feature> inputs, outputs, states;
  std::string predicted_feature, predicted_probabilities;
};
struct ModelDescription {
  FunctionDescription single;
  std::vector<FunctionDescription> functions;
  std::string default_function;
  Metadata metadata;
};
Result<ModelDescription> read_description(Message message);

std::string description_bytes(const ModelDescription& description);

// The program's description, with features for the inputs, outputs and states that it has none of. Errors: an input has
// a dimension whose limits nobody gave; a feature without a value.
Result<ModelDescription> described(const Program& program);

}  // namespace pomona::mlpackage
