// The terms of speed.h's sum: for one row, how many units of each term a token costs. Internal to silicon/.
#pragma once
#include "silicon/speed.h"

namespace pomona::silicon {

enum class Runtime : std::uint8_t { metal, cpu, mlx, core_ml_gpu, core_ml_ane };
struct Terms {
  std::string group;                    // whose coefficients apply: "llama.cpp-metal decode"
  std::map<std::string, double> units;  // by term
  double seconds = 0;                   // what is known without a fit, besides the terms
  int extrapolated = 0;                 // in how many ways the fit has no such rows: each makes the interval wider
  std::string why_extrapolated;
};
// Errors as predict_speed's.
Result<Terms> speed_terms(const SpeedCase& row);

}  // namespace pomona::silicon
