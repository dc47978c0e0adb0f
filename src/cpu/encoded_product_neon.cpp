// Byte dot products of ARMv8.2, which every M chip has.
#include "cpu/encoded_product.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(__ARM_FEATURE_DOTPROD)
#define POMONA_BYTES
#elif defined(__clang__)
#define POMONA_BYTES __attribute__((target("dotprod")))
#else
#define POMONA_BYTES __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#include "cpu/byte_products-inl.h"

namespace pomona::cpu {
namespace {

struct Machine {
  using Register = uint8x16_t;
  using Table = uint8x16_t;
  using Floats = float32x4_t;
  static constexpr std::size_t parts = 4;
  // Both factors are signed here.
  template <int bits>
  static constexpr int taken_off = bits == 8 ? 128 : 0;

  POMONA_BYTES_INLINE static Register load(const std::uint8_t* at) { return vld1q_u8(at); }
  POMONA_BYTES_INLINE static void store(Register v, std::uint8_t* at) { vst1q_u8(at, v); }
  POMONA_BYTES_INLINE static Table load_table(const std::uint8_t* at) { return vld1q_u8(at); }
  POMONA_BYTES_INLINE static Register look_up(Table table, Register v) { return vqtbl1q_u8(table, v); }
  POMONA_BYTES_INLINE static Register bits(Register v, int shift, int mask) {
    return vandq_u8(vshlq_u8(v, vdupq_n_s8(std::int8_t(-shift))), vdupq_n_u8(std::uint8_t(mask)));
  }
  POMONA_BYTES_INLINE static Register shift_left(Register v, int count) {
    return vshlq_u8(v, vdupq_n_s8(std::int8_t(count)));
  }
  POMONA_BYTES_INLINE static Register either(Register a, Register b) { return vorrq_u8(a, b); }
  POMONA_BYTES_INLINE static Register four(const std::uint8_t* at) {
    std::uint32_t bytes;
    std::memcpy(&bytes, at, 4);
    return vreinterpretq_u8_u32(vdupq_n_u32(bytes));
  }

  template <int bits>
  struct Accumulator {
    int32x4_t sum;
    POMONA_BYTES_INLINE Accumulator() : sum(vdupq_n_s32(0)) {}
    POMONA_BYTES_INLINE void add(Register codes, Register x, std::size_t) {
      if constexpr (bits == 8) codes = veorq_u8(codes, vdupq_n_u8(128));
      sum = vdotq_s32(sum, vreinterpretq_s8_u8(codes), vreinterpretq_s8_u8(x));
    }
    POMONA_BYTES_INLINE int32x4_t sums() const { return sum; }
  };
  POMONA_BYTES_INLINE static Floats joined(int32x4_t high, int32x4_t low, std::int32_t zeros) {
    return vcvtq_f32_s32(vsubq_s32(vaddq_s32(vshlq_n_s32(high, 8), low), vdupq_n_s32(zeros)));
  }

  POMONA_BYTES_INLINE static Floats set(float v) { return vdupq_n_f32(v); }
  POMONA_BYTES_INLINE static Floats multiply(Floats a, Floats b) { return vmulq_f32(a, b); }
  POMONA_BYTES_INLINE static Floats multiply_add(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
  POMONA_BYTES_INLINE static void store(Floats v, float* at) { vst1q_f32(at, v); }
  POMONA_BYTES_INLINE static Floats floats(const std::uint8_t* at) {
    return vld1q_f32(reinterpret_cast<const float*>(at));
  }
  POMONA_BYTES_INLINE static Floats halves(const std::uint8_t* at) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const std::uint16_t*>(at))));
  }
  POMONA_BYTES_INLINE static Floats integers(const std::uint8_t* at) {
    std::int8_t n[8] = {};
    std::memcpy(n, at, 4);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(n)))));
  }

  // Of the bits without the sign.
  static std::uint32_t largest_magnitude(const float* x, std::size_t count) {
    uint32x4_t most = vdupq_n_u32(0);
    for (std::size_t k = 0; k < count; k += 4)
      most = vmaxq_u32(most, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + k)), vdupq_n_u32(0x7FFFFFFF)));
    return vmaxvq_u32(most);
  }
  // n = 256 high + low, the nearest to x * inverse; their sum.
  static std::int32_t quantise(const float* x, std::size_t count, float inverse, std::int8_t* high, std::int8_t* low) {
    int32x4_t sums = vdupq_n_s32(0);
    for (std::size_t k = 0; k < count; k += 8) {
      const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + k), inverse)),
                      b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + k + 4), inverse));
      sums = vaddq_s32(sums, vaddq_s32(a, b));
      const int16x8_t n = vcombine_s16(vmovn_s32(a), vmovn_s32(b));
      vst1_s8(high + k, vrshrn_n_s16(n, 8));
      vst1_s8(low + k, vmovn_s16(n));
    }
    return vaddvq_s32(sums);
  }
};

bool has_dot_products() {
#if defined(__ARM_FEATURE_DOTPROD)
  return true;
#elif defined(__linux__)
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
  return false;
#endif
}

}  // namespace

const ProductTarget* neon_products() {
  static const bool usable = has_dot_products();
  return usable ? &ByteProducts<Machine>::target : nullptr;
}

}  // namespace pomona::cpu
#else
namespace pomona::cpu {
const ProductTarget* neon_products() { return nullptr; }
}  // namespace pomona::cpu
#endif
