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
  double scale = 1;
  std::vector<double> bias;  // one number, or one per channel
};
struct BorderRequest {
  std::map<std::string, Sizes> shapes;  // given to the importer; negative: the model's own
  std::map<std::string, Tensor> constants;
  std::map<std::string, DType> dtypes;
  std::map<std::string, std::vector<Feature::Range>> ranges;
  std::map<std::string, std::vector<Sizes>> enumerated;
  std::map<std::string, PictureRequest> pictures;
  Strings labels;
  std::map<std::string, std::string> input_descriptions, output_descriptions;
};

Result<BorderRequest> border_request(const ConvertOptions& options);
// Returns a sentence for everything that was decided for the user. Errors: a name that the model does not have, sizes
// that contradict the model.
Result<std::vector<std::string>> apply(const BorderRequest& request, Program& program);

}  // namespace pomona::api
