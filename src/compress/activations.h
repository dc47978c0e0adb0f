// The scheme `activations`: 8-bit activations, by pairs of quantize and dequantize around the ops that engines run on
// integers; and, on request, another scheme for the weights (w8a8: int8 per channel).
//
//   auto scheme = POM_TRY(make_activations({{"weights", "linear"}, {"activation_range", "mse"}}));
//   auto lines = POM_TRY(quantise_activations(function, samples, recipe, used));
//
// Pairs stand where coremltools' insert_prefix_ and insert_suffix_quantize_dequantize_pair put them, less those that
// are redundant: before conv, linear, avg_pool, max_pool and add (both operands; neither may be constant), and after
// these ops, or after their activation (leaky_relu, tanh, scaled_tanh, sigmoid, sigmoid_hard, relu, relu6), where
// something reads the result. A value is quantised once, and dequantised once for each op that runs on integers.
//
// Operands and result of a concat, the input and the result of a pooling, and the operands of an add have one range.
// An op whose values look like a mask (not finite, or 1e4 and beyond) is left, as 8 bits would leave nothing of the
// rest.
#pragma once
#include "compress/activation_ranges.h"
#include "compress/recipe.h"

namespace pomona::compress {

struct ActivationOptions {
  POM_OPTION(activation_dtype, std::string,
             "of quantised activations: int8, uint8, or auto (uint8 where none is negative)") = "int8";
  POM_OPTION(activation_mode, std::string,
             "linear_symmetric: the range is centred on 0; linear: it has a zero point") = "linear_symmetric";
  POM_OPTION(
      activation_range, std::string,
      "minmax takes the extremes, moving_average their averages over samples, percentile clips, mse is the range "
      "of least squared error, entropy that of least divergence") = "mse";
  POM_OPTION(activation_percentile, double, "of the values that stay inside the range, with percentile") = 99.99;
  POM_OPTION(averaging, double, "with moving_average: how much each further sample counts") = 0.01;
  POM_OPTION(weights, std::string, "the scheme of the weights, or none") = "none";
};
// The options, understood.
struct ActivationCoding {
  std::string dtype;
  RangeChoice range;
  double averaging = 0.01;
};

Result<std::shared_ptr<const Scheme>> make_activations(const SchemeOptions& options);

// An op that was tried, and one of its values.
struct ActivationLine {
  std::string function, op, type, value;
  std::string note;  // why it was left; then nothing follows
  Codes codes;
  double lowest = 0, highest = 0;  // seen
  double snr_decibel = 0;          // of the coding
};
// Errors: the program cannot be run on the samples. `used` as in choose().
Result<std::vector<ActivationLine>> quantise_activations(Function& function, const std::vector<NamedTensors>& samples,
                                                         const Recipe& recipe, std::vector<bool>& used);

}  // namespace pomona::compress
