// Byte dot products of ARMv8.2, which every M chip has. Codes are multiplied as signed bytes: those that need all eight
// bits, and tables' entries, with 128 taken off.
#include "cpu/encoded_product.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <cstring>
#include <limits>

#if defined(__ARM_FEATURE_DOTPROD)
#define POMONA_DOT
#elif defined(__clang__)
#define POMONA_DOT __attribute__((target("dotprod")))
#else
#define POMONA_DOT __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#define POMONA_DOT_INLINE POMONA_DOT __attribute__((always_inline)) inline

namespace pomona::cpu {
namespace {

using Code = EncodedMatrix::Code;
using Scales = EncodedMatrix::Scales;
constexpr std::size_t unpacked_unit = tile_rows * unit_depth;
// Sixteen rows are four vectors of 32-bit sums.
constexpr std::size_t quarters = 4;

constexpr int taken_off(Code code) { return code == Code::eight || code == Code::table ? 128 : 0; }

// The integers of a group as two planes of bytes, n = 256 high + low, and what goes with them; `group` is 16 or 32.
void quantise_group(const float* x, std::size_t group, std::int8_t* high, std::int8_t* low, float* scale,
                    std::int32_t* sum) {
  uint32x4_t most = vdupq_n_u32(0);
  for (std::size_t k = 0; k < group; k += 4)
    most = vmaxq_u32(most, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + k)), vdupq_n_u32(0x7FFFFFFF)));
  // As integers, magnitudes are ordered with infinity and NaN above all numbers: these make the whole group NaN.
  const std::uint32_t bits = vmaxvq_u32(most);
  float largest;
  std::memcpy(&largest, &bits, 4);
  const bool finite = bits < 0x7F800000;
  const float inverse = largest > 1e-30f && finite ? largest_integer / largest : 0;
  *scale = finite ? (inverse == 0 ? 0 : largest / largest_integer) : std::numeric_limits<float>::quiet_NaN();
  int32x4_t sums = vdupq_n_s32(0);
  for (std::size_t k = 0; k < group; k += 8) {
    int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + k), inverse)),
              b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + k + 4), inverse));
    if (!finite) a = b = vdupq_n_s32(0);
    sums = vaddq_s32(sums, vaddq_s32(a, b));
    const int16x8_t n = vcombine_s16(vmovn_s32(a), vmovn_s32(b));
    vst1_s8(high + k, vrshrn_n_s16(n, 8));
    vst1_s8(low + k, vmovn_s16(n));
  }
  *sum = vaddvq_s32(sums);
}

void quantise_vector(const EncodedMatrix& m, const float* x, std::uint8_t* to) {
  const ActivationLayout layout(m);
  auto* scales = reinterpret_cast<float*>(to + layout.scales());
  auto* sums = reinterpret_cast<float*>(to + layout.sums());
  auto* zeros = reinterpret_cast<std::int32_t*>(to + layout.zeros());
  const std::size_t group = m.group();
  float total = 0;
  for (std::size_t g = 0; g < layout.groups; ++g) {
    const std::size_t k = g * group;
    auto* planes = reinterpret_cast<std::int8_t*>(to) + k / unit_depth * unit_depth * 2 + k % unit_depth;
    float rest[32] = {};
    const float* from = x + k;
    if (k + group > m.depth) from = std::copy(x + std::min(k, m.depth), x + m.depth, rest), from = rest;
    std::int32_t sum;
    quantise_group(from, group, planes, planes + unit_depth, scales + g, &sum);
    sums[g] = scales[g] * float(sum);
    zeros[g] = (m.zero - taken_off(m.code)) * sum;
    total += sums[g];
  }
  std::memcpy(to + layout.total(), &total, 4);
}

void quantise(const EncodedProduct& p, std::size_t first, std::size_t last) {
  for (std::size_t t = first; t < last; ++t)
    quantise_vector(*p.m, p.x + t * p.x_stride, p.activations + t * activation_bytes(*p.m));
}

// Of four rows; `d` are those of the span.
POMONA_DOT_INLINE float32x4_t load_scales(const std::uint8_t* at, Scales form, const std::uint8_t* d,
                                          std::size_t quarter) {
  if (form == Scales::floats) return vld1q_f32(reinterpret_cast<const float*>(at) + quarter * 4);
  if (form == Scales::halves)
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const std::uint16_t*>(at) + quarter * 4)));
  std::int8_t n[8] = {};
  std::memcpy(n, at + quarter * 4, 4);
  const int32x4_t wide = vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(n))));
  return vmulq_f32(vld1q_f32(reinterpret_cast<const float*>(d) + quarter * 4), vcvtq_f32_s32(wide));
}

// The codes of four inputs of four rows, as signed bytes, from where the unit's codes begin.
template <Code code>
struct Codes {
  uint8x16_t table;
  POMONA_DOT_INLINE explicit Codes(const EncodedMatrix& m)
      : table(veorq_u8(vld1q_u8(m.table), vdupq_n_u8(std::uint8_t(taken_off(code))))) {}
  POMONA_DOT_INLINE int8x16_t operator()(const std::uint8_t* codes, std::size_t four, std::size_t quarter) const {
    if constexpr (code == Code::eight) {
      return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(codes + four * 64 + quarter * 16), vdupq_n_u8(128)));
    } else {
      constexpr std::size_t lower = EncodedMatrix::lower_bits(code), upper = EncodedMatrix::upper_bits(code);
      uint8x16_t v = bits<lower>(codes + quarter * 16, four);
      if constexpr (code == Code::table) v = vqtbl1q_u8(table, v);
      if constexpr (upper > 0)
        v = vorrq_u8(v, vshlq_n_u8(bits<upper>(codes + 2 * lower * 64 + quarter * 16, four), int(lower)));
      return vreinterpretq_s8_u8(v);
    }
  }
  template <std::size_t count>
  POMONA_DOT_INLINE static uint8x16_t bits(const std::uint8_t* codes, std::size_t four) {
    const BitPlace place = place_of_bits(count, four);
    const uint8x16_t v = vshlq_u8(vld1q_u8(codes + place.vector * 64), vdupq_n_s8(std::int8_t(-place.shift)));
    return vandq_u8(v, vdupq_n_u8((1 << count) - 1));
  }
};

// Codes that have been unpacked, one signed byte each.
struct Unpacked {
  explicit Unpacked(const EncodedMatrix&) {}
  POMONA_DOT_INLINE int8x16_t operator()(const std::uint8_t* codes, std::size_t four, std::size_t quarter) const {
    return vreinterpretq_s8_u8(vld1q_u8(codes + four * 64 + quarter * 16));
  }
};

template <Code code>
POMONA_DOT void unpack(const EncodedMatrix& m, std::size_t tile, std::uint8_t* to) {
  const Codes<code> codes_of(m);
  const std::uint8_t* from = m.bytes.data() + tile * m.tile_bytes() + m.header_bytes();
  for (std::size_t unit = 0; unit < m.units(); ++unit, to += unpacked_unit)
    for (std::size_t four = 0; four < 16; ++four)
      for (std::size_t q = 0; q < quarters; ++q)
        vst1q_s8(reinterpret_cast<std::int8_t*>(to + four * 64 + q * 16), codes_of(from + m.unit_start(unit), four, q));
}

// The dot products of a group, from four `first` on, of `width` quarters with each of `tokens` vectors.
template <int group, int tokens, int width>
struct Dots {
  int32x4_t high[tokens][width], low[tokens][width];

  template <class Source>
  POMONA_DOT_INLINE Dots(const Source& codes_of, const std::uint8_t* codes, std::size_t first, std::size_t quarter,
                         const std::uint8_t* planes, std::size_t stride) {
#pragma GCC unroll 4
    for (int t = 0; t < tokens; ++t)
#pragma GCC unroll 4
      for (int q = 0; q < width; ++q) high[t][q] = low[t][q] = vdupq_n_s32(0);
#pragma GCC unroll 2
    for (std::size_t i = 0; i < group / 4; i += 4) {
      int8x16_t h[tokens], l[tokens];
#pragma GCC unroll 4
      for (int t = 0; t < tokens; ++t) {
        const auto* at = reinterpret_cast<const std::int8_t*>(planes + std::size_t(t) * stride) + (first + i) * 4;
        h[t] = vld1q_s8(at);
        l[t] = vld1q_s8(at + unit_depth);
      }
      add<0>(codes_of, codes, first + i, quarter, h, l);
      add<1>(codes_of, codes, first + i + 1, quarter, h, l);
      add<2>(codes_of, codes, first + i + 2, quarter, h, l);
      add<3>(codes_of, codes, first + i + 3, quarter, h, l);
    }
  }
  template <int lane, class Source>
  POMONA_DOT_INLINE void add(const Source& codes_of, const std::uint8_t* codes, std::size_t four, std::size_t quarter,
                             const int8x16_t (&h)[tokens], const int8x16_t (&l)[tokens]) {
#pragma GCC unroll 4
    for (int q = 0; q < width; ++q) {
      const int8x16_t c = codes_of(codes, four, quarter + std::size_t(q));
#pragma GCC unroll 4
      for (int t = 0; t < tokens; ++t) {
        high[t][q] = vdotq_laneq_s32(high[t][q], c, h[t], lane);
        low[t][q] = vdotq_laneq_s32(low[t][q], c, l[t], lane);
      }
    }
  }
};

template <int tokens>
POMONA_DOT void finish(const EncodedProduct& p, std::size_t tile, std::size_t token,
                       const float32x4_t (&sums)[tokens][quarters]) {
  const EncodedMatrix& m = *p.m;
  const ActivationLayout layout(m);
  const std::size_t row = tile * tile_rows, rows = std::min(tile_rows, m.rows - row);
  for (std::size_t t = 0; t < std::size_t(tokens); ++t) {
    float out[tile_rows], total;
    std::memcpy(&total, p.activations + (token + t) * layout.bytes() + layout.total(), 4);
    for (std::size_t q = 0; q < quarters; ++q) vst1q_f32(out + q * 4, sums[t][q]);
    for (std::size_t r = 0; r < rows; ++r) {
      if (!m.scales) out[r] *= m.row_scales[row + r];
      if (!m.row_minima.empty()) out[r] += total * m.row_minima[row + r];
      p.y[(token + t) * p.y_stride + row + r] = out[r] + (p.bias ? p.bias[row + r] : 0);
    }
  }
}

// `unpacked` has the codes of the tile, or is null.
template <class Source, int group, int tokens>
POMONA_DOT void multiply_block(const EncodedProduct& p, std::size_t tile, std::size_t token,
                               const std::uint8_t* unpacked) {
  constexpr int groups = 64 / group, width = tokens > 2 ? 2 : 4;  // sums of four vectors and sixteen rows: too many
  const EncodedMatrix& m = *p.m;
  const ActivationLayout layout(m);
  const std::size_t bytes = layout.bytes(), scale_bytes = m.scale_bytes(),
                    step = m.scales < groups ? 0 : scale_bytes * m.per_block();
  const bool seconds = m.scales != 0 && m.second != EncodedMatrix::Second::none,
             offsets = m.second == EncodedMatrix::Second::offset;
  const std::uint8_t *x = p.activations + token * bytes, *whole = m.bytes.data() + tile * m.tile_bytes();
  const Source codes_of(m);
  float32x4_t sums[tokens][quarters];
  for (int t = 0; t < tokens; ++t)
    for (std::size_t q = 0; q < quarters; ++q) sums[t][q] = vdupq_n_f32(0);
  for (std::size_t unit = 0; unit < m.units(); ++unit) {
    const std::uint8_t *w = whole + m.unit_start(unit), *d = whole + m.span_start(unit),
                       *codes = unpacked ? unpacked + unit * unpacked_unit : w + m.header_bytes();
    for (std::size_t g = 0; g < groups; ++g) {
      const std::size_t number = unit * groups + g;
      const std::uint8_t* at = w + g * step;
      for (std::size_t first = 0; first < quarters; first += width) {
        const Dots<group, tokens, width> dots(codes_of, codes, g * (group / 4), first, x + unit * 128, bytes);
#pragma GCC unroll 4
        for (int q = 0; q < width; ++q) {
          const std::size_t quarter = first + std::size_t(q);
          const float32x4_t scale = m.scales ? load_scales(at, m.form, d, quarter) : vdupq_n_f32(1);
          float32x4_t second = seconds ? load_scales(at + scale_bytes, m.form, d + 64, quarter) : vdupq_n_f32(0);
          if (offsets) second = vmulq_f32(second, vnegq_f32(scale));
#pragma GCC unroll 4
          for (int t = 0; t < tokens; ++t) {
            const std::uint8_t* parameters = x + std::size_t(t) * bytes + number * 4;
            float factor, sum;
            std::int32_t zeros;
            std::memcpy(&factor, parameters + layout.scales(), 4);
            std::memcpy(&sum, parameters + layout.sums(), 4);
            std::memcpy(&zeros, parameters + layout.zeros(), 4);
            const int32x4_t n =
                vsubq_s32(vaddq_s32(vshlq_n_s32(dots.high[t][q], 8), dots.low[t][q]), vdupq_n_s32(zeros));
            float32x4_t& into = sums[t][quarter];
            into = vfmaq_f32(into, vcvtq_f32_s32(n), vmulq_n_f32(scale, factor));
            if (seconds) into = vfmaq_n_f32(into, second, sum);
          }
        }
      }
    }
  }
  finish<tokens>(p, tile, token, sums);
}

template <class Source, int group>
void multiply_tokens(const EncodedProduct& p, std::size_t tile, std::size_t token, std::size_t last_token,
                     const std::uint8_t* unpacked) {
  for (; token + 4 <= last_token; token += 4) multiply_block<Source, group, 4>(p, tile, token, unpacked);
  if (token + 2 <= last_token) multiply_block<Source, group, 2>(p, tile, token, unpacked), token += 2;
  if (token < last_token) multiply_block<Source, group, 1>(p, tile, token, unpacked);
}

template <Code code, int group>
void multiply_tiles(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
                    std::size_t last_token) {
  // Many vectors: it pays to unpack the codes once for all.
  const bool many = last_token - first_token >= 16;
  const std::size_t tile_codes = p.m->units() * unpacked_unit;
  thread_local HugeBytes buffer;
  if (many && buffer.size() < tile_codes) buffer = HugeBytes(tile_codes);
  for (std::size_t tile = first_tile; tile < last_tile; ++tile) {
    if (many) {
      unpack<code>(*p.m, tile, buffer.data());
      multiply_tokens<Unpacked, group>(p, tile, first_token, last_token, buffer.data());
    } else {
      multiply_tokens<Codes<code>, group>(p, tile, first_token, last_token, nullptr);
    }
  }
}

template <Code code>
void multiply_codes(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
                    std::size_t last_token) {
  auto run = p.m->group() == 16 ? multiply_tiles<code, 16> : multiply_tiles<code, 32>;
  run(p, first_tile, last_tile, first_token, last_token);
}

void multiply(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
              std::size_t last_token) {
  auto run = p.m->code == Code::two     ? multiply_codes<Code::two>
             : p.m->code == Code::three ? multiply_codes<Code::three>
             : p.m->code == Code::four  ? multiply_codes<Code::four>
             : p.m->code == Code::five  ? multiply_codes<Code::five>
             : p.m->code == Code::six   ? multiply_codes<Code::six>
             : p.m->code == Code::eight ? multiply_codes<Code::eight>
                                        : multiply_codes<Code::table>;
  run(p, first_tile, last_tile, first_token, last_token);
}

bool has_byte_products() {
#if defined(__ARM_FEATURE_DOTPROD)
  return true;
#elif defined(__linux__)
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
  return false;
#endif
}

constexpr ProductTarget target{quantise, multiply};

}  // namespace

const ProductTarget* byte_products() {
  static const bool usable = has_byte_products();
  return usable ? &target : nullptr;
}

}  // namespace pomona::cpu
#endif
