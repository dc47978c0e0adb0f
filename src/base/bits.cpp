#include "base/bits.h"

namespace pomona {

std::vector<std::uint8_t> pack_bits(std::span<const std::uint8_t> values, unsigned width) {
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
