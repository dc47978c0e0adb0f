// What a user asks of a model's border when converting it: shapes, ranges, pictures, labels, dtypes, descriptions.
//
//   BorderRequest request = POM_TRY(border_request(options));
//   Program program = open_model(path, {.shapes = request.shapes}) ...
//   std::vector<std::string> said = POM_TRY(apply(request, program));
//
// Applied to an import before anything is rewritten. The same request applied to a second import gives the reference
// that the written package is verified against.
#pragma once
#include "api/convert.h"

namespace pomona::api {

struct PictureRequest {
  int color_space = 20;
  std::vector<double> scale, bias;  // none, one number, or one per channel
};
// Non-maximum suppression behind the model: outputs it takes, and how its boxes are meant.
struct DetectorRequest {
  std::string boxes, scores;
  int most = 100;
  double overlap = 0.45, confidence = 0.25;
  bool corners = false;          // x1 y1 x2 y2; else centre and size
  double width = 1, height = 1;  // boxes count in these; 1: they are normalised
};
struct BorderRequest {
  std::map<std::string, Sizes> shapes;  // given to the importer; negative: the model's own
  std::map<std::string, Tensor> constants;
  std::map<std::string, DType> dtypes;
  std::map<std::string, std::vector<Feature::Range>> ranges;
  std::map<std::string, std::vector<Sizes>> enumerated;
  std::map<std::string, PictureRequest> pictures;
  Strings labels;
  std::map<std::string, onnx::CustomOp> custom_ops;
  std::optional<DetectorRequest> detector;
  std::map<std::string, std::string> input_descriptions, output_descriptions;
};

Result<BorderRequest> border_request(const ConvertOptions& options);
// Returns a sentence for everything that was decided for the user. Errors: a name that the model does not have, sizes
// that contradict the model.
Result<std::vector<std::string>> apply(const BorderRequest& request, Program& program);

}  // namespace pomona::api
