// One ONNX test case, in the process that calls it.
#pragma once
#include "api/conformance.h"

namespace pomona::api {

// Fills everything but name, folder and seconds; `outputs`, unless empty, is where the first data set's answers go.
CaseResult run_case(const std::string& folder, const std::string& outputs, const ConformanceOptions& options);

}  // namespace pomona::api
