// Untrusted model.mlmodel bytes, and the same bytes as a weight file.
#include "formats/mlpackage/package.h"

#include "formats/mlpackage/blob.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "ops/catalogue.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pomona;
  Bytes bytes = Bytes::own({reinterpret_cast<const char*>(data), size});
  if (auto program = mlpackage::read_model(bytes, "")) {
    (void)verify(*program);
    (void)parse_text(to_text(*program), {.find_op = mil::find_op});
  }
  for (DType dtype : {DType::fp16, DType::uint3, DType::int32})
    if (auto weight = mlpackage::read_blob(bytes, 64, dtype, {std::int64_t(size) / 8})) (void)weight->materialise();
  return 0;
}
