// Places buffers with known lifetimes into one block of memory so that those alive at the same time do not overlap.
//
// Greedy by size: the largest buffer first, each at the lowest offset where it meets no placed buffer that lives at the
// same time (after Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", arXiv 2001.03288).
#pragma once
#include <cstddef>
#include <vector>

namespace pomona::cpu {

struct Lifetime {
  std::size_t size_bytes;
  std::size_t first_step, last_step;  // inclusive
  std::size_t offset = 0;             // result
};
// Sets the offsets (multiples of 64) and returns the bytes of the whole block.
std::size_t place_buffers(std::vector<Lifetime>& buffers);

}  // namespace pomona::cpu
