#include "cpu/huge_bytes.h"

#include <cstring>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace pomona::cpu {
namespace {

constexpr std::size_t page = std::size_t(2) << 20, chunk_size = 16 * page, line = 64;
// Readers may look a little past the end.
constexpr std::size_t margin = 256;

std::shared_ptr<std::uint8_t> allocate(std::size_t size) {
  auto* memory = static_cast<std::uint8_t*>(::operator new(size, std::align_val_t(page)));
#if defined(__linux__)
  madvise(memory, size, MADV_HUGEPAGE);
#endif
  return {memory, [](std::uint8_t* p) { ::operator delete(p, std::align_val_t(page)); }};
}

// What is smaller than a chunk shares one with others: a page each would be wasteful, small pages slow. A chunk goes
// with the last of those in it.
struct Chunk {
  std::mutex mutex;
  std::shared_ptr<std::uint8_t> memory;
  std::size_t used = 0;
  std::shared_ptr<std::uint8_t> take(std::size_t size) {
    std::lock_guard lock(mutex);
    if (!memory || used + size > chunk_size) {
      memory = allocate(chunk_size);
      used = 0;
    }
    std::shared_ptr<std::uint8_t> part(memory, memory.get() + used);
    used += (size + line - 1) / line * line;
    return part;
  }
};

}  // namespace

HugeBytes::HugeBytes(std::size_t size) : size_(size) {
  static Chunk chunk;
  std::size_t needed = size + margin;
  data_ = needed > chunk_size / 2 ? allocate(needed) : chunk.take(needed);
  std::memset(data_.get(), 0, needed);
}

}  // namespace pomona::cpu
