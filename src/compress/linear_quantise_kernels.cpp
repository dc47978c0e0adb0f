#include "compress/linear_quantise_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/half.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compress/linear_quantise_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef POMONA_COMPRESS_LINEAR_QUANTISE_SCALES
#define POMONA_COMPRESS_LINEAR_QUANTISE_SCALES
namespace pomona::compress {

inline constexpr unsigned most_candidates_at_once = 16;
// The narrowest candidate range. Below it the clipped tails cost more than the finer steps gain, even at 4 bits.
inline constexpr double narrowest_ratio = 0.6;
// At 8 bits clipping seldom pays, but steps that differ a little meet the weights differently.
inline constexpr double fine_reach = 0.03;

// The ranges that are tried, the covering one first.
inline double candidate_ratio(unsigned candidate, const BlockCoding& coding) {
  if (!coding.fine) return 1 - (1 - narrowest_ratio) * candidate / (coding.candidates - 1);
  if (candidate == 0) return 1;
  return 1 + fine_reach * (1 - 2.0 * (candidate - 1) / std::max(1u, coding.candidates - 2));
}

// The nearest fp16 number to a positive float (ties to even); infinity from 65520.
inline float nearest_half(float value) {
  if (value < float(smallest_normal_half))
    return (value + 0.5f) - 0.5f;  // fp16 subnormals are the multiples of 2^-24, the spacing of floats at 0.5
  if (value >= 65520.0f) return std::numeric_limits<float>::infinity();
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0xFFFu + (bits >> 13 & 1u)) & ~0x1FFFu);
}

// `wanted` > 0 as it will be stored: never 0, and not rounded down so far (which happens among subnormals) that the
// extremes of the block would be clipped by more than half a step.
inline float stored_scale(double wanted, const BlockCoding& coding) {
  const float smallest = coding.fp16_scales ? float(smallest_half) : std::numeric_limits<float>::denorm_min();
  const auto narrow = static_cast<float>(wanted);
  const float scale = std::max(coding.fp16_scales ? nearest_half(narrow) : narrow, smallest);
  const double reach = 1 + 0.5 / (static_cast<double>(coding.highest) - coding.lowest);
  return wanted > scale * reach ? scale + smallest : scale;
}

// The step that just covers lowest..highest of a block (both 0 allowed). coremltools takes the span of asymmetric
// blocks in the weights' own type; rounding it to the type of the scale gives the same scales wherever the two types
// agree.
inline double covering_step(float least, float most, const BlockCoding& coding) {
  if (!coding.symmetric) {
    const double exact = std::max<double>(most, 0) - std::min<double>(least, 0);
    const auto narrow = static_cast<float>(exact);
    const float span = coding.fp16_scales ? nearest_half(narrow) : narrow;
    return (span > 0 && std::isfinite(span) ? span : exact) / (static_cast<double>(coding.highest) - coding.lowest);
  }
  const double above = std::max<double>(most, 0) / (coding.highest - coding.zero_point);
  const double below = std::max<double>(-static_cast<double>(least), 0) / (coding.zero_point - coding.lowest);
  return std::max(above, below);
}

// The zero point of an asymmetric block whose range begins at ratio * min(least, 0).
inline float zero_point_of(float least, double ratio, float scale, const BlockCoding& coding) {
  if (coding.symmetric) return coding.zero_point;
  const double exact = coding.lowest - ratio * std::min<double>(least, 0) / scale;
  return static_cast<float>(std::clamp<double>(std::nearbyint(exact), coding.lowest, coding.highest));
}

struct ScaleChoice {
  float scale = 1;
  float zero_point = 0;
};

}  // namespace pomona::compress
#endif

HWY_BEFORE_NAMESPACE();
namespace pomona::compress::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, block_padding>;
using Vector = hn::Vec<Floats>;

// Partial sums stay in float for this many terms per lane before they move to double.
constexpr std::size_t terms_in_float = 512;

struct Extremes {
  float least, most;
  bool finite;
};

HWY_INLINE Extremes extremes_of(const float* values, std::size_t count) {
  const Floats d;
  const Vector zero = hn::Zero(d);
  Vector least = zero;
  Vector most = zero;
  Vector poison = zero;  // x * 0 is NaN for infinities and NaN
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    const Vector x = hn::LoadU(d, values + i);
    least = hn::Min(least, x);
    most = hn::Max(most, x);
    poison = hn::MulAdd(x, zero, poison);
  }
  const bool finite = hn::AllTrue(d, hn::Eq(poison, zero));
  return {hn::GetLane(hn::MinOfLanes(d, least)), hn::GetLane(hn::MaxOfLanes(d, most)), finite};
}

// The squared errors of coding the block with each of `most_candidates_at_once` scales, one candidate per lane.
HWY_INLINE void score(const float* values, std::size_t count, const BlockCoding& coding, const float* scales,
                      const float* zero_points, double* errors) {
  const Floats d;
  const Vector lowest = hn::Set(d, coding.lowest);
  const Vector highest = hn::Set(d, coding.highest);
  float partial[block_padding];
  for (std::size_t lane = 0; lane < most_candidates_at_once; lane += hn::Lanes(d)) {
    const Vector scale = hn::LoadU(d, scales + lane);
    const Vector inverse = hn::Div(hn::Set(d, 1.0f), scale);
    const Vector zero_point = hn::LoadU(d, zero_points + lane);
    const Vector least = hn::Sub(lowest, zero_point);
    const Vector most = hn::Sub(highest, zero_point);
    for (std::size_t k = 0; k < hn::Lanes(d); ++k) errors[lane + k] = 0;
    for (std::size_t begin = 0; begin < count; begin += terms_in_float) {
      const std::size_t end = std::min(begin + terms_in_float, count);
      Vector even = hn::Zero(d);
      Vector odd = hn::Zero(d);
      for (std::size_t i = begin; i < end; i += 2) {
        const Vector x = hn::Set(d, values[i]);
        const Vector y = hn::Set(d, values[i + 1]);
        const Vector p = hn::Min(hn::Max(hn::Round(hn::Mul(x, inverse)), least), most);
        const Vector q = hn::Min(hn::Max(hn::Round(hn::Mul(y, inverse)), least), most);
        const Vector e = hn::NegMulAdd(p, scale, x);
        const Vector f = hn::NegMulAdd(q, scale, y);
        even = hn::MulAdd(e, e, even);
        odd = hn::MulAdd(f, f, odd);
      }
      hn::StoreU(hn::Add(even, odd), d, partial);
      for (std::size_t k = 0; k < hn::Lanes(d); ++k) errors[lane + k] += static_cast<double>(partial[k]);
    }
  }
}

// The best of coding.candidates ranges, from the covering one down to narrowest_ratio of it.
HWY_INLINE ScaleChoice search_scale(const float* values, std::size_t count, const Extremes& extremes, double step,
                                    const BlockCoding& coding) {
  ScaleChoice best{stored_scale(step, coding), 0};
  best.zero_point = zero_point_of(extremes.least, 1, best.scale, coding);
  // Reciprocals of smaller scales overflow; such blocks keep the covering range.
  if (coding.candidates <= 1 || best.scale < 0x1p-100f) return best;
  double least_error = std::numeric_limits<double>::infinity();
  float scales[most_candidates_at_once];
  float zero_points[most_candidates_at_once];
  double errors[most_candidates_at_once];
  for (unsigned first = 0; first < coding.candidates; first += most_candidates_at_once) {
    for (unsigned k = 0; k < most_candidates_at_once; ++k) {
      const unsigned candidate = std::min(first + k, coding.candidates - 1);
      const double ratio = candidate_ratio(candidate, coding);
      scales[k] = stored_scale(step * ratio, coding);
      zero_points[k] = zero_point_of(extremes.least, ratio, scales[k], coding);
    }
    score(values, count, coding, scales, zero_points, errors);
    for (unsigned k = 0; k < most_candidates_at_once; ++k) {
      if (errors[k] >= least_error) continue;
      least_error = errors[k];
      best = {scales[k], zero_points[k]};
    }
  }
  return best;
}

HWY_INLINE double code_block(const float* values, std::size_t count, const ScaleChoice& choice,
                             const BlockCoding& coding, std::uint8_t* codes) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const hn::Rebind<std::uint8_t, Floats> bytes;
  const Vector scale = hn::Set(d, choice.scale);
  const Vector zero_point = hn::Set(d, choice.zero_point);
  const Vector lowest = hn::Set(d, coding.lowest);
  const Vector highest = hn::Set(d, coding.highest);
  const auto low_byte = hn::Set(di, 255);
  double total = 0;
  const std::size_t chunk = terms_in_float * hn::Lanes(d);
  for (std::size_t begin = 0; begin < count; begin += chunk) {
    Vector error = hn::Zero(d);
    for (std::size_t i = begin; i < std::min(begin + chunk, count); i += hn::Lanes(d)) {
      const Vector x = hn::LoadU(d, values + i);
      const Vector steps = hn::Add(hn::Round(hn::Div(x, scale)), zero_point);
      const Vector code = hn::Min(hn::Max(steps, lowest), highest);
      const Vector distance = hn::NegMulAdd(hn::Sub(code, zero_point), scale, x);
      error = hn::MulAdd(distance, distance, error);
      hn::StoreU(hn::DemoteTo(bytes, hn::And(hn::ConvertTo(di, code), low_byte)), bytes, codes + i);
    }
    total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, error)));
  }
  return total;
}

std::size_t code_blocks_in_lanes(const float* values, std::size_t blocks, std::size_t stride, const BlockCoding& coding,
                                 float* scales, float* zero_points, std::uint8_t* codes, double* squared_error) {
  for (std::size_t block = 0; block < blocks; ++block) {
    const float* part = values + block * stride;
    Extremes extremes = extremes_of(part, stride);
    if (!extremes.finite) return block;
    if (coding.given_extremes) extremes = {coding.least, coding.most, true};
    const double step = covering_step(extremes.least, extremes.most, coding);
    ScaleChoice choice{1, coding.symmetric ? coding.zero_point : zero_point_of(0, 1, 1, coding)};
    if (step > 0) choice = search_scale(part, stride, extremes, step, coding);
    if (!std::isfinite(choice.scale)) return block;
    scales[block] = choice.scale;
    zero_points[block] = choice.zero_point;
    *squared_error += code_block(part, stride, choice, coding, codes + block * stride);
  }
  return blocks;
}

}  // namespace pomona::compress::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pomona::compress {

HWY_EXPORT(code_blocks_in_lanes);

std::size_t code_blocks(const float* values, std::size_t blocks, std::size_t stride, const BlockCoding& coding,
                        float* scales, float* zero_points, std::uint8_t* codes, double* squared_error) {
  return HWY_DYNAMIC_DISPATCH(code_blocks_in_lanes)(values, blocks, stride, coding, scales, zero_points, codes,
                                                    squared_error);
}

}  // namespace pomona::compress
#endif
