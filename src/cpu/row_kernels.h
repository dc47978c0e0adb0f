// Kernels along contiguous rows of floats: softmax, normalisation, reductions.
#pragma once
#include <cstddef>

namespace pomona::cpu {

// y = exp(x - max) / sum; may be in place.
void softmax_row(const float* x, float* y, std::size_t count);
// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta; gamma and beta may be null. May be in place.
void normalise_row(const float* x, float* y, std::size_t count, float epsilon, const float* gamma, const float* beta);

enum class Reduction : unsigned char { sum, sum_of_squares, sum_of_magnitudes, maximum, minimum, product };
// The value that changes nothing.
float neutral(Reduction reduction);
float reduce_row(Reduction reduction, const float* x, std::size_t count);
// into[k] = into[k] (+) x[i * stride + k] for i < count: several rows into one.
void reduce_rows(Reduction reduction, const float* x, std::size_t count, std::size_t stride, std::size_t columns,
                 float* into);
float combine(Reduction reduction, float a, float b);

}  // namespace pomona::cpu
