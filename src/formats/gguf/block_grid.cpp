#include "formats/gguf/block_formats.h"
#include "formats/gguf/grids.h"

namespace pomona::gguf {
namespace {

// The eighth of eight signs makes the number of minus signs even.
std::uint8_t signs_of(unsigned seven) {
  unsigned parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return std::uint8_t(seven | (parity & 1) << 7);
}

// Elements of a grid vector, negated where `signs` has a bit.
template <unsigned count>
void put_signed(const std::int8_t* vector, unsigned signs, std::uint8_t* out) {
  for (unsigned i = 0; i < count; ++i) out[i] = std::uint8_t(signs >> i & 1 ? -vector[i] : vector[i]);
}

// (1/2 + s) * d / 4, as the reference orders it.
float step(float d, unsigned s, float factor) {
  float product = d * (0.5f + float(s));
  return product * factor;
}

// The fp16 scale of an IQ1_M block lies in the top nibbles of its four words of scales.
float scattered_half(const std::uint8_t* words) {
  unsigned bits = 0;
  for (unsigned i = 0; i < 4; ++i) bits |= unsigned(number_at<std::uint16_t>(words + 2 * i) >> 12) << (4 * i);
  return half_to_float(std::uint16_t(bits));
}

// Eight ternary elements moved up or down by an eighth; the codes count eighths.
void put_ternary(unsigned index, bool down, std::uint8_t* out) {
  const std::int8_t* vector = iq1_grid(index);
  for (unsigned i = 0; i < 8; ++i) out[i] = std::uint8_t(8 * vector[i] + (down ? -1 : 1));
}

}  // namespace

// d, then per 32 elements: four indices of 8 bits, 4 x 7 signs and a scale of 4 bits.
void Iq2Xxs::codes(const std::uint8_t* block, std::uint8_t* out) {
  for (unsigned group = 0; group < 8; ++group) {
    const std::uint8_t* indices = block + 2 + 8 * group;
    auto rest = number_at<std::uint32_t>(indices + 4);
    for (unsigned v = 0; v < 4; ++v, out += 8)
      put_signed<8>(iq2_xxs_grid(indices[v]), signs_of(rest >> (7 * v) & 127), out);
  }
}
void Iq2Xxs::scales(const std::uint8_t* block, float* scales, float*) {
  float d = half_at(block);
  for (unsigned g = 0; g < 8; ++g) scales[g] = step(d, number_at<std::uint32_t>(block + 6 + 8 * g) >> 28, 0.25f);
}

// d, 32 words of an index (9 bits) and signs (7 bits), scales 16 x 4 bits.
void Iq2Xs::codes(const std::uint8_t* block, std::uint8_t* out) {
  for (unsigned v = 0; v < 32; ++v, out += 8) {
    auto word = number_at<std::uint16_t>(block + 2 + 2 * v);
    put_signed<8>(iq2_xs_grid(word & 511), signs_of(word >> 9), out);
  }
}
void Iq2Xs::scales(const std::uint8_t* block, float* scales, float*) {
  float d = half_at(block);
  for (unsigned i = 0; i < 16; ++i) scales[i] = step(d, block[66 + i / 2] >> (i % 2 * 4) & 15, 0.25f);
}

// d, indices 32 bytes, signs 32 bytes, high pairs of the indices 8 bytes, scales 16 x 4 bits.
void Iq2S::codes(const std::uint8_t* block, std::uint8_t* out) {
  const std::uint8_t *low = block + 2, *signs = block + 34, *high = block + 66;
  for (unsigned v = 0; v < 32; ++v, out += 8)
    put_signed<8>(iq2_s_grid(low[v] | (high[v / 4] >> (v % 4 * 2) & 3) << 8), signs[v], out);
}
void Iq2S::scales(const std::uint8_t* block, float* scales, float*) {
  float d = half_at(block);
  for (unsigned i = 0; i < 16; ++i) scales[i] = step(d, block[74 + i / 2] >> (i % 2 * 4) & 15, 0.25f);
}

// d, 64 indices of 8 bits (four elements each), then per 32 elements 4 x 7 signs and a scale of 4 bits.
void Iq3Xxs::codes(const std::uint8_t* block, std::uint8_t* out) {
  const std::uint8_t* indices = block + 2;
  for (unsigned group = 0; group < 8; ++group) {
    auto rest = number_at<std::uint32_t>(block + 66 + 4 * group);
    for (unsigned v = 0; v < 4; ++v, out += 8, indices += 2) {
      unsigned signs = signs_of(rest >> (7 * v) & 127);
      put_signed<4>(iq3_xxs_grid(indices[0]), signs, out);
      put_signed<4>(iq3_xxs_grid(indices[1]), signs >> 4, out + 4);
    }
  }
}
void Iq3Xxs::scales(const std::uint8_t* block, float* scales, float*) {
  float d = half_at(block);
  for (unsigned g = 0; g < 8; ++g) scales[g] = step(d, number_at<std::uint32_t>(block + 66 + 4 * g) >> 28, 0.5f);
}

// d, 64 indices of 8 bits, their ninth bits 8 bytes, signs 32 bytes, scales 8 x 4 bits.
void Iq3S::codes(const std::uint8_t* block, std::uint8_t* out) {
  const std::uint8_t *low = block + 2, *high = block + 66, *signs = block + 74;
  for (unsigned v = 0; v < 64; ++v, out += 4)
    put_signed<4>(iq3_s_grid(low[v] | (high[v / 8] >> (v % 8) & 1) << 8), signs[v / 2] >> (v % 2 * 4) & 15, out);
}
void Iq3S::scales(const std::uint8_t* block, float* scales, float*) {
  float d = half_at(block);
  for (unsigned i = 0; i < 8; ++i) scales[i] = d * float(1 + 2 * (block[106 + i / 2] >> (i % 2 * 4) & 15));
}

// d, 32 indices of 8 bits, then per 32 elements a word: 4 x 3 high bits, a scale of 3 bits, the direction.
void Iq1S::codes(const std::uint8_t* block, std::uint8_t* out) {
  for (unsigned v = 0; v < 32; ++v, out += 8) {
    auto word = number_at<std::uint16_t>(block + 34 + v / 4 * 2);
    put_ternary(block[2 + v] | (word >> (v % 4 * 3) & 7) << 8, word & 0x8000, out);
  }
}
void Iq1S::scales(const std::uint8_t* block, float* scales, float*) {
  float d = half_at(block);
  for (unsigned g = 0; g < 8; ++g) {
    unsigned word = number_at<std::uint16_t>(block + 34 + 2 * g);
    scales[g] = d * float(2 * (word >> 12 & 7) + 1) * 0.125f;
  }
}

// 32 indices of 8 bits, 32 nibbles of 3 high bits and a direction, 16 scales of 3 bits with d among them.
void Iq1M::codes(const std::uint8_t* block, std::uint8_t* out) {
  for (unsigned v = 0; v < 32; ++v, out += 8) {
    unsigned nibble = block[32 + v / 2] >> (v % 2 * 4) & 15;
    put_ternary(block[v] | (nibble & 7) << 8, nibble & 8, out);
  }
}
void Iq1M::scales(const std::uint8_t* block, float* scales, float*) {
  const std::uint8_t* words = block + 48;
  float d = scattered_half(words);
  for (unsigned i = 0; i < 16; ++i) {
    unsigned s = number_at<std::uint16_t>(words + i / 4 * 2) >> (i % 4 * 3) & 7;
    scales[i] = d * float(2 * s + 1) * 0.125f;
  }
}

}  // namespace pomona::gguf
