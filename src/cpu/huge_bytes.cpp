#include "cpu/huge_bytes.h"

#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace pomona::cpu {

HugeBytes::HugeBytes(std::size_t size) : size_(size) {
  constexpr std::size_t page = std::size_t(2) << 20;
  // What is smaller than a few pages would waste most of its last one.
  bool huge = size >= 4 * page;
  std::align_val_t alignment{huge ? page : 64};
  // Readers may look a little past the end.
  std::size_t allocated = size + 256;
  auto* memory = static_cast<std::uint8_t*>(::operator new(allocated, alignment));
#if defined(__linux__)
  if (huge) madvise(memory, allocated, MADV_HUGEPAGE);
#endif
  std::memset(memory, 0, allocated);
  data_ = std::shared_ptr<std::uint8_t>(memory, [alignment](std::uint8_t* p) { ::operator delete(p, alignment); });
}

}  // namespace pomona::cpu
