// The block formats one by one: each reads the codes, or the scales and shifts, of one block (see blocks.h).
#pragma once
#include <cstdint>
#include <cstring>
#include <span>

#include "base/half.h"

namespace pomona::gguf {

inline float half_at(const std::uint8_t* at) {
  std::uint16_t bits;
  std::memcpy(&bits, at, 2);
  return half_to_float(bits);
}
template <class T>
T number_at(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

// 256 elements with scales of their own within (block_k.cpp).
struct Q2K {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};
struct Q3K {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};
struct Q4K {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);  // of Q5_K too
};
struct Q5K {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
};
struct Q6K {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};
struct Iq4Xs {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};
struct Tq1 {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};
struct Tq2 {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};

// Codes that are vectors of a grid (block_grid.cpp).
struct Iq2Xxs {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};
struct Iq2Xs {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};
struct Iq2S {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};
struct Iq3Xxs {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};
struct Iq3S {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};
struct Iq1S {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};
struct Iq1M {
  static void codes(const std::uint8_t* block, std::uint8_t* out);
  static void scales(const std::uint8_t* block, float* scales, float* shifts);
};

// The table of IQ4_NL and IQ4_XS, ascending.
inline constexpr std::int8_t iq4_values[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

}  // namespace pomona::gguf
