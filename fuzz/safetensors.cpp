// Untrusted safetensors files.
#include "formats/safetensors/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pomona;
  auto file = safetensors::parse_safetensors(Bytes::own({reinterpret_cast<const char*>(data), size}));
  if (!file) return 0;
  for (const auto& [name, entry] : file->tensors)
    if (auto weight = entry.weight()) (void)weight->materialise();
  return 0;
}
