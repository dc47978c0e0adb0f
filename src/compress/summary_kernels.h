// The one look at all elements that every weight gets, compiled once per instruction set. See Summary in scheme.h.
#pragma once
#include <span>

namespace pomona::compress {

struct FloatSummary {
  float largest_magnitude = 0;
  double sum_of_squares = 0;
  bool finite = true;  // otherwise the two others mean nothing
};

FloatSummary summarise_floats(std::span<const float> values);

}  // namespace pomona::compress
