// Untrusted PyTorch files: archives, and pickles by themselves (which in an archive are behind a checksum).
#include "formats/pytorch/pickle.h"
#include "formats/pytorch/pytorch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pomona;
  Bytes bytes = Bytes::own({reinterpret_cast<const char*>(data), size});
  (void)pytorch::read_pickle(bytes);
  auto entries = pytorch::parse_pytorch(bytes);
  if (!entries) return 0;
  // Tensors may overlap, so that many of them are more than the file.
  constexpr std::uint64_t most_bytes = 1 << 24;
  for (const auto& [name, entry] : *entries)
    if (entry.weight.stored_size() < most_bytes) (void)entry.weight.materialise();
  return 0;
}
