// Predicts how many tokens per second a language model reads or writes on an M chip, with an interval.
//
//   SpeedCase c{.chip = "M4 Max", .runtime = "mlx", .model = "Llama-3.1-8B", .params_b = 8.03,
//               .bits_per_weight = 4.5, .phase = "decode"};
//   Speed s = POM_TRY(predict_speed(c, default_speed_constants()));     // s.tokens_per_s, s.low, s.high
//
// The time of a token is a sum of terms with physical meaning: weight bytes over bandwidth, parameters over the GPU's
// rate (by how costly the weights are to decode), a cost per layer, cached keys and values, attention. Each term's
// coefficient is fitted to published measurements, per runtime and phase, by non-negative least squares of relative
// errors that outliers do not pull (iterative reweighting towards the absolute error). The interval is the one that
// held 80 % of the errors on chips which the constants had not seen.
//
// What one chip alone shows cannot be fitted and tested on others: those factors (how costly k-quants are on M1, what
// newer builds gained, what matrix units give) are constants in speed.cpp with their reasons.
#pragma once
#include <map>
#include <span>
#include <string>
#include <vector>

#include "silicon/chips.h"

namespace pomona::silicon {

struct SpeedCase {
  std::string chip;
  int gpu_cores = 0;         // 0: the chip's full bin
  double bandwidth_gbs = 0;  // 0: the chip's
  std::string runtime;       // llama.cpp-metal, llama.cpp-cpu, mlx, coreml-gpu, coreml-ane
  std::string model;
  double params_b = 0;
  std::string quant;
  double bits_per_weight = 0;
  std::string phase;        // prompt or decode
  double weight_gib = 0;    // 0: params_b x bits_per_weight
  std::string test, build;  // "tg128", "pp512 ...", "8e672ef (2023-11)"
  double tokens_per_s = 0;  // measured; 0: not
};

struct Speed {
  double tokens_per_s = 0, low = 0, high = 0;
  std::string basis;  // what the interval rests on, in words
};

// Coefficients of one runtime and phase, and the spread of measured over predicted on chips left out.
struct SpeedFit {
  std::map<std::string, double> seconds;  // per unit of each term
  double low = 0.8, high = 1.25;
  std::size_t rows = 0;
};
using SpeedConstants = std::map<std::string, SpeedFit>;  // by "runtime phase"

// Between the order statistics of `values` where `share` falls between two; 1 of none.
double quantile(std::vector<double> values, double share);

// Errors: the chip, the runtime or the phase is unknown, or there is no size.
Result<Speed> predict_speed(const SpeedCase& row, const SpeedConstants& constants);

// How well constants fitted without a chip predict that chip's rows.
struct LeftOut {
  std::string group;
  std::size_t rows = 0, chips = 0;
  double median_error = 0, p90_error = 0;  // relative
  double inside = 0;                       // share of rows within their interval
};
struct SpeedStudy {
  SpeedConstants constants;
  std::vector<LeftOut> left_out;
};
// Rows without a measured speed are left out. Errors: a row cannot be used.
Result<SpeedStudy> fit_speed(std::span<const SpeedCase> rows);

const SpeedConstants& default_speed_constants();
std::string speed_constants_json(const SpeedConstants& constants);
Result<SpeedConstants> speed_constants_from_json(std::string_view text);

}  // namespace pomona::silicon
