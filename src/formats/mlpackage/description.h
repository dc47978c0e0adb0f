// Model.proto's ModelDescription: what a model's users see. To and from Feature and Metadata.
//
//   ModelDescription d = POM_TRY(read_description(message));
//   std::string bytes = description_bytes(program);
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

// The description of a program whose functions have complete features (see described()).
std::string description_bytes(const Program& program);

// The function's features, with those that the function lacks made from its inputs, outputs and states. Errors: a
// dimension is not known and nobody said in which limits it may be.
Result<FunctionDescription> described(const Function& function);

}  // namespace pomona::mlpackage
