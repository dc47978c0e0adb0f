// The inner loops of linear quantisation, compiled once per instruction set and chosen at run time. See
// linear_quantise.h.
#pragma once
#include <cstddef>
#include <cstdint>

namespace pomona::compress {

// How the blocks of one call are coded.
struct BlockCoding {
  float lowest = -127, highest = 127;  // the codes in use
  bool symmetric = true;
  float zero_point = 0;  // of symmetric blocks
  bool fp16_scales = true;
  unsigned candidates = 1;
  bool fine = false;  // candidates on both sides of the extremes, close by
  // Not each block's own extremes, but these, which none exceeds.
  bool given_extremes = false;
  float least = 0, most = 0;
};

// Blocks are padded with zeros to a multiple of this many values; zeros are coded without error and never widen a
// range.
inline constexpr std::size_t block_padding = 16;

// Codes `blocks` blocks of `stride` floats each (a multiple of block_padding). Per block: a scale, a zero point; per
// value a byte. Adds the squared errors to *squared_error. Returns `blocks`, or the index of the first block holding a
// NaN or an infinity or needing a scale beyond the type (its values are then unspecified).
std::size_t code_blocks(const float* values, std::size_t blocks, std::size_t stride, const BlockCoding& coding,
                        float* scales, float* zero_points, std::uint8_t* codes, double* squared_error);

}  // namespace pomona::compress
