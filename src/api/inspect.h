// What a model is: its format and versions, its border, its ops, its weights, and what stands in the way of a
// conversion.
//
//   Inspection found = POM_TRY(inspect("model.onnx"));
#pragma once
#include "api/model.h"
#include "api/open_sizes.h"

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
  std::string type;  // in words
};
struct FunctionFacts {
  std::string name;
  Target opset;
  std::vector<FeatureLine> inputs, outputs, states;
  std::map<std::string, std::size_t> ops;  // histogram, constants left out
  Target needs = Target::iOS15;            // the oldest target that has every op as it is used
  std::string needs_because;               // a node that needs it
  std::vector<OpenSize> open_sizes;        // which dimension of which input makes which ops dynamic
};
struct Inspection {
  std::string path, format;
  std::uint64_t file_bytes = 0;
  std::string default_function;
  Metadata metadata;
  std::vector<FunctionFacts> functions;
  std::uint64_t parameters = 0;                        // elements of weights, each counted once
  std::map<std::string, std::uint64_t> bytes_by_kind;  // "fp16", "int8 (constexpr_blockwise_shift_scale)", ...
  std::vector<WeightLine> weights;
  std::vector<OpLine> ops;
  std::string configuration;  // of a checkpoint: the text of its config.json
  std::string obstacle;       // why it cannot be converted; empty when nothing is known to stop it
};

// A model that is recognised and whole but cannot be imported gives an Inspection with an obstacle. Errors: it is
// damaged.
Result<Inspection> inspect(const std::string& path);
Inspection inspect(const Model& model);

// "image RGB 256 x 256", "fp32 [1, 1..512]"
std::string feature_text(const Feature& feature);

}  // namespace pomona::api
