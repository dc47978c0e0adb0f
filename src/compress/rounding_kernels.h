// The inner loops of rounding with data, compiled once per instruction set. See rounding.cpp.
#pragma once
#include <cstddef>

namespace pomona::compress {

double dot(const double* x, const double* y, std::size_t count);
// to -= factor * from
void take_away(double factor, const double* from, double* to, std::size_t count);
void take_away(float factor, const float* from, float* to, std::size_t count);

}  // namespace pomona::compress
