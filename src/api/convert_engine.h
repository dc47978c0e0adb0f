// What --for ane asks of a model that is no checkpoint: fixed sizes, and forms that the Neural Engine takes.
//
//   Fixed fixed = POM_TRY(fix_sizes(std::move(model), source, open, border));
#pragma once
#include <optional>

#include "api/convert_border.h"
#include "api/model.h"
#include "rewrite/passes/passes.h"

namespace pomona::api {

// The limits of the oldest Neural Engine of an M chip; empty unless the option asks for it. Errors: another engine.
Result<std::optional<rewrite::EngineLimits>> engine_limits(const ConvertOptions& options);
struct Fixed {
  Model model;
  std::vector<std::string> said;  // a sentence for each size
};
// Chooses a size for each one that a model leaves open and that nobody bounded (a package's own default; of an ONNX
// model 1 for batches, what its metadata say of pictures, else usual ones, of which the first is taken that the model
// can be read with), and reads the model with them; `open` and `request` have them then. Errors: it takes none of the
// usual ones.
Result<Fixed> fix_sizes(Model model, const std::string& source, OpenOptions& open, BorderRequest& request);

}  // namespace pomona::api
