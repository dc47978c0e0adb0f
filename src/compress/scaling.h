// Makes layers easier to round: what is large in their inputs moves into their weights, or out of them, channel by
// channel, and what makes the inputs takes the opposite. The program computes what it did.
//
//     W x = (W diag(s)) (diag(1/s) x)
//
//   auto scaled = POM_TRY(scale_inputs(program, calibration, recipe, {.method = ScalingMethod::awq}));
//   scaled.lines[0].layers, .into, .exponent
//
// The division is folded into gamma and beta of a norm, a constant factor, or the rows of the linear or conv before,
// through ops that let factors pass (relu, leaky_relu, a product with something else, sums with constants). All readers
// of an input are scaled together; inputs with another reader, or with nothing to fold into, are left, with a line.
//
// AWQ (J. Lin et al., "AWQ: Activation-aware Weight Quantization", 2023): s = rms(x)^a; the a of 0 to 1 is taken with
// which the layers' own scheme loses least on their outputs. SmoothQuant (G. Xiao et al., 2022): s = max|x|^a /
// max|W|^(1-a) with a given a, for activations that are quantised too.
#pragma once
#include "compress/calibration.h"
#include "compress/recipe.h"

namespace pomona::compress {

enum class ScalingMethod : std::uint8_t { awq, smooth_quant };
// By the names of the above.
Result<ScalingMethod> scaling_method(std::string_view name);
struct ScalingOptions {
  ScalingMethod method = ScalingMethod::awq;
  double strength = 0.5;  // of smooth_quant: how much of the size moves into the weights
};

struct ScalingLine {
  std::string function, input;       // the value that the layers read
  std::vector<std::string> weights;  // of the layers
  std::string into;                  // names of the constants that took the opposite; empty: left
  double exponent = 0;
  std::string note;  // why it was left
};
// A value that is now 1/s of what it was, along an axis.
struct ScaledValue {
  std::size_t axis = 0;
  std::shared_ptr<const std::vector<float>> scales;
};
struct Scaled {
  std::vector<ScalingLine> lines;
  std::map<std::pair<std::string, std::string>, ScaledValue> values;  // by function and name
};
// The calibration's function decides; functions that have the same layers with the same weights get the same scales.
Result<Scaled> scale_inputs(Program& program, Calibration& calibration, const Recipe& recipe,
                            const ScalingOptions& options);

}  // namespace pomona::compress
