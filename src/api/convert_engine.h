// What --for ane asks of a model that is no checkpoint: fixed sizes, and forms that the Neural Engine takes.
//
//   report.border = POM_TRY(fix_sizes(model, border));      // then the model is read again, with these shapes
#pragma once
#include <optional>

#include "api/convert_border.h"
#include "api/model.h"
#include "rewrite/passes/passes.h"

namespace pomona::api {

// The limits of the oldest Neural Engine of an M chip; empty unless the option asks for it. Errors: another engine.
Result<std::optional<rewrite::EngineLimits>> engine_limits(const ConvertOptions& options);
// Chooses a size for each one that an ONNX model leaves open and that nobody bounded: 1 for batches, what the model's
// metadata say of pictures, else a usual one. A sentence for each.
std::vector<std::string> fix_sizes(const Model& model, BorderRequest& request);

}  // namespace pomona::api
