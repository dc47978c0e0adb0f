// Untrusted GGUF files: the header, and every tensor's decoding.
#include "formats/gguf/gguf.h"

#include "formats/gguf/blocks.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pomona;
  auto file = gguf::parse_gguf(Bytes::own({reinterpret_cast<const char*>(data), size}));
  if (!file) return 0;
  for (const gguf::TensorEntry& tensor : file->tensors)
    if (auto weight = gguf::decoded(tensor)) (void)weight->materialise();
  return 0;
}
