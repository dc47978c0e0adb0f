// A weight matrix as a program holds it (integers with scales, indices into a table, halves), laid out once for
// products with few or many vectors, and never widened.
//
//   auto m = encode_integers({.codes = codes, .rows = 576, .depth = 1536, ...});   // null: it has no such form
//   decode_row(*m, 17, floats);
//
// Rows go in tiles of 16, inputs in units of 64. A unit of a tile has its scales first (one vector of 16 rows per block
// of inputs), then the codes, so that a product reads one stream from end to end:
//
//   four bits: vectors of 64 bytes; byte 4r+j of vector i of each half of a unit has input 4i+j of row r in its low
//              bits and input 16+4i+j in its high ones
//   n = 1, 2, 8: byte 4r+j of vector i of 2n has in bits nq to nq+n-1 input 4(2nq+i)+j of row r
//   three, five, six: the lower two or four bits of each code, then the others, each laid out so
//   halves: input after input, 16 rows each; no units
//   indices: row after row, no units: of every 32 inputs 16 bytes, byte j with input j in its low bits and input 16+j
//            in its high ones
//
// An element is scale * (code - zero), where code is the stored one or its table's entry; and `second` says what is
// beside each scale. Scales are halves or floats, or, as in GGUF's K-quants, small integers n of a byte, where four
// units have before them a float d for each row: d * n, computed in float, is the scale, and so with the minima. An
// index stands for an entry of a table of 16 halves, of which rows and ranges of inputs have their own. See
// encoded_product.h.
#pragma once
#include <memory>
#include <vector>

#include "cpu/huge_bytes.h"

namespace pomona::cpu {

constexpr std::size_t tile_rows = 16, unit_depth = 64, span_units = 4;

// Where so many bits of every fourth input and the three behind it are: in which vector of 64 bytes, from which bit of
// each byte.
struct BitPlace {
  std::size_t vector;
  int shift;
};
constexpr BitPlace place_of_bits(std::size_t bits, std::size_t four) {
  if (bits == 4) return {four / 8 * 4 + four % 4, four % 8 < 4 ? 0 : 4};
  return {four % (2 * bits), int(four / (2 * bits) * bits)};
}

struct EncodedMatrix {
  // table: four bits into `table`.
  enum class Code : std::uint8_t { two, three, four, five, six, eight, table, halves, indices };
  enum class Second : std::uint8_t { none, minimum, offset };  // + minimum, or scale * (code - zero - offset)
  enum class Scales : std::uint8_t { halves, floats, factors };
  Code code = Code::four;
  Second second = Second::none;
  Scales form = Scales::halves;
  std::size_t rows = 0, depth = 0;
  std::size_t scales = 0;  // per unit: 1, 2, 4; 0: one per row, in row_scales and row_minima
  int zero = 0;
  std::uint8_t table[16] = {};
  std::vector<float> row_scales, row_minima;    // of whole tiles
  std::vector<std::uint16_t> tables;            // Code::indices: of a group of rows all tables, then the next group's
  std::size_t table_rows = 1, table_depth = 0;  // so many rows and inputs share one
  HugeBytes bytes;

  std::size_t tiles() const { return (rows + tile_rows - 1) / tile_rows; }
  std::size_t units() const { return (depth + unit_depth - 1) / unit_depth; }
  std::size_t spans() const { return (units() + span_units - 1) / span_units; }
  std::size_t per_block() const { return second == Second::none ? 1 : 2; }
  // Scales of one block, and what is beside them.
  std::size_t scale_bytes() const { return tile_rows * (form == Scales::factors ? 1 : form == Scales::halves ? 2 : 4); }
  std::size_t header_bytes() const { return scales * scale_bytes() * per_block(); }
  // What stands before the first unit of a span: of each row the d of scales, then the d of minima.
  std::size_t span_bytes() const { return form == Scales::factors ? tile_rows * 4 * per_block() : 0; }
  static constexpr std::size_t lower_bits(Code c) { return c == Code::eight ? 8 : c <= Code::three ? 2 : 4; }
  static constexpr std::size_t upper_bits(Code c) {
    return c == Code::three || c == Code::five ? 1 : c == Code::six ? 2 : 0;
  }
  std::size_t lower_bits() const { return lower_bits(code); }
  std::size_t upper_bits() const { return upper_bits(code); }
  std::size_t code_bytes() const { return tile_rows * unit_depth * (lower_bits() + upper_bits()) / 8; }
  std::size_t unit_bytes() const { return header_bytes() + code_bytes(); }
  // Within a tile.
  std::size_t unit_start(std::size_t unit) const {
    return unit * unit_bytes() + (unit / span_units + 1) * span_bytes();
  }
  std::size_t span_start(std::size_t unit) const { return unit_start(unit / span_units * span_units) - span_bytes(); }
  std::size_t tile_bytes() const {
    if (code == Code::indices) return row_bytes() * tile_rows;
    return code == Code::halves ? depth * tile_rows * 2 : units() * unit_bytes() + spans() * span_bytes();
  }
  // Code::indices only.
  std::size_t row_bytes() const { return (depth + 31) / 32 * 16; }
  const std::uint16_t* table_of(std::size_t row, std::size_t input) const {
    std::size_t per_row = (depth + table_depth - 1) / table_depth;
    return &tables[(row / table_rows * per_row + input / table_depth) * 16];
  }
  // Whether it is multiplied with vectors of floats, not of integers.
  bool by_floats() const { return code == Code::halves || code == Code::indices; }
  // Inputs that share a scale, as far as activations are concerned: 16 or 32.
  std::size_t group() const { return scales == 4 ? 16 : 32; }
};
using SharedMatrix = std::shared_ptr<const EncodedMatrix>;

// A matrix of one byte per element with a scale, and perhaps an offset, per block: scale * (code - offset).
struct IntegerMatrix {
  const std::uint8_t* codes;
  unsigned bits;   // 4 or 8
  bool is_signed;  // codes are int8 then
  std::size_t rows, depth;
  std::ptrdiff_t row_stride, depth_stride;
  std::size_t row_block, depth_block;  // of the scales
  std::ptrdiff_t scale_row_stride, scale_depth_stride;
  std::vector<float> scale, offset;    // offset: as many, or none
  const std::int8_t* table = nullptr;  // 16 entries that four-bit codes stand for
};
SharedMatrix encode_integers(const IntegerMatrix& from);
SharedMatrix encode_halves(const std::uint16_t* elements, std::size_t rows, std::size_t depth,
                           std::ptrdiff_t row_stride, std::ptrdiff_t depth_stride);

// Indices of a byte each, below 16; tables as EncodedMatrix has them, of at most 16 entries each that are filled up
// here.
struct IndexMatrix {
  const std::uint8_t* indices;
  std::size_t rows, depth;
  std::ptrdiff_t row_stride, depth_stride;
  std::vector<std::uint16_t> tables;
  std::size_t entries, table_rows, table_depth;
};
SharedMatrix encode_indices(const IndexMatrix& from);

void decode_row(const EncodedMatrix& m, std::size_t row, float* out);

}  // namespace pomona::cpu
