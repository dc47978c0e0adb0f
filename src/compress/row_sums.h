// Codes of a weight whose errors add up to nothing in every output channel.
//
// Inputs of a convolution mostly come from an activation function, and have one sign: what the rounding errors of a
// channel add up to moves its result by as much times the inputs' mean. Nearest codes leave a sum of random sign; some
// codes, those whose weights lie almost in the middle between two, are moved to their other neighbour.
//
//   double error = balance_rows(floats, {codes, scales, rows, blocks_per_row});
//
// A row is balanced as far as its squared error stays within that of the nearest codes on the range of its extremes, so
// that nothing is paid for it beyond what a search for scales has gained. After M. Nagel et al. (2019) and SQuant
// (C. Guo et al., 2022), which balance without that limit.
#pragma once
#include <cstdint>
#include <span>

#include "compress/linear_quantise.h"

namespace pomona::compress {

// Signed symmetric codes of 8 bits, rows of equal blocks with a scale each.
struct CodedRows {
  std::span<std::uint8_t> codes;
  std::span<const float> scales;
  std::size_t rows = 1, blocks_per_row = 1;
  ScaleType scale_type = ScaleType::fp16;
};

// Changes codes; gives the squared error of all of them.
double balance_rows(std::span<const float> weights, const CodedRows& coded);

}  // namespace pomona::compress
