// One instruction of a vector program over one chunk, by whatever vectors this machine has.
#pragma once
#include <cstddef>

#include "cpu/vector_program.h"

namespace pomona::cpu {

struct ChunkArgument {
  const void* data = nullptr;
  bool scalar = false;  // one element for the whole chunk
};
// x or y (not both) may be scalar where the op takes two arguments or three.
void run_instruction(const Instruction& instruction, ChunkArgument x, ChunkArgument y, ChunkArgument z, void* result,
                     std::size_t count);

}  // namespace pomona::cpu
