// Ranges of linear quantisation beyond the extremes: clipped at a percentile, fitted by half-quadratic optimisation, or
// the one of least squared error where some weights count more than others.
//
//   BlockCodes coded = code_block(weights, importance, {.bits = 4, .is_signed = true}, Range::percentile, 99.9);
//
// Half-quadratic optimisation after H. Badri and A. Shaji, "Half-Quadratic Quantization of Large Machine Learning
// Models" (2023): the error is split into a sparse part, shrunk as its |e|^0.7 wants, and a rest that the scale and the
// zero point are fitted to. Zero points stay integers here.
//
// One block at a time, without vector instructions: the kernels of linear_quantise.h are for the usual ranges.
#pragma once
#include "compress/linear_quantise.h"

namespace pomona::compress {

enum class Range : unsigned char { extremes, squared_error, percentile, half_quadratic };

struct BlockCodes {
  std::vector<std::uint8_t> codes;
  float scale = 1;
  std::uint8_t zero_point = 0;
  double squared_error = 0;  // not weighted
};

struct CodeRange {
  float lowest = -127, highest = 127, symmetric_zero = 0;
};
// The codes in use, and the zero point of symmetric blocks.
CodeRange code_range(const LinearOptions& options);
// A scale as it will be stored: rounded, never 0.
float rounded_scale(double wanted, ScaleType type);

// `importance`: empty, or a factor of each weight's squared error. `percentile`: of the magnitudes (asymmetric: of the
// values, at both ends) that stay inside the range.
BlockCodes code_block(std::span<const float> weights, std::span<const float> importance, const LinearOptions& options,
                      Range range, double percentile);

}  // namespace pomona::compress
