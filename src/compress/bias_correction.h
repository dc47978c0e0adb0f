// What storing a weight in fewer bits adds to its layer's outputs on average, taken out of the layer's bias (M. Nagel
// et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019; the inputs' means are
// measured).
//
//   auto shift = POM_TRY(mean_shift(before, after, axes, statistics.means));
//   std::string left = why_no_bias(weight);                 // empty, or why its op's bias cannot be corrected
//   POM_TRY(correct_bias(op, shift));
#pragma once
#include "compress/calibration.h"

namespace pomona::compress {

// Per output channel: the mean of what the outputs lose.
Result<std::vector<float>> mean_shift(const Tensor& before, const Tensor& after, const ChannelAxes& axes,
                                      const std::vector<float>& means);
std::string why_no_bias(Value weight);
// The op gets a bias when it has none.
Status correct_bias(Node& op, const std::vector<float>& shift);

}  // namespace pomona::compress
