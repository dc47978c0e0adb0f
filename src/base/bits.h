// Packing of integers narrower than a byte, as Core ML stores them.
//
// Element i of width n occupies bits [i*n, i*n+n) of a little-endian bit stream, the least significant bits of byte
// 0 first. For n = 3 and 6 an element may straddle two bytes:
//
//   byte 0: c1 c0 b2 b1 b0 a2 a1 a0      byte 1: f0 e2 e1 e0 d2 d1 d0 c2      (n = 3, elements a, b, c, ...)
//
//   auto packed = pack_bits({1, 2, 15}, 4);      // {0x21, 0x0F}
//   auto values = unpack_bits(packed, 4, 3);
//
// Signed elements are sign-extended by unpack_signed_bits.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pomona {

// Bytes that `count` elements of `width` bits need.
constexpr std::size_t packed_size_bytes(std::size_t count, unsigned width) { return (count * width + 7) / 8; }

// Packs the low `width` bits (1 to 8) of each value; unused bits at the end are 0.
std::vector<std::uint8_t> pack_bits(std::span<const std::uint8_t> values, unsigned width);
// The inverse; `packed` holds at least packed_size_bytes(count, width) bytes.
void unpack_bits(std::span<const std::uint8_t> packed, unsigned width, std::span<std::uint8_t> out);
void unpack_signed_bits(std::span<const std::uint8_t> packed, unsigned width, std::span<std::int8_t> out);

}  // namespace pomona
