// What a checkpoint is, as inspect() tells it of files that hold weights but no graph: tensors, types, configuration,
// and what would stop a conversion.
#pragma once
#include "api/inspect.h"

namespace pomona::api {

Result<Inspection> inspect_checkpoint(const std::string& path, const std::string& format);

}  // namespace pomona::api
