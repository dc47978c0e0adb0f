// Products of an encoded matrix (encoded_matrix.h) with one vector or many, on its codes.
//
//   product.quantise(p, 0, tokens);                       // vectors to integers, into p.activations
//   product.multiply(p, first_tile, last_tile, 0, tokens);
//
// A vector's elements become 16-bit integers with a scale per group of 32 (or 16) of them: integer dot products are
// then exact, and the result is within some 2e-5 of what floats give. They are held as two planes of 8 bits where the
// processor multiplies bytes, else as they are. Halves, and what indices stand for, are multiplied by the vector's
// floats.
//
// Every result is summed in one order, whatever part of the work a call does.
#pragma once
#include "cpu/encoded_matrix.h"

namespace pomona::cpu {

struct EncodedProduct {
  const EncodedMatrix* m = nullptr;
  const float* x = nullptr;  // `tokens` vectors, x_stride apart
  std::size_t x_stride = 0, tokens = 0;
  std::uint8_t* activations = nullptr;  // activation_bytes(m) per token, 64-byte aligned
  const float* bias = nullptr;          // may be null
  float* y = nullptr;                   // results of a token lie together, tokens y_stride apart
  std::size_t y_stride = 0;
};

// What a vector becomes: its integers, then per group a float scale, the float sum of the group's values, and `zero`
// times the sum of its integers; last the sum of all values.
struct ActivationLayout {
  std::size_t units, groups;
  explicit ActivationLayout(const EncodedMatrix& m)
      : units(m.by_floats() ? 0 : m.units()), groups(units * unit_depth / m.group()) {}
  std::size_t scales() const { return units * unit_depth * 2; }
  std::size_t sums() const { return scales() + groups * 4; }
  std::size_t zeros() const { return sums() + groups * 4; }
  std::size_t total() const { return zeros() + groups * 4; }
  std::size_t bytes() const { return units ? (total() + 4 + 63) / 64 * 64 : 0; }
};
inline std::size_t activation_bytes(const EncodedMatrix& m) { return ActivationLayout(m).bytes(); }

struct ProductTarget {
  void (*quantise)(const EncodedProduct& p, std::size_t first_token, std::size_t last_token);
  void (*multiply)(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
                   std::size_t last_token);
};
// Byte products of AVX-512, AVX2 and ARMv8.2; null where the processor has them not.
const ProductTarget* vnni_products();
const ProductTarget* avx2_products();
const ProductTarget* neon_products();
// Those that this processor has, and 16-bit products of whatever it has; the best is the first.
const std::vector<const ProductTarget*>& usable_products();
// For matrices of halves and of indices, which need no quantising.
void multiply_halves(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
                     std::size_t last_token);
void multiply_indices(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
                      std::size_t last_token);

constexpr float largest_integer = 32512;  // 127 * 256: the high plane stays within a byte

}  // namespace pomona::cpu
