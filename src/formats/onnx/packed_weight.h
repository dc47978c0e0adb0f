// Weights that a file holds quantised, kept so in the program: as the constexpr op that decodes them.
//
//   PackedWeight w{.bits = 4, .rows = n, .columns = k, .blocks = k / 32, .data = bytes, .scales = s};
//   Value weight = POM_TRY(unpacked_weight(g, w));              // [rows, columns], from iOS18 on 4-bit in the file
//   if (auto w = quantized_weight(g, x, scale, zero, axis, 0))  // DequantizeLinear of a constant
//
// For targets that have no such op the numbers are decoded.
#pragma once
#include "formats/onnx/lowering.h"

namespace pomona::onnx {

struct PackedWeight {
  int bits = 4;
  std::int64_t rows = 0, columns = 0, blocks = 1;  // blocks of a row
  Weight data;        // uint8: each row's elements, block after block, the low bits of a byte first
  Weight scales;      // rows * blocks
  Weight zeros;       // uint8, packed the same way, each row padded to whole bytes; empty: half the range
  Weight real_zeros;  // rows * blocks, not packed
};
Result<Value> unpacked_weight(Lowering& g, const PackedWeight& packed);

// The contents of an input that must be constant.
Result<Weight> constant_of(Lowering& g, Value value, std::string_view what);
// The same, as uint8.
Result<Weight> bytes_of(Lowering& g, Value value, std::string_view what);

// scale * (x - zero) as a constexpr op; empty when x is not constant, small, or of a type that no constexpr op decodes.
std::optional<Value> quantized_weight(Lowering& g, Value x, Elem elem, Value scale, Value zero, std::int64_t axis,
                                      std::int64_t block);

}  // namespace pomona::onnx
