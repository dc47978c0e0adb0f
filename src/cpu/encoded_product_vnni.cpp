// Byte dot products of AVX-512. Highway 1.0.3 knows no quad dot product, so these carry their own target.
#include "cpu/encoded_product.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 warns of its own intrinsics' undefined operands.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#define POMONA_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma")))
#define POMONA_VNNI_INLINE POMONA_VNNI __attribute__((always_inline)) inline

namespace pomona::cpu {
namespace {

using Code = EncodedMatrix::Code;
using Scales = EncodedMatrix::Scales;
constexpr std::size_t unpacked_unit = tile_rows * unit_depth;

POMONA_VNNI_INLINE __m512i quad(const std::uint8_t* at) {
  std::int32_t four;
  std::memcpy(&four, at, 4);
  return _mm512_set1_epi32(four);
}

// Integers with a common scale: `lanes` is 16 or 32.
template <int lanes>
POMONA_VNNI void quantise_group(const float* x, std::size_t count, int zero, std::uint8_t* high, std::uint8_t* low,
                                float* scale, float* sum, std::int32_t* zeros) {
  constexpr int vectors = lanes / 16;
  __m512 v[vectors];
  __m512i most = _mm512_setzero_si512();
  for (int i = 0; i < vectors; ++i) {
    std::size_t left = count > std::size_t(i) * 16 ? count - std::size_t(i) * 16 : 0;
    v[i] = _mm512_maskz_loadu_ps(__mmask16(left >= 16 ? 0xFFFF : (1u << left) - 1), x + i * 16);
    most = _mm512_max_epi32(most, _mm512_and_si512(_mm512_castps_si512(v[i]), _mm512_set1_epi32(0x7FFFFFFF)));
  }
  // As integers, magnitudes are ordered with infinity and NaN above all numbers: these make the whole group NaN.
  std::int32_t bits = _mm512_reduce_max_epi32(most);
  float largest;
  std::memcpy(&largest, &bits, 4);
  bool finite = bits < 0x7F800000;
  float inverse = largest > 1e-30f && finite ? largest_integer / largest : 0;
  *scale = finite ? (inverse == 0 ? 0 : largest / largest_integer) : __builtin_nanf("");
  std::int32_t total = 0;
  for (int i = 0; i < vectors; ++i) {
    __m512i n = _mm512_cvtps_epi32(_mm512_mul_ps(v[i], _mm512_set1_ps(inverse)));
    n = finite ? n : _mm512_setzero_si512();
    __m512i h = _mm512_srai_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(128)), 8);
    __m512i l = _mm512_sub_epi32(n, _mm512_slli_epi32(h, 8));
    total += _mm512_reduce_add_epi32(n);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high + i * 16), _mm512_cvtepi32_epi8(h));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(low + i * 16), _mm512_cvtepi32_epi8(l));
  }
  *sum = *scale * float(total);
  *zeros = zero * total;
}

template <int lanes>
POMONA_VNNI void quantise_vector(const EncodedMatrix& m, const float* x, std::uint8_t* to) {
  ActivationLayout layout(m);
  auto* scales = reinterpret_cast<float*>(to + layout.scales());
  auto* sums = reinterpret_cast<float*>(to + layout.sums());
  auto* zeros = reinterpret_cast<std::int32_t*>(to + layout.zeros());
  float total = 0;
  for (std::size_t g = 0; g < layout.groups; ++g) {
    std::size_t k = g * lanes, within = k % unit_depth;
    std::uint8_t* high = to + k / unit_depth * unit_depth * 2 + within;
    quantise_group<lanes>(x + std::min(k, m.depth), k < m.depth ? std::min<std::size_t>(m.depth - k, lanes) : 0, m.zero,
                          high, high + unit_depth, scales + g, sums + g, zeros + g);
    total += sums[g];
  }
  std::memcpy(to + layout.total(), &total, 4);
}

void quantise(const EncodedProduct& p, std::size_t first, std::size_t last) {
  std::size_t bytes = activation_bytes(*p.m);
  for (std::size_t t = first; t < last; ++t) {
    if (p.m->group() == 16)
      quantise_vector<16>(*p.m, p.x + t * p.x_stride, p.activations + t * bytes);
    else
      quantise_vector<32>(*p.m, p.x + t * p.x_stride, p.activations + t * bytes);
  }
}

// Of 16 rows; `d` are those of the span.
POMONA_VNNI_INLINE __m512 load_scales(const std::uint8_t* at, Scales form, const std::uint8_t* d) {
  if (form == Scales::halves) return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
  if (form == Scales::floats) return _mm512_loadu_ps(at);
  __m128i n = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  return _mm512_mul_ps(_mm512_loadu_ps(d), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(n)));
}

// The vectors of codes of a group of 32 (or 16) inputs, by number of the four inputs that each holds.
template <Code code>
struct Codes {
  __m512i table;
  POMONA_VNNI_INLINE explicit Codes(const EncodedMatrix& m)
      : table(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(m.table)))) {}
  // Fours of a unit: 0..15.
  POMONA_VNNI_INLINE __m512i operator()(const std::uint8_t* codes, int four) const {
    if constexpr (code == Code::eight) return _mm512_loadu_si512(codes + four * 64);
    constexpr int lower = int(EncodedMatrix::lower_bits(code)), upper = int(EncodedMatrix::upper_bits(code));
    const BitPlace place = place_of_bits(lower, std::size_t(four));
    __m512i v = _mm512_loadu_si512(codes + place.vector * 64);
    if (place.shift) v = _mm512_srli_epi16(v, unsigned(place.shift));
    v = _mm512_and_si512(v, _mm512_set1_epi8(char((1 << lower) - 1)));
    if constexpr (code == Code::table) v = _mm512_shuffle_epi8(table, v);
    if constexpr (upper > 0) {
      const BitPlace above = place_of_bits(upper, std::size_t(four));
      __m512i bits = _mm512_loadu_si512(codes + (2 * lower + above.vector) * 64);
      const int left = lower - above.shift;
      bits = left >= 0 ? _mm512_slli_epi16(bits, unsigned(std::max(left, 0)))
                       : _mm512_srli_epi16(bits, unsigned(std::max(-left, 0)));
      constexpr int masked_or = 0xEA;  // (a & b) | c
      v = _mm512_ternarylogic_epi32(bits, _mm512_set1_epi8(char(((1 << upper) - 1) << lower)), v, masked_or);
    }
    return v;
  }
};

// The codes of a tile as those of eight bits lie, without what is between units.
template <Code code>
POMONA_VNNI void unpack(const EncodedMatrix& m, std::size_t tile, std::uint8_t* to) {
  const Codes<code> codes_of(m);
  const std::size_t units = m.units(), header = m.header_bytes();
  const std::uint8_t* from = m.bytes.data() + tile * m.tile_bytes();
  for (std::size_t unit = 0; unit < units; ++unit, to += unpacked_unit) {
    const std::uint8_t* codes = from + m.unit_start(unit) + header;
#pragma GCC unroll 16
    for (int four = 0; four < 16; ++four) _mm512_store_si512(to + four * 64, codes_of(codes, four));
  }
}

// `unpacked` has the codes of the tiles, or is null.
template <Code code, int group, int tokens, int tiles>
POMONA_VNNI void multiply_block(const EncodedProduct& p, std::size_t tile, std::size_t token,
                                const std::uint8_t* unpacked) {
  const EncodedMatrix& m = *p.m;
  const ActivationLayout layout(m);
  constexpr int groups = 64 / group, fours = group / 4;
  const std::size_t bytes = layout.bytes(), units = m.units(), tile_bytes = m.tile_bytes(), unit_bytes = m.unit_bytes(),
                    header = m.header_bytes(), scale_bytes = m.scale_bytes(), span_bytes = m.span_bytes(),
                    step = m.scales < groups ? 0 : scale_bytes * m.per_block();
  const Scales form = m.form;
  const bool offsets = m.second == EncodedMatrix::Second::offset,
             seconds = m.scales != 0 && m.second != EncodedMatrix::Second::none;
  const std::uint8_t* x = p.activations + token * bytes;
  const std::uint8_t *w = m.bytes.data() + tile * tile_bytes, *span = w;
  const Codes<code> codes_of(m);
  __m512 sums[tokens][tiles];
  for (int t = 0; t < tokens; ++t)
    for (int r = 0; r < tiles; ++r) sums[t][r] = _mm512_setzero_ps();
  for (std::size_t unit = 0; unit < units; ++unit, w += unit_bytes) {
    if (unit % span_units == 0) span = w, w += span_bytes;
    if constexpr (tokens == 1)
      for (std::size_t ahead = 0; ahead < unit_bytes; ahead += 64)
        _mm_prefetch(reinterpret_cast<const char*>(w + 6144 + ahead), _MM_HINT_T0);
    const std::uint8_t *planes = x + unit * 128, *codes = w + header;
    std::size_t codes_step = tile_bytes;
    if (code == Code::eight && unpacked) codes = unpacked + unit * unpacked_unit, codes_step = units * unpacked_unit;
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) {
      __m512i high[tokens][tiles], low[tokens][tiles];
#pragma GCC unroll 8
      for (int t = 0; t < tokens; ++t)
#pragma GCC unroll 2
        for (int r = 0; r < tiles; ++r) high[t][r] = low[t][r] = _mm512_setzero_si512();
#pragma GCC unroll 8
      for (int i = 0; i < fours; ++i) {
        const int four = g * fours + i;
        __m512i c[tiles];
#pragma GCC unroll 2
        for (int r = 0; r < tiles; ++r) c[r] = codes_of(codes + std::size_t(r) * codes_step, four);
#pragma GCC unroll 8
        for (int t = 0; t < tokens; ++t) {
          const std::uint8_t* at = planes + std::size_t(t) * bytes + four * 4;
#pragma GCC unroll 2
          for (int r = 0; r < tiles; ++r) {
            high[t][r] = _mm512_dpbusd_epi32(high[t][r], c[r], quad(at));
            low[t][r] = _mm512_dpbusd_epi32(low[t][r], c[r], quad(at + 64));
          }
        }
      }
      const std::size_t number = unit * groups + std::size_t(g);
      __m512 scale[tiles], second[tiles];
#pragma GCC unroll 2
      for (int r = 0; r < tiles; ++r) {
        const std::uint8_t *at = w + std::size_t(r) * tile_bytes + std::size_t(g) * step,
                           *d = span + std::size_t(r) * tile_bytes;
        scale[r] = m.scales ? load_scales(at, form, d) : _mm512_set1_ps(1);
        second[r] = seconds ? load_scales(at + scale_bytes, form, d + 64) : _mm512_setzero_ps();
        if (offsets) second[r] = _mm512_mul_ps(second[r], _mm512_sub_ps(_mm512_setzero_ps(), scale[r]));
      }
#pragma GCC unroll 8
      for (int t = 0; t < tokens; ++t) {
        const std::uint8_t* parameters = x + std::size_t(t) * bytes + number * 4;
        const __m512 factor = _mm512_castsi512_ps(quad(parameters + layout.scales()));
        const __m512i zeros = quad(parameters + layout.zeros());
#pragma GCC unroll 2
        for (int r = 0; r < tiles; ++r) {
          __m512i n = _mm512_sub_epi32(_mm512_add_epi32(_mm512_slli_epi32(high[t][r], 8), low[t][r]), zeros);
          sums[t][r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(n), _mm512_mul_ps(scale[r], factor), sums[t][r]);
          if (seconds)
            sums[t][r] = _mm512_fmadd_ps(_mm512_castsi512_ps(quad(parameters + layout.sums())), second[r], sums[t][r]);
        }
      }
    }
  }
  for (int t = 0; t < tokens; ++t)
    for (int r = 0; r < tiles; ++r) {
      std::size_t row = (tile + std::size_t(r)) * tile_rows, left = std::min(tile_rows, m.rows - row);
      __mmask16 mask = __mmask16((1u << left) - 1);
      __m512 v = sums[t][r];
      if (!m.scales) {
        v = _mm512_mul_ps(v, _mm512_loadu_ps(&m.row_scales[row]));
        if (!m.row_minima.empty())
          v = _mm512_fmadd_ps(_mm512_castsi512_ps(quad(x + std::size_t(t) * bytes + layout.total())),
                              _mm512_loadu_ps(&m.row_minima[row]), v);
      }
      if (p.bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, p.bias + row));
      _mm512_mask_storeu_ps(p.y + (token + std::size_t(t)) * p.y_stride + row, mask, v);
    }
}

// Codes that take longer to put together, or are rare. What reads them is made for one vector and for four only.
constexpr bool is_split(Code code) {
  return code == Code::two || code == Code::three || code == Code::five || code == Code::six;
}

// One tile or two, which share the vectors' bytes.
template <Code code, int group>
void multiply_tiles(const EncodedProduct& p, std::size_t tile, bool pair, std::size_t token, std::size_t last_token,
                    const std::uint8_t* unpacked) {
  constexpr int together = group == 32 && !is_split(code) ? 2 : 1;
  for (; token + 4 <= last_token; token += 4)
    pair ? multiply_block<code, group, 4, together>(p, tile, token, unpacked)
         : multiply_block<code, group, 4, 1>(p, tile, token, unpacked);
  std::size_t left = last_token - token;
  for (std::size_t r = 0; r < (pair ? 2 : 1); ++r) {
    if constexpr (is_split(code)) {
      for (std::size_t t = 0; t < left; ++t) multiply_block<code, group, 1, 1>(p, tile + r, token + t, unpacked);
    } else {
      if (left == 1) multiply_block<code, group, 1, 1>(p, tile + r, token, unpacked);
      if (left == 2) multiply_block<code, group, 2, 1>(p, tile + r, token, unpacked);
      if (left == 3) multiply_block<code, group, 3, 1>(p, tile + r, token, unpacked);
    }
    if (unpacked) unpacked += p.m->units() * unpacked_unit;
  }
}

template <Code code, int group>
void multiply_codes(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
                    std::size_t last_token) {
  // Few vectors: along one stream of the matrix. Many: it pays to unpack the codes once for all.
  const std::size_t tokens = last_token - first_token, tile_codes = p.m->units() * unpacked_unit;
  const bool many = code != Code::eight && tokens >= (is_split(code) ? 16 : 48);
  const bool pairs = group == 32 && tokens >= 4 && (many || !is_split(code));
  thread_local HugeBytes buffer;
  if (many && buffer.size() < 2 * tile_codes) buffer = HugeBytes(2 * tile_codes);
  for (std::size_t tile = first_tile; tile < last_tile;) {
    bool pair = pairs && tile + 1 < last_tile;
    if (many) {
      unpack<code>(*p.m, tile, buffer.data());
      if (pair) unpack<code>(*p.m, tile + 1, buffer.data() + tile_codes);
      multiply_tiles<Code::eight, group>(p, tile, pair, first_token, last_token, buffer.data());
    } else {
      multiply_tiles<code, group>(p, tile, pair, first_token, last_token, nullptr);
    }
    tile += pair ? 2 : 1;
  }
}

template <Code code>
void multiply_groups(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
                     std::size_t last_token) {
  auto run = p.m->group() == 16 ? multiply_codes<code, 16> : multiply_codes<code, 32>;
  run(p, first_tile, last_tile, first_token, last_token);
}

void multiply(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
              std::size_t last_token) {
  auto run = p.m->code == Code::two     ? multiply_groups<Code::two>
             : p.m->code == Code::three ? multiply_groups<Code::three>
             : p.m->code == Code::four  ? multiply_groups<Code::four>
             : p.m->code == Code::five  ? multiply_groups<Code::five>
             : p.m->code == Code::six   ? multiply_groups<Code::six>
             : p.m->code == Code::eight ? multiply_groups<Code::eight>
                                        : multiply_groups<Code::table>;
  run(p, first_tile, last_tile, first_token, last_token);
}

constexpr ProductTarget target{quantise, multiply};

}  // namespace

const ProductTarget* vnni_products() {
  static const bool usable = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return usable ? &target : nullptr;
}

}  // namespace pomona::cpu
#else
namespace pomona::cpu {
const ProductTarget* vnni_products() { return nullptr; }
}  // namespace pomona::cpu
#endif
