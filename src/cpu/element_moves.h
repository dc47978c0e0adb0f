// Moving elements without looking at them: copies of boxes between strided tensors, and transposes of matrices. For
// transposes, slices, concatenations, padding and changes of layout.
#pragma once
#include <cstddef>
#include <cstdint>

#include "ir/tensor.h"

namespace pomona::cpu {

// `count` matrices one after another, rows x columns each, to columns x rows. Elements of 1, 2 or 4 bytes.
void transpose_matrices(const std::uint8_t* from, std::uint8_t* to, std::size_t count, std::size_t rows,
                        std::size_t columns, std::size_t element_bytes);

// A box of elements to be copied: sizes, and the strides (in elements) of both sides. Made once, run many times.
struct BoxCopy {
  Sizes sizes, from_strides, to_strides;
  std::int64_t from_offset = 0, to_offset = 0;
  std::size_t element_bytes = 4;
};
// Drops dimensions of size 1 and joins those that both sides walk as one.
BoxCopy simplified(BoxCopy box);
// The box must be simplified.
void copy_box(const BoxCopy& box, const std::uint8_t* from, std::uint8_t* to);

}  // namespace pomona::cpu
