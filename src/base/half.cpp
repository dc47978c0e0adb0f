#include "base/half.h"

#include <bit>
#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pomona {
namespace {

// A float format with `exponent_bits` and `mantissa_bits`, sign first. When `finite_only`, the top exponent is an
// ordinary one except for the all-ones mantissa, which is NaN (E4M3FN).
struct Format {
  int exponent_bits, mantissa_bits;
  bool finite_only;
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  std::uint32_t top_exponent() const { return (1u << exponent_bits) - 1; }
  std::uint32_t nan_bits() const {
    std::uint32_t mantissa = finite_only ? (1u << mantissa_bits) - 1 : 1u << (mantissa_bits - 1);
    return top_exponent() << mantissa_bits | mantissa;
  }
};
constexpr Format half_format{5, 10, false}, e4m3fn_format{4, 3, true}, e5m2_format{5, 2, false};

float decode(std::uint32_t bits, Format f) {
  std::uint32_t mantissa = bits & ((1u << f.mantissa_bits) - 1);
  std::uint32_t exponent = bits >> f.mantissa_bits & f.top_exponent();
  bool negative = bits >> (f.mantissa_bits + f.exponent_bits) & 1;
  float magnitude;
  if (exponent == f.top_exponent() && !f.finite_only) {
    magnitude = mantissa ? NAN : INFINITY;
  } else if (f.finite_only && exponent == f.top_exponent() && mantissa == (1u << f.mantissa_bits) - 1) {
    magnitude = NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(float(mantissa), 1 - f.bias() - f.mantissa_bits);
  } else {
    magnitude = std::ldexp(float(mantissa | 1u << f.mantissa_bits), int(exponent) - f.bias() - f.mantissa_bits);
  }
  return negative ? -magnitude : magnitude;
}

std::uint32_t encode(double value, Format f) {
  std::uint32_t sign = std::uint32_t(std::signbit(value)) << (f.mantissa_bits + f.exponent_bits);
  if (std::isnan(value)) return sign | f.nan_bits();
  double magnitude = std::fabs(value);
  int lowest = 1 - f.bias();
  // The spacing of the format at this magnitude; nearbyint rounds half to even in the default mode.
  int exponent = magnitude > 0 && std::isfinite(magnitude) ? std::max(std::ilogb(magnitude), lowest) : lowest;
  std::uint32_t infinity = f.finite_only ? f.nan_bits() : f.top_exponent() << f.mantissa_bits;
  if (std::isinf(magnitude) || exponent > f.bias() + 1) return sign | infinity;
  auto steps = std::uint64_t(std::nearbyint(std::ldexp(magnitude, f.mantissa_bits - exponent)));
  if (steps >> (f.mantissa_bits + 1)) {
    steps >>= 1;
    ++exponent;
  }
  bool normal = steps >> f.mantissa_bits;
  std::uint32_t biased = normal ? std::uint32_t(exponent + f.bias()) : 0;
  std::uint32_t mantissa = std::uint32_t(steps) & ((1u << f.mantissa_bits) - 1);
  std::uint32_t bits = biased << f.mantissa_bits | mantissa;
  return sign | (bits >= infinity ? infinity : bits);
}

#if defined(__x86_64__)
bool has_f16c() {
  static const bool present = __builtin_cpu_supports("avx") && __builtin_cpu_supports("f16c");
  return present;
}
__attribute__((target("avx,f16c"))) std::size_t halves_to_floats_f16c(std::span<const std::uint16_t> in, float* out) {
  std::size_t i = 0;
  for (; i + 8 <= in.size(); i += 8)
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in.data() + i))));
  return i;
}
__attribute__((target("avx,f16c"))) std::size_t floats_to_halves_f16c(std::span<const float> in, std::uint16_t* out) {
  std::size_t i = 0;
  for (; i + 8 <= in.size(); i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(in.data() + i), 0));
  return i;
}
__attribute__((target("avx,f16c"))) std::size_t round_to_half_f16c(std::span<float> values) {
  std::size_t i = 0;
  for (; i + 8 <= values.size(); i += 8)
    _mm256_storeu_ps(values.data() + i, _mm256_cvtph_ps(_mm256_cvtps_ph(_mm256_loadu_ps(values.data() + i), 0)));
  return i;
}
#endif

}  // namespace

float half_to_float(std::uint16_t bits) {
  // Shift the fields into a float's place, then undo the difference of the biases by a multiplication, which also
  // normalises subnormals.
  std::uint32_t magnitude = std::uint32_t(bits & 0x7FFF) << 13, sign = std::uint32_t(bits & 0x8000) << 16;
  if (magnitude >= 0x7C00u << 13) return std::bit_cast<float>(sign | 0x7F800000u | (magnitude & 0x7FFFFF));
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f));
}

std::uint16_t float_to_half(float value) {
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value), sign = bits >> 16 & 0x8000;
  bits &= 0x7FFFFFFF;
  if (bits > 0x7F800000) return std::uint16_t(sign | 0x7E00);
  if (bits >= 0x47800000) return std::uint16_t(sign | 0x7C00);
  if (bits < 0x38800000) {
    // Subnormal: adding 2^-1 aligns the half's last bit with the float's, and the addition rounds to even.
    std::uint32_t aligned = std::bit_cast<std::uint32_t>(std::bit_cast<float>(bits) + 0.5f);
    return std::uint16_t(sign | (aligned - 0x3F000000));
  }
  bits += 0xFFF + (bits >> 13 & 1);
  return std::uint16_t(sign | (bits - 0x38000000) >> 13);
}

std::uint16_t double_to_half(double value) { return std::uint16_t(encode(value, half_format)); }

void halves_to_floats(std::span<const std::uint16_t> in, float* out) {
  std::size_t i = 0;
#if defined(__x86_64__)
  if (has_f16c()) i = halves_to_floats_f16c(in, out);
#endif
  for (; i < in.size(); ++i) out[i] = half_to_float(in[i]);
}
void floats_to_halves(std::span<const float> in, std::uint16_t* out) {
  std::size_t i = 0;
#if defined(__x86_64__)
  if (has_f16c()) i = floats_to_halves_f16c(in, out);
#endif
  for (; i < in.size(); ++i) out[i] = float_to_half(in[i]);
}
void round_to_half(std::span<float> values) {
  std::size_t i = 0;
#if defined(__x86_64__)
  if (has_f16c()) i = round_to_half_f16c(values);
#endif
  for (; i < values.size(); ++i) values[i] = half_to_float(float_to_half(values[i]));
}

float bfloat16_to_float(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t(bits) << 16); }
std::uint16_t float_to_bfloat16(float value) {
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return std::uint16_t(bits >> 16 | 0x40);
  return std::uint16_t((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
float e4m3fn_to_float(std::uint8_t bits) { return decode(bits, e4m3fn_format); }
std::uint8_t float_to_e4m3fn(float value) { return std::uint8_t(encode(value, e4m3fn_format)); }
float e5m2_to_float(std::uint8_t bits) { return decode(bits, e5m2_format); }
std::uint8_t float_to_e5m2(float value) { return std::uint8_t(encode(value, e5m2_format)); }

}  // namespace pomona
