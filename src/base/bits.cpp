#include "base/bits.h"

#include <cstring>

namespace pomona {
namespace {

// The low bits of eight bytes, beside each other: by products and shifts within a word.
template <unsigned Width>
std::uint64_t gathered(std::uint64_t word) {
  if constexpr (Width == 1) return (word & 0x0101010101010101) * 0x0102040810204080 >> 56;
  if constexpr (Width == 2) {
    word &= 0x0303030303030303;
    word = (word | word >> 6) & 0x000F000F000F000F;
    word = (word | word >> 12) & 0x000000FF000000FF;
    return word | word >> 24;
  }
  word &= 0x0F0F0F0F0F0F0F0F;
  word = (word | word >> 4) & 0x00FF00FF00FF00FF;
  word = (word | word >> 8) & 0x0000FFFF0000FFFF;
  return word | word >> 16;
}

// Widths that divide a byte: eight values become `Width` bytes.
template <unsigned Width>
void pack_bytes(const std::uint8_t* values, std::size_t bytes, std::uint8_t* packed) {
  constexpr unsigned per_byte = 8 / Width, mask = (1u << Width) - 1;
  std::size_t i = 0;
  for (; i + Width <= bytes; i += Width) {
    std::uint64_t word;
    std::memcpy(&word, values + i * per_byte, 8);
    word = gathered<Width>(word);
    std::memcpy(packed + i, &word, Width);
  }
  for (; i < bytes; ++i) {
    unsigned byte = 0;
    for (unsigned k = 0; k < per_byte; ++k) byte |= (values[i * per_byte + k] & mask) << (k * Width);
    packed[i] = std::uint8_t(byte);
  }
}

std::vector<std::uint8_t> pack_whole(std::span<const std::uint8_t> values, unsigned width) {
  std::vector<std::uint8_t> packed(packed_size_bytes(values.size(), width));
  std::size_t per_byte = 8 / width, whole = values.size() / per_byte;
  auto pack = width == 1 ? pack_bytes<1> : width == 2 ? pack_bytes<2> : pack_bytes<4>;
  pack(values.data(), whole, packed.data());
  for (std::size_t i = whole * per_byte; i < values.size(); ++i)
    packed[whole] |= std::uint8_t((values[i] & ((1u << width) - 1)) << (i % per_byte * width));
  return packed;
}

}  // namespace

std::vector<std::uint8_t> pack_bits(std::span<const std::uint8_t> values, unsigned width) {
  if (width == 8) return {values.begin(), values.end()};
  if (8 % width == 0) return pack_whole(values, width);
  std::vector<std::uint8_t> packed;
  packed.reserve(packed_size_bytes(values.size(), width));
  unsigned window = 0, filled = 0;
  for (std::uint8_t value : values) {
    window |= (value & ((1u << width) - 1)) << filled;
    for (filled += width; filled >= 8; filled -= 8, window >>= 8) packed.push_back(std::uint8_t(window));
  }
  if (filled) packed.push_back(std::uint8_t(window));
  return packed;
}

void unpack_bits(std::span<const std::uint8_t> packed, unsigned width, std::span<std::uint8_t> out) {
  unsigned window = 0, filled = 0;
  std::size_t next = 0;
  for (std::uint8_t& value : out) {
    if (filled < width) {
      window |= unsigned(packed[next++]) << filled;
      filled += 8;
    }
    value = std::uint8_t(window & ((1u << width) - 1));
    window >>= width;
    filled -= width;
  }
}

void unpack_signed_bits(std::span<const std::uint8_t> packed, unsigned width, std::span<std::int8_t> out) {
  unpack_bits(packed, width, {reinterpret_cast<std::uint8_t*>(out.data()), out.size()});
  unsigned spare = 8 - width;
  for (std::int8_t& value : out) value = std::int8_t(std::int8_t(std::uint8_t(value) << spare) >> spare);
}

}  // namespace pomona
