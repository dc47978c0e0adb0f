// Conversions between float32 and the narrow floating-point formats that weights are stored in.
//
// fp16 (IEEE 754 binary16), bf16, fp8 E4M3FN (bias 7, no infinity, NaN = S.1111.111) and fp8 E5M2 (bias 15,
// IEEE-like), after "FP8 Formats for Deep Learning", arXiv 2209.05433. All roundings are to nearest even;
// overflow goes to infinity, or to NaN in E4M3FN, which has none.
//
//   std::uint16_t bits = float_to_half(1.5f);
//   halves_to_floats(source, destination);   // bulk, vectorised where the processor can
//
// It does not do arithmetic in these formats: convert, compute in float, convert back.
#pragma once
#include <cstdint>
#include <span>

namespace pomona {

inline constexpr double largest_half = 65504, smallest_normal_half = 0x1p-14, smallest_half = 0x1p-24;

float half_to_float(std::uint16_t bits);
std::uint16_t float_to_half(float value);
// double -> half with a single rounding (going through float would round twice).
std::uint16_t double_to_half(double value);
// Bulk forms; `out` has room for in.size() elements and may not overlap `in`.
void halves_to_floats(std::span<const std::uint16_t> in, float* out);
void floats_to_halves(std::span<const float> in, std::uint16_t* out);
// Rounds each value to the nearest half and back, in place.
void round_to_half(std::span<float> values);

float bfloat16_to_float(std::uint16_t bits);
std::uint16_t float_to_bfloat16(float value);
float e4m3fn_to_float(std::uint8_t bits);
std::uint8_t float_to_e4m3fn(float value);
float e5m2_to_float(std::uint8_t bits);
std::uint8_t float_to_e5m2(float value);

}  // namespace pomona
