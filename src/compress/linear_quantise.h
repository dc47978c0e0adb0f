// Linear quantisation of weights: integer codes with a scale (and perhaps a zero point) per channel, per block or per
// tensor.
//
//     weight ~ scale * (code - zero_point)
//
// The scale is rounded to the type it is stored in before the codes are computed, so the codes are the nearest ones for
// the scale that the reader of the file will see. Ranges, scales and zero points follow coremltools 9.0's
// `linear_symmetric` and `linear` modes; a search over narrower ranges can lower the squared error further.
//
//   // int4, blocks of 32 along the second axis of a [768, 3072] matrix, 16 candidate scales per block
//   auto coded = quantise_linear(halves, {.rows = 768, .columns = 3072, .block_rows = 1, .block_columns = 32},
//                                {.bits = 4, .lowest_code = true, .candidates = 16});
//   auto packed = pack_bits(coded->codes, 4);
//
// What it does not do: choose the blocks, pack the codes (base/bits.h), run threads (callers quantise several tensors
// in parallel). The blocks being coded are held in fp32 meanwhile: one block, or about 64 columns of blocks where a
// block spans many rows.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"

namespace pomona::compress {

// A weight seen as rows x columns x depth (row-major) and cut into blocks of block_rows x block_columns x depth, each
// with one scale. Row channels: block {1, columns}; column channels: {rows, 1}; whole tensor: {rows, columns}; blocks
// of b along the columns: {1, b}. A convolution's [out, in, height, width] has depth height * width.
struct BlockedShape {
  std::size_t rows = 1, columns = 1, depth = 1;
  std::size_t block_rows = 1, block_columns = 1;
};

enum class ScaleType : unsigned char { fp16, fp32 };

struct LinearOptions {
  unsigned bits = 8;      // 2 to 8
  bool is_signed = true;  // codes -2^(bits-1) .. 2^(bits-1)-1, otherwise 0 .. 2^bits-1
  bool symmetric =
      true;  // the range is centred on 0; otherwise it spans the block's own extremes and 0, with a zero point
  bool lowest_code = false;  // symmetric and signed only: also use the code -2^(bits-1) (coremltools leaves it out)
  ScaleType scale_type = ScaleType::fp16;
  unsigned candidates =
      1;  // 1: the block's extremes set the range; more: that many ranges down to 60 % of it, least squared error wins
  bool fine = false;  // those ranges lie within 3 % of the extremes, where 8 bits have their best
  std::optional<std::pair<float, float>>
      extremes;  // instead of each block's own: pieces of one block, with 1 candidate
};

struct LinearCodes {
  std::vector<std::uint8_t> codes;  // one per weight in the order of the weights; signed codes in two's complement
  std::vector<float> scales;  // one per block, row-major (rows / block_rows) x (columns / block_columns); > 0, finite
  std::vector<std::uint8_t>
      zero_points;           // as many, in two's complement if signed; empty when all are 0 (symmetric and signed)
  double squared_error = 0;  // sum of (weight - scale * (code - zero_point))^2
};

// Quantises fp16 (bits) or fp32 weights. A block of zeros gets scale 1. A scale below the smallest positive number of
// its type becomes that number. Rounding is half to even. Errors: a size that does not match the shape, blocks that do
// not divide it, bits out of range, `lowest_code` with an unsigned or asymmetric range, no candidates, a weight that is
// NaN or infinite, a scale too large for fp16.
Result<LinearCodes> quantise_linear(std::span<const std::uint16_t> halves, const BlockedShape& shape,
                                    const LinearOptions& options);
Result<LinearCodes> quantise_linear(std::span<const float> floats, const BlockedShape& shape,
                                    const LinearOptions& options);

// The same into places of the caller's, which hold as much as LinearCodes would; `zero_points` may be empty where all
// of them are 0. Gives the squared error.
struct LinearPlaces {
  std::span<std::uint8_t> codes;
  std::span<float> scales;
  std::span<std::uint8_t> zero_points;
};
Result<double> quantise_linear_into(const LinearPlaces& places, std::span<const std::uint16_t> halves,
                                    const BlockedShape& shape, const LinearOptions& options);
Result<double> quantise_linear_into(const LinearPlaces& places, std::span<const float> floats,
                                    const BlockedShape& shape, const LinearOptions& options);

}  // namespace pomona::compress
