// Byte products of AVX2, which adds neighbouring ones in 16 bits.
#include "cpu/encoded_product.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define POMONA_BYTES __attribute__((target("avx2,fma,f16c")))
#include "cpu/byte_products-inl.h"

namespace pomona::cpu {
namespace {

struct Machine {
  using Register = __m256i;
  using Table = __m256i;
  using Floats = __m256;
  static constexpr std::size_t parts = 2;
  template <int bits>
  static constexpr int taken_off = 0;

  POMONA_BYTES_INLINE static Register load(const std::uint8_t* at) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  }
  POMONA_BYTES_INLINE static void store(Register v, std::uint8_t* at) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), v);
  }
  POMONA_BYTES_INLINE static Table load_table(const std::uint8_t* at) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
  }
  POMONA_BYTES_INLINE static Register look_up(Table table, Register v) { return _mm256_shuffle_epi8(table, v); }
  POMONA_BYTES_INLINE static Register bits(Register v, int shift, int mask) {
    return _mm256_and_si256(_mm256_srli_epi16(v, shift), _mm256_set1_epi8(char(mask)));
  }
  // Of bytes whose upper bits are 0.
  POMONA_BYTES_INLINE static Register shift_left(Register v, int count) { return _mm256_slli_epi16(v, count); }
  POMONA_BYTES_INLINE static Register either(Register a, Register b) { return _mm256_or_si256(a, b); }
  POMONA_BYTES_INLINE static Register four(const std::uint8_t* at) {
    std::int32_t bytes;
    std::memcpy(&bytes, at, 4);
    return _mm256_set1_epi32(bytes);
  }

  // Two products of a code and a byte are added in 16 bits, and so many of these pairs still fit. Codes of eight bits
  // are two of four.
  template <int bits>
  struct Accumulator {
    static constexpr std::size_t together = bits <= 4 || bits == 8 ? 8 : bits == 5 ? 4 : 2;
    __m256i shorts, upper, sum;
    POMONA_BYTES_INLINE Accumulator() { shorts = upper = sum = _mm256_setzero_si256(); }
    POMONA_BYTES_INLINE void add(Register codes, Register x, std::size_t i) {
      if constexpr (bits == 8) {
        const __m256i mask = _mm256_set1_epi8(15);
        upper = _mm256_add_epi16(upper, _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(codes, 4), mask), x));
        codes = _mm256_and_si256(codes, mask);
      }
      shorts = _mm256_add_epi16(shorts, _mm256_maddubs_epi16(codes, x));
      if constexpr (together < 8)
        if (i % together == together - 1) {
          sum = _mm256_add_epi32(sum, widened(shorts));
          shorts = _mm256_setzero_si256();
        }
    }
    POMONA_BYTES_INLINE __m256i sums() const {
      if constexpr (bits == 8)
        return _mm256_add_epi32(widened(shorts), _mm256_slli_epi32(widened(upper), 4));
      else
        return together < 8 ? sum : widened(shorts);
    }
    POMONA_BYTES_INLINE static __m256i widened(__m256i v) { return _mm256_madd_epi16(v, _mm256_set1_epi16(1)); }
  };
  POMONA_BYTES_INLINE static Floats joined(__m256i high, __m256i low, std::int32_t zeros) {
    return _mm256_cvtepi32_ps(
        _mm256_sub_epi32(_mm256_add_epi32(_mm256_slli_epi32(high, 8), low), _mm256_set1_epi32(zeros)));
  }

  POMONA_BYTES_INLINE static Floats set(float v) { return _mm256_set1_ps(v); }
  POMONA_BYTES_INLINE static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  POMONA_BYTES_INLINE static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  POMONA_BYTES_INLINE static void store(Floats v, float* at) { _mm256_storeu_ps(at, v); }
  POMONA_BYTES_INLINE static Floats floats(const std::uint8_t* at) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(at));
  }
  POMONA_BYTES_INLINE static Floats halves(const std::uint8_t* at) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
  }
  POMONA_BYTES_INLINE static Floats integers(const std::uint8_t* at) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at))));
  }

  // Of the bits without the sign.
  POMONA_BYTES static std::uint32_t largest_magnitude(const float* x, std::size_t count) {
    __m256i most = _mm256_setzero_si256();
    for (std::size_t k = 0; k < count; k += 8)
      most = _mm256_max_epi32(
          most, _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x + k)), _mm256_set1_epi32(0x7FFFFFFF)));
    std::uint32_t lanes[8];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), most);
    return *std::max_element(lanes, lanes + 8);
  }
  // n = 256 high + low, the nearest to x * inverse; their sum.
  POMONA_BYTES static std::int32_t quantise(const float* x, std::size_t count, float inverse, std::int8_t* high,
                                            std::int8_t* low) {
    std::int32_t n[8], sum = 0;
    for (std::size_t k = 0; k < count; k += 8) {
      const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + k), _mm256_set1_ps(inverse));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(n), _mm256_cvtps_epi32(scaled));
      for (std::size_t i = 0; i < 8; ++i) {
        high[k + i] = std::int8_t((n[i] + 128) >> 8);
        low[k + i] = std::int8_t(n[i] - high[k + i] * 256);
        sum += n[i];
      }
    }
    return sum;
  }
};

}  // namespace

const ProductTarget* avx2_products() {
  static const bool usable =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  return usable ? &ByteProducts<Machine>::target : nullptr;
}

}  // namespace pomona::cpu
#else
namespace pomona::cpu {
const ProductTarget* avx2_products() { return nullptr; }
}  // namespace pomona::cpu
#endif
