#include "base/bits.h"

namespace pomona {
namespace {

// Widths that divide a byte need no window, and compilers vectorise this.
template <unsigned Width>
void pack_bytes(const std::uint8_t* values, std::size_t bytes, std::uint8_t* packed) {
  constexpr unsigned per_byte = 8 / Width;
  constexpr unsigned mask = (1u << Width) - 1;
  for (std::size_t i = 0; i < bytes; ++i) {
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
