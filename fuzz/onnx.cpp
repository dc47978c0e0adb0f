// Any bytes as an ONNX model, and as a lone tensor: an error or a program, nothing else.
#include "formats/onnx/import.h"
#include "formats/onnx/tensor.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pomona;
  Bytes file = Bytes::own(std::string(reinterpret_cast<const char*>(data), size));
  (void)onnx::read_onnx(file, "/nonexistent");
  auto tensor = onnx::parse_tensor(file);
  if (tensor) {
    onnx::TensorFiles files("/nonexistent", file);
    auto weight = onnx::stored_weight(*tensor, files);
    if (weight) (void)weight->materialise();
  }
  return 0;
}
