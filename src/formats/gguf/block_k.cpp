#include "formats/gguf/block_formats.h"

namespace pomona::gguf {
namespace {

constexpr unsigned block_elements = 256;

// Codes of two bits: 128 elements from 32 bytes, the lowest bits of all bytes first.
void two_bit_codes(const std::uint8_t* packed, std::uint8_t* out) {
  for (unsigned half = 0; half < 2; ++half, packed += 32)
    for (unsigned shift = 0; shift < 8; shift += 2)
      for (unsigned i = 0; i < 32; ++i) *out++ = packed[i] >> shift & 3;
}

// Codes of four bits: 64 elements from 32 bytes, the low nibbles first.
void four_bit_codes(const std::uint8_t* packed, std::uint8_t* out) {
  for (unsigned quarter = 0; quarter < 4; ++quarter, packed += 32)
    for (unsigned shift = 0; shift < 8; shift += 4)
      for (unsigned i = 0; i < 32; ++i) *out++ = packed[i] >> shift & 15;
}

}  // namespace

// scales and minima 16 x (4 + 4 bits), codes 64 bytes, d, dmin.
void Q2K::codes(const std::uint8_t* block, std::uint8_t* out) { two_bit_codes(block + 16, out); }
void Q2K::scales(const std::uint8_t* block, float* scales, float* shifts) {
  float d = half_at(block + 80), dmin = half_at(block + 82);
  for (unsigned i = 0; i < 16; ++i) {
    scales[i] = d * float(block[i] & 15);
    shifts[i] = -(dmin * float(block[i] >> 4));
  }
}

// third bits 32 bytes, codes 64 bytes, scales 16 x 6 bits, d.
void Q3K::codes(const std::uint8_t* block, std::uint8_t* out) {
  two_bit_codes(block + 32, out);
  // The third bit is set where nothing is to be taken off.
  for (unsigned i = 0; i < block_elements; ++i)
    if (!(block[i % 32] >> (i / 32) & 1)) out[i] = std::uint8_t(out[i] - 4);
}
void Q3K::scales(const std::uint8_t* block, float* scales, float*) {
  const std::uint8_t *packed = block + 96, *high = packed + 8;
  float d = half_at(block + 108);
  for (unsigned i = 0; i < 16; ++i) {
    int low = packed[i % 8] >> (i / 8 * 4) & 15, top = high[i % 4] >> (i / 4 * 2) & 3;
    scales[i] = d * float((low | top << 4) - 32);
  }
}

// d, dmin, scales and minima 8 x (6 + 6 bits), (Q5_K: fifth bits 32 bytes,) codes 128 bytes.
void Q4K::codes(const std::uint8_t* block, std::uint8_t* out) { four_bit_codes(block + 16, out); }
void Q4K::scales(const std::uint8_t* block, float* scales, float* shifts) {
  float d = half_at(block), dmin = half_at(block + 2);
  const std::uint8_t* packed = block + 4;
  for (unsigned i = 0; i < 4; ++i) {
    std::uint8_t s = packed[i], m = packed[i + 4], both = packed[i + 8];
    scales[i] = d * float(s & 63);
    scales[i + 4] = d * float((both & 15) | (s >> 6) << 4);
    shifts[i] = -(dmin * float(m & 63));
    shifts[i + 4] = -(dmin * float(both >> 4 | (m >> 6) << 4));
  }
}
void Q5K::codes(const std::uint8_t* block, std::uint8_t* out) {
  four_bit_codes(block + 48, out);
  const std::uint8_t* fifth = block + 16;
  for (unsigned i = 0; i < block_elements; ++i) out[i] = std::uint8_t(out[i] | (fifth[i % 32] >> (i / 32) & 1) << 4);
}

// low nibbles 128 bytes, high pairs 64 bytes, scales 16 x int8, d.
void Q6K::codes(const std::uint8_t* block, std::uint8_t* out) {
  const std::uint8_t *low = block, *high = block + 128;
  for (unsigned half = 0; half < 2; ++half, low += 64, high += 32, out += 128)
    for (unsigned i = 0; i < 32; ++i) {
      out[i] = std::uint8_t(((low[i] & 15) | (high[i] & 3) << 4) - 32);
      out[i + 32] = std::uint8_t(((low[i + 32] & 15) | (high[i] >> 2 & 3) << 4) - 32);
      out[i + 64] = std::uint8_t((low[i] >> 4 | (high[i] >> 4 & 3) << 4) - 32);
      out[i + 96] = std::uint8_t((low[i + 32] >> 4 | (high[i] >> 6) << 4) - 32);
    }
}
void Q6K::scales(const std::uint8_t* block, float* scales, float*) {
  float d = half_at(block + 208);
  for (unsigned i = 0; i < 16; ++i) scales[i] = d * float(std::int8_t(block[192 + i]));
}

// d, high pairs of the scales 2 bytes, their low nibbles 4 bytes, codes 128 bytes.
void Iq4Xs::codes(const std::uint8_t* block, std::uint8_t* out) {
  const std::uint8_t* packed = block + 8;
  for (unsigned group = 0; group < 8; ++group, packed += 16, out += 32)
    for (unsigned i = 0; i < 16; ++i) {
      out[i] = std::uint8_t(iq4_values[packed[i] & 15]);
      out[i + 16] = std::uint8_t(iq4_values[packed[i] >> 4]);
    }
}
void Iq4Xs::scales(const std::uint8_t* block, float* scales, float*) {
  float d = half_at(block);
  auto high = number_at<std::uint16_t>(block + 2);
  for (unsigned i = 0; i < 8; ++i) {
    int low = block[4 + i / 2] >> (i % 2 * 4) & 15;
    scales[i] = d * float((low | (high >> (2 * i) & 3) << 4) - 32);
  }
}

// Five ternary digits to a byte, most significant first as a fraction of 256: codes 48 bytes, then four to a byte in 4
// bytes, d.
void Tq1::codes(const std::uint8_t* block, std::uint8_t* out) {
  auto digits = [&out](const std::uint8_t* bytes, unsigned count, unsigned per_byte) {
    for (unsigned digit = 0, power = 1; digit < per_byte; ++digit, power *= 3)
      for (unsigned i = 0; i < count; ++i) {
        unsigned rest = bytes[i] * power & 0xFF;
        *out++ = std::uint8_t((rest * 3 >> 8) - 1);
      }
  };
  digits(block, 32, 5);
  digits(block + 32, 16, 5);
  digits(block + 48, 4, 4);
}
void Tq1::scales(const std::uint8_t* block, float* scales, float*) { *scales = half_at(block + 52); }

void Tq2::codes(const std::uint8_t* block, std::uint8_t* out) {
  two_bit_codes(block, out);
  for (unsigned i = 0; i < block_elements; ++i) out[i] = std::uint8_t(out[i] - 1);
}
void Tq2::scales(const std::uint8_t* block, float* scales, float*) { *scales = half_at(block + 64); }

}  // namespace pomona::gguf
