// Untrusted .npz archives and .npy arrays.
#include "formats/npy/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pomona;
  Bytes bytes = Bytes::own({reinterpret_cast<const char*>(data), size});
  (void)npy::read_npz(bytes);
  if (auto tensor = npy::read_npy(bytes)) (void)npy::npy_contents(*tensor);
  return 0;
}
