// How much memory the machine has.
#pragma once
#include <cstdint>

namespace pomona {

// Bytes of physical memory.
std::uint64_t physical_memory_bytes();

}  // namespace pomona
