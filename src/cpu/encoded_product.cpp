#include "cpu/encoded_product.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include <hwy/cache_control.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/encoded_product.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/vector_parts-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pomona::cpu::HWY_NAMESPACE {

using Floats = hn::CappedTag<float, tile_rows>;
using Integers = hn::RebindToSigned<Floats>;
using Halves = hn::Rebind<hwy::float16_t, Floats>;
using Multiples = hn::Rebind<std::int8_t, Floats>;
#if HWY_TARGET != HWY_SCALAR
using Shorts = hn::Repartition<std::int16_t, Integers>;
using Bytes = hn::Rebind<std::uint8_t, Shorts>;
#endif

// Scales, or minima, of 16 rows; `d` are those of their span.
HWY_INLINE void load_row_vector(const std::uint8_t* at, EncodedMatrix::Scales form, const std::uint8_t* d,
                                float* HWY_RESTRICT out) {
  const Floats floats;
  for (std::size_t i = 0; i < tile_rows; i += hn::Lanes(floats)) {
    auto value = hn::Zero(floats);
    if (form == EncodedMatrix::Scales::halves) {
      value = hn::PromoteTo(floats, hn::LoadU(Halves(), reinterpret_cast<const hwy::float16_t*>(at) + i));
    } else if (form == EncodedMatrix::Scales::floats) {
      value = hn::LoadU(floats, reinterpret_cast<const float*>(at) + i);
    } else {
      const auto n = hn::LoadU(Multiples(), reinterpret_cast<const std::int8_t*>(at) + i);
      value = hn::Mul(hn::ConvertTo(floats, hn::PromoteTo(Integers(), n)),
                      hn::LoadU(floats, reinterpret_cast<const float*>(d) + i));
    }
    hn::StoreU(value, floats, out + i);
  }
}

// Sixteen rows' dot products of a group with one vector: bytes 4r+j of `fours` vectors of 64 with x[4 * i + j].
HWY_INLINE void add_products(const std::uint8_t* HWY_RESTRICT codes, const std::int16_t* HWY_RESTRICT x,
                             std::size_t fours, std::int32_t* HWY_RESTRICT out) {
#if HWY_TARGET == HWY_SCALAR
  for (std::size_t r = 0; r < tile_rows; ++r) {
    out[r] = 0;
    for (std::size_t k = 0; k < 4 * fours; ++k) out[r] += x[k] * codes[k / 4 * 64 + r * 4 + k % 4];
  }
#else
  const Shorts shorts;
  const Bytes bytes;
  const Integers integers;
  const hn::Repartition<std::uint64_t, Shorts> longs;
  const std::size_t lanes = hn::Lanes(shorts);  // elements of 4 to a row
  for (std::size_t at = 0; at < 64; at += lanes) {
    auto sum = hn::Zero(integers), rest = hn::Zero(integers);
    for (std::size_t i = 0; i < fours; ++i) {
      std::uint64_t four;
      std::memcpy(&four, x + 4 * i, 8);
      const auto w = hn::PromoteTo(shorts, hn::LoadU(bytes, codes + i * 64 + at));
      sum = hn::ReorderWidenMulAccumulate(integers, w, hn::BitCast(shorts, hn::Set(longs, four)), sum, rest);
    }
    // Neighbours' sums: two to a row.
    HWY_ALIGN std::int32_t pairs[tile_rows];
    hn::StoreU(hn::RearrangeToOddPlusEven(sum, rest), integers, pairs);
    for (std::size_t r = 0; r < lanes / 4; ++r) out[at / 4 + r] = pairs[2 * r] + pairs[2 * r + 1];
  }
#endif
}

// The codes of a group, one byte each, as vectors of 64: fours [first, first + count) of a unit.
void unpack_codes(const EncodedMatrix& m, const std::uint8_t* HWY_RESTRICT codes, std::size_t first, std::size_t count,
                  std::uint8_t* HWY_RESTRICT out) {
  const std::size_t lower = m.lower_bits(), upper = m.upper_bits();
  auto add = [&](std::size_t first_vector, std::size_t bits, std::size_t four, int shift, std::uint8_t* to) {
    BitPlace place = place_of_bits(bits, four);
    const std::uint8_t* from = codes + (first_vector + place.vector) * 64;
    int mask = (1 << bits) - 1;
    for (std::size_t b = 0; b < 64; ++b) to[b] |= std::uint8_t((from[b] >> place.shift & mask) << shift);
  };
  std::fill_n(out, count * 64, std::uint8_t(0));
  for (std::size_t i = 0; i < count; ++i) {
    add(0, lower, first + i, 0, out + i * 64);
    if (upper) add(2 * lower, upper, first + i, int(lower), out + i * 64);
    if (m.code == EncodedMatrix::Code::table)
      for (std::size_t b = 0; b < 64; ++b) out[i * 64 + b] = m.table[out[i * 64 + b]];
  }
}

void multiply_tile(const EncodedProduct& p, std::size_t tile, std::size_t first_token, std::size_t tokens) {
  constexpr std::size_t most_tokens = 4;
  const EncodedMatrix& m = *p.m;
  const ActivationLayout layout(m);
  const std::size_t group = m.group(), groups = unit_depth / group, fours = group / 4;
  const bool two = m.second != EncodedMatrix::Second::none;
  float sums[most_tokens][tile_rows] = {};
  float scale[tile_rows], second[tile_rows] = {};
  std::fill_n(scale, tile_rows, 1.0f);
  std::uint8_t unpacked[8 * 64];
  for (std::size_t unit = 0; unit < m.units(); ++unit) {
    const std::uint8_t *whole = m.bytes.data() + tile * m.tile_bytes(), *w = whole + m.unit_start(unit),
                       *d = whole + m.span_start(unit);
    for (std::size_t g = 0; g < groups; ++g) {
      if (m.scales) {
        const std::uint8_t* at = w + g * m.scales / groups * m.scale_bytes() * m.per_block();
        load_row_vector(at, m.form, d, scale);
        if (two) load_row_vector(at + m.scale_bytes(), m.form, d + tile_rows * 4, second);
        if (m.second == EncodedMatrix::Second::offset)
          for (std::size_t r = 0; r < tile_rows; ++r) second[r] *= -scale[r];
      }
      const std::uint8_t* codes = w + m.header_bytes();
      if (m.code == EncodedMatrix::Code::eight)
        codes += g * fours * 64;
      else
        unpack_codes(m, codes, g * fours, fours, unpacked), codes = unpacked;
      for (std::size_t t = 0; t < tokens; ++t) {
        const std::uint8_t* x = p.activations + (first_token + t) * layout.bytes();
        std::int32_t dots[tile_rows];
        add_products(codes, reinterpret_cast<const std::int16_t*>(x) + unit * unit_depth + g * group, fours, dots);
        std::size_t number = unit * groups + g;
        float factor = reinterpret_cast<const float*>(x + layout.scales())[number],
              sum = reinterpret_cast<const float*>(x + layout.sums())[number];
        std::int32_t zeros = reinterpret_cast<const std::int32_t*>(x + layout.zeros())[number];
        for (std::size_t r = 0; r < tile_rows; ++r) {
          sums[t][r] += float(dots[r] - zeros) * (scale[r] * factor);
          if (m.scales && two) sums[t][r] += sum * second[r];
        }
      }
    }
  }
  for (std::size_t t = 0; t < tokens; ++t) {
    float total;
    std::memcpy(&total, p.activations + (first_token + t) * layout.bytes() + layout.total(), 4);
    std::size_t row = tile * tile_rows;
    for (std::size_t r = 0; r < std::min(tile_rows, m.rows - row); ++r) {
      float v = sums[t][r];
      if (!m.scales) v *= m.row_scales[row + r];
      if (!m.row_minima.empty()) v += total * m.row_minima[row + r];
      p.y[(first_token + t) * p.y_stride + row + r] = v + (p.bias ? p.bias[row + r] : 0);
    }
  }
}

void multiply_here(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
                   std::size_t last_token) {
  for (std::size_t tile = first_tile; tile < last_tile; ++tile)
    for (std::size_t token = first_token; token < last_token; token += 4)
      multiply_tile(p, tile, token, std::min<std::size_t>(4, last_token - token));
}

// `tokens` vectors times one tile; `chains` sums per result, so that a lone vector's additions need not wait for each
// other.
template <int tokens, int chains>
HWY_INLINE void halves_block(const EncodedProduct& p, std::size_t tile, std::size_t token) {
  const Floats d;
  const Halves halves;
  const EncodedMatrix& m = *p.m;
  const auto* w = reinterpret_cast<const hwy::float16_t*>(m.bytes.data() + tile * m.tile_bytes());
  const float* x = p.x + token * p.x_stride;
  const std::size_t row = tile * tile_rows, lanes = hn::Lanes(d), rows = std::min(tile_rows, m.rows - row);
  for (std::size_t v = 0; v < rows; v += lanes) {
    hn::Vec<Floats> sums[tokens][chains];
    HWY_UNROLL(12) for (int t = 0; t < tokens; ++t) {
      HWY_UNROLL(4) for (int c = 0; c < chains; ++c) sums[t][c] = hn::Zero(d);
    }
    std::size_t k = 0;
    for (; k + chains <= m.depth; k += chains) {
      HWY_UNROLL(4) for (int c = 0; c < chains; ++c) {
        const auto* at = w + (k + std::size_t(c)) * tile_rows + v;
        if constexpr (tokens == 1) hwy::Prefetch(at + 4096);
        const auto element = hn::PromoteTo(d, hn::LoadU(halves, at));
        HWY_UNROLL(12)
        for (int t = 0; t < tokens; ++t)
          sums[t][c] = hn::MulAdd(hn::Set(d, x[std::size_t(t) * p.x_stride + k + std::size_t(c)]), element, sums[t][c]);
      }
    }
    for (; k < m.depth; ++k) {
      const auto element = hn::PromoteTo(d, hn::LoadU(halves, w + k * tile_rows + v));
      HWY_UNROLL(12)
      for (int t = 0; t < tokens; ++t)
        sums[t][0] = hn::MulAdd(hn::Set(d, x[std::size_t(t) * p.x_stride + k]), element, sums[t][0]);
    }
    HWY_UNROLL(12) for (int t = 0; t < tokens; ++t) {
      auto sum = sums[t][0];
      HWY_UNROLL(4) for (int c = 1; c < chains; ++c) sum = hn::Add(sum, sums[t][c]);
      float* y = p.y + (token + std::size_t(t)) * p.y_stride + row + v;
      if (p.bias) sum = hn::Add(sum, load_first(d, p.bias + row + v, rows - v));
      store_first(d, sum, y, rows - v);
    }
  }
}

void multiply_halves_here(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile,
                          std::size_t first_token, std::size_t last_token) {
  for (std::size_t tile = first_tile; tile < last_tile; ++tile) {
    std::size_t token = first_token;
    for (; token + 12 <= last_token; token += 12) halves_block<12, 1>(p, tile, token);
    for (; token + 4 <= last_token; token += 4) halves_block<4, 2>(p, tile, token);
    for (; token < last_token; ++token) halves_block<1, 4>(p, tile, token);
  }
}

}  // namespace pomona::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pomona::cpu {
namespace {

HWY_EXPORT(multiply_here);
HWY_EXPORT(multiply_halves_here);

void quantise_vector(const EncodedMatrix& m, const float* x, std::uint8_t* to) {
  ActivationLayout layout(m);
  auto* integers = reinterpret_cast<std::int16_t*>(to);
  std::size_t group = m.group();
  float total = 0;
  for (std::size_t g = 0; g < layout.groups; ++g) {
    std::size_t first = std::min(g * group, m.depth), last = std::min(first + group, m.depth);
    float largest = 0;
    bool finite = true;
    for (std::size_t k = first; k < last; ++k) {
      finite = finite && std::isfinite(x[k]);
      largest = std::max(largest, std::fabs(x[k]));
    }
    float inverse = largest > 1e-30f && finite ? largest_integer / largest : 0;
    float scale = !finite ? std::numeric_limits<float>::quiet_NaN() : inverse == 0 ? 0 : largest / largest_integer;
    std::int32_t sum = 0;
    std::fill_n(integers + g * group, group, std::int16_t(0));
    for (std::size_t k = first; finite && k < last; ++k) {
      integers[g * group + k - first] = std::int16_t(std::lrintf(x[k] * inverse));
      sum += integers[g * group + k - first];
    }
    reinterpret_cast<float*>(to + layout.scales())[g] = scale;
    reinterpret_cast<float*>(to + layout.sums())[g] = scale * float(sum);
    reinterpret_cast<std::int32_t*>(to + layout.zeros())[g] = m.zero * sum;
    total += scale * float(sum);
  }
  std::memcpy(to + layout.total(), &total, 4);
}

void quantise(const EncodedProduct& p, std::size_t first, std::size_t last) {
  for (std::size_t t = first; t < last; ++t)
    quantise_vector(*p.m, p.x + t * p.x_stride, p.activations + t * activation_bytes(*p.m));
}
void multiply(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
              std::size_t last_token) {
  HWY_DYNAMIC_DISPATCH(multiply_here)(p, first_tile, last_tile, first_token, last_token);
}

constexpr ProductTarget portable{quantise, multiply};

}  // namespace

const std::vector<const ProductTarget*>& usable_products() {
  static const std::vector<const ProductTarget*> all = [] {
    std::vector<const ProductTarget*> found = {vnni_products(), avx2_products(), neon_products(), &portable};
    std::erase(found, nullptr);
    return found;
  }();
  return all;
}

void multiply_halves(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
                     std::size_t last_token) {
  HWY_DYNAMIC_DISPATCH(multiply_halves_here)(p, first_tile, last_tile, first_token, last_token);
}

}  // namespace pomona::cpu
#endif
