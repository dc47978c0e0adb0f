// The installed ONNX Runtime, as an outside opinion: its Python package is run in a process of its own.
//
//   NamedTensors outputs = POM_TRY(run_onnxruntime("model.onnx", inputs));
//
// The interpreter is $POMONA_PYTHON, or python3, or that of tools/test-python, the first that has the package. Errors
// with Fault::environment when none has.
#pragma once
#include "ir/tensor.h"

namespace pomona::api {

Result<NamedTensors> run_onnxruntime(const std::string& model, const NamedTensors& inputs);

}  // namespace pomona::api
