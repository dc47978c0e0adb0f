// Products of matrices of floats, by our own kernels: rows of A, which may lie anywhere, times a packed matrix B.
//
//   PackedMatrix w = pack_matrix({.data = weight, .depth = in, .columns = out, .row_stride = 1, .column_stride = in});
//   multiply(w.view(), {.rows = ...});
//
// A row of A is given by pointers, one for each piece of `piece` consecutive elements; a convolution has a piece for
// each element of its window, a plain product a single one. So nothing is copied before it is multiplied (after Dukhan,
// "The Indirect Convolution Algorithm", arXiv 1907.02129).
//
// Each result is one chain of fused multiply-adds in the order of the depth: how the work is cut never shows.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace pomona::cpu {

struct Matrix {
  const float* data;
  std::size_t depth, columns;                // B is depth x columns
  std::ptrdiff_t row_stride, column_stride;  // of the depth, of the columns
};

// B in panels of `panel_columns` columns, depth after depth, the last panel filled up with zeros.
struct PackedView {
  const float* data = nullptr;
  std::size_t depth = 0, columns = 0;
};
std::size_t panel_columns();  // of this machine
std::size_t panel_count(std::size_t columns);
std::size_t packed_elements(std::size_t depth, std::size_t columns);
// Packs panels [first, last); `to` is where the whole packed matrix begins, 64-byte aligned.
void pack_panels(const Matrix& b, std::size_t first, std::size_t last, float* to);

struct AlignedFloats {
  explicit AlignedFloats(std::size_t count);
  float* data() const { return data_.get(); }

 private:
  std::shared_ptr<float[]> data_;
};
struct PackedMatrix {
  AlignedFloats elements;
  std::size_t depth, columns;
  PackedView view() const { return {elements.data(), depth, columns}; }
};
PackedMatrix pack_matrix(const Matrix& b);

// C rows = A rows * B, plus bias. Depth is pieces * piece.
struct RowBlock {
  const float* const* a;  // a[p * rows + r]: piece p of row r
  std::size_t pieces = 1, piece;
  float* const* c;    // where each row of the result begins
  std::size_t rows;   // at most most_block_rows
  bool half = false;  // every sum is rounded to fp16 as it grows
};
constexpr std::size_t most_block_rows = 12;
// Panels [first, last) of B. `bias` may be null; else it has one element per column.
void multiply_panels(const RowBlock& rows, const PackedView& b, const float* bias, std::size_t first, std::size_t last);

// Panels [first, last) of C [rows, columns] = A [rows, depth] * B, on the calling thread; strides are between rows.
struct Product {
  const float* a;
  std::ptrdiff_t a_stride;
  PackedView b;
  const float* bias;  // or null
  float* c;
  std::ptrdiff_t c_stride;
  std::size_t rows;
  bool half = false;  // see RowBlock
};
void multiply(const Product& product, std::size_t first, std::size_t last);
// How many panels of B stay in the second-level cache while rows of A go past them.
std::size_t panels_per_stripe(std::size_t depth);

}  // namespace pomona::cpu
