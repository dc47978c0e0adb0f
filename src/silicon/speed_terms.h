// The terms of speed.h's sum: for one row, how many units of each term a token costs. Internal to silicon/.
#pragma once
#include "silicon/speed.h"

namespace pomona::silicon {

enum class Runtime : std::uint8_t { metal, cpu, mlx, core_ml_gpu, core_ml_ane };
struct Terms {
  std::string group;                    // whose coefficients apply: "llama.cpp-metal decode"
  std::map<std::string, double> units;  // by term
  bool extrapolated = false;            // a runtime or chip that the fit has no rows of: the interval is wider
  std::string why_extrapolated;
};
// Errors as predict_speed's.
Result<Terms> speed_terms(const SpeedCase& row);

}  // namespace pomona::silicon
