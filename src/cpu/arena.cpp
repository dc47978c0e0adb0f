#include "cpu/arena.h"

#include <algorithm>
#include <numeric>

namespace pomona::cpu {

std::size_t place_buffers(std::vector<Lifetime>& buffers) {
  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return buffers[a].size_bytes > buffers[b].size_bytes; });
  std::vector<const Lifetime*> placed;  // by offset
  std::size_t total = 0;
  for (std::size_t index : order) {
    Lifetime& buffer = buffers[index];
    std::size_t size = (buffer.size_bytes + 63) / 64 * 64, offset = 0;
    for (const Lifetime* other : placed) {
      bool together = other->first_step <= buffer.last_step && buffer.first_step <= other->last_step;
      if (!together) continue;
      if (offset + size <= other->offset) break;
      offset = std::max(offset, other->offset + (other->size_bytes + 63) / 64 * 64);
    }
    buffer.offset = offset;
    total = std::max(total, offset + size);
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), &buffer, [](auto* a, auto* b) { return a->offset < b->offset; }),
        &buffer);
  }
  return total;
}

}  // namespace pomona::cpu
