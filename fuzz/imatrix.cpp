// Untrusted importance matrices, as a list or as GGUF.
#include "formats/gguf/imatrix.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)pomona::gguf::read_imatrix(pomona::Bytes::own({reinterpret_cast<const char*>(data), size}));
  return 0;
}
