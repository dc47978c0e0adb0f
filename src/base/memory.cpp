#include "base/memory.h"

#include <unistd.h>

namespace pomona {

std::uint64_t physical_memory_bytes() {
  static const std::uint64_t bytes = std::uint64_t(sysconf(_SC_PHYS_PAGES)) * std::uint64_t(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace pomona
