// The two products of attention for a few queries, with keys and values read where they lie: rows of floats, or of the
// halves of a state.
#pragma once
#include <cstddef>

namespace pomona::cpu {

constexpr std::size_t most_query_rows = 4;

struct RowsOf {
  const void* data;
  bool half;
  std::size_t width;  // elements of a row
};
// scores[r * stride + k] = scale * (query r . key k), of `rows` queries and `count` keys.
void query_keys(const float* queries, std::size_t rows, const RowsOf& keys, std::size_t count, float scale,
                float* scores, std::size_t stride);
// y[r * width + e] = sum over k of weights[r * stride + k] * value k [e].
void sum_values(const float* weights, std::size_t rows, std::size_t stride, const RowsOf& values, std::size_t count,
                float* y);

}  // namespace pomona::cpu
