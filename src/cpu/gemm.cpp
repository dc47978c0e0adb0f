#include "cpu/gemm.h"

#include <algorithm>
#include <new>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/gemm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/vector_parts-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pomona::cpu::HWY_NAMESPACE {

using Floats = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Floats>;

// Two vectors of columns to a panel; as many rows as there are registers for, sums, B and one element of A.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_NEON
constexpr int register_rows = 12;
#else
constexpr int register_rows = 6;
#endif

// `rows` results of one panel, `vectors` wide.
template <int rows, int vectors>
void block(const RowBlock& in, std::size_t first_row, const float* HWY_RESTRICT b, const float* bias,
           std::size_t column, std::size_t columns) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  Vector sums[rows][vectors];
  Vector start[vectors];
  HWY_UNROLL(2) for (int v = 0; v < vectors; ++v) start[v] = hn::Zero(d);
  if (bias) {
    start[0] = load_first(d, bias + column, columns);
    if constexpr (vectors == 2) start[1] = load_first(d, bias + column + lanes, columns - lanes);
  }
  HWY_UNROLL(12) for (int r = 0; r < rows; ++r) {
    HWY_UNROLL(2) for (int v = 0; v < vectors; ++v) sums[r][v] = start[v];
  }
  for (std::size_t p = 0; p < in.pieces; ++p) {
    const float* a[rows];
    HWY_UNROLL(12) for (int r = 0; r < rows; ++r) a[r] = in.a[p * in.rows + first_row + r];
    for (std::size_t k = 0; k < in.piece; ++k) {
      Vector factors[vectors];
      HWY_UNROLL(2) for (int v = 0; v < vectors; ++v) factors[v] = hn::Load(d, b + v * lanes);
      b += 2 * lanes;
      HWY_UNROLL(12) for (int r = 0; r < rows; ++r) {
        const Vector element = hn::Set(d, a[r][k]);
        HWY_UNROLL(2) for (int v = 0; v < vectors; ++v) sums[r][v] = hn::MulAdd(element, factors[v], sums[r][v]);
      }
    }
  }
  HWY_UNROLL(12) for (int r = 0; r < rows; ++r) {
    float* to = in.c[first_row + r] + column;
    store_first(d, sums[r][0], to, columns);
    if constexpr (vectors == 2) store_first(d, sums[r][1], to + lanes, columns - lanes);
  }
}

// One row of one panel, with every sum rounded to fp16.
void row_in_half(const RowBlock& in, std::size_t row, const float* b, const float* bias, std::size_t column,
                 std::size_t columns) {
  const Floats d;
  const hn::Rebind<hwy::float16_t, Floats> half;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t v = 0; v * lanes < columns; ++v) {
    const std::size_t left = columns - v * lanes;
    Vector sum = bias ? load_first(d, bias + column + v * lanes, left) : hn::Zero(d);
    for (std::size_t p = 0; p < in.pieces; ++p)
      for (std::size_t k = 0; k < in.piece; ++k) {
        const Vector element = hn::Set(d, in.a[p * in.rows + row][k]);
        const Vector factor = hn::Load(d, b + (p * in.piece + k) * 2 * lanes + v * lanes);
        sum = hn::PromoteTo(d, hn::DemoteTo(half, hn::MulAdd(element, factor, sum)));
      }
    store_first(d, sum, in.c[row] + column + v * lanes, left);
  }
}

using BlockFunction = void (*)(const RowBlock&, std::size_t, const float*, const float*, std::size_t, std::size_t);
template <int vectors>
BlockFunction block_of(std::size_t rows) {
  static constexpr BlockFunction by_rows[] = {
      nullptr,
      block<1, vectors>,
      block<2, vectors>,
      block<3, vectors>,
      block<4, vectors>,
      block<5, vectors>,
      block<6, vectors>,
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_NEON
      block<7, vectors>,
      block<8, vectors>,
      block<9, vectors>,
      block<10, vectors>,
      block<11, vectors>,
      block<12, vectors>,
#endif
  };
  return by_rows[rows];
}

void multiply_panels_here(const RowBlock& rows, const PackedView& b, const float* bias, std::size_t first,
                          std::size_t last) {
  const std::size_t lanes = hn::Lanes(Floats()), width = 2 * lanes;
  for (std::size_t panel = first; panel < last; ++panel) {
    const std::size_t column = panel * width, columns = std::min(width, b.columns - column);
    const float* data = b.data + panel * width * b.depth;
    for (std::size_t row = 0; rows.half && row < rows.rows; ++row) row_in_half(rows, row, data, bias, column, columns);
    for (std::size_t row = 0; !rows.half && row < rows.rows; row += register_rows) {
      const std::size_t count = std::min<std::size_t>(register_rows, rows.rows - row);
      const BlockFunction function = columns > lanes ? block_of<2>(count) : block_of<1>(count);
      function(rows, row, data, bias, column, columns);
    }
  }
}

std::size_t panel_columns_here() { return 2 * hn::Lanes(Floats()); }

}  // namespace pomona::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pomona::cpu {
namespace {

HWY_EXPORT(multiply_panels_here);
HWY_EXPORT(panel_columns_here);

}  // namespace

std::size_t panel_columns() {
  static const std::size_t columns = HWY_DYNAMIC_DISPATCH(panel_columns_here)();
  return columns;
}
std::size_t panel_count(std::size_t columns) { return (columns + panel_columns() - 1) / panel_columns(); }
std::size_t packed_elements(std::size_t depth, std::size_t columns) {
  return panel_count(columns) * panel_columns() * depth;
}

void pack_panels(const Matrix& b, std::size_t first, std::size_t last, float* to) {
  std::size_t width = panel_columns();
  for (std::size_t panel = first; panel < last; ++panel) {
    std::size_t column = panel * width, columns = std::min(width, b.columns - column);
    float* out = to + panel * width * b.depth;
    const float* from = b.data + std::ptrdiff_t(column) * b.column_stride;
    // Along whichever side is contiguous, a few depths at a time so that lines of the cache are used up.
    constexpr std::size_t depths = 16;
    for (std::size_t k0 = 0; k0 < b.depth; k0 += depths) {
      std::size_t k1 = std::min(k0 + depths, b.depth);
      if (b.column_stride == 1) {
        for (std::size_t k = k0; k < k1; ++k)
          std::copy_n(from + std::ptrdiff_t(k) * b.row_stride, columns, out + k * width);
      } else {
        for (std::size_t c = 0; c < columns; ++c)
          for (std::size_t k = k0; k < k1; ++k)
            out[k * width + c] = from[std::ptrdiff_t(k) * b.row_stride + std::ptrdiff_t(c) * b.column_stride];
      }
      if (columns < width)
        for (std::size_t k = k0; k < k1; ++k) std::fill(out + k * width + columns, out + (k + 1) * width, 0.0f);
    }
  }
}

AlignedFloats::AlignedFloats(std::size_t count)
    : data_(
          static_cast<float*>(::operator new[](std::max<std::size_t>(count, 1) * sizeof(float), std::align_val_t(64))),
          [](float* p) { ::operator delete[](p, std::align_val_t(64)); }) {}

PackedMatrix pack_matrix(const Matrix& b) {
  PackedMatrix packed{AlignedFloats(packed_elements(b.depth, b.columns)), b.depth, b.columns};
  pack_panels(b, 0, panel_count(b.columns), packed.elements.data());
  return packed;
}

void multiply_panels(const RowBlock& rows, const PackedView& b, const float* bias, std::size_t first,
                     std::size_t last) {
  HWY_DYNAMIC_DISPATCH(multiply_panels_here)(rows, b, bias, first, last);
}

std::size_t panels_per_stripe(std::size_t depth) {
  return std::max<std::size_t>(262144 / std::max<std::size_t>(panel_columns() * depth * sizeof(float), 1), 1);
}

void multiply(const Product& p, std::size_t first, std::size_t last) {
  std::size_t stripe = panels_per_stripe(p.b.depth);
  for (std::size_t panel = first; panel < last; panel += stripe)
    for (std::size_t row = 0; row < p.rows;) {
      // Blocks of nearly equal height.
      std::size_t blocks = (p.rows - row + most_block_rows - 1) / most_block_rows,
                  count = (p.rows - row + blocks - 1) / blocks;
      const float* a_rows[most_block_rows];
      float* c_rows[most_block_rows];
      for (std::size_t r = 0; r < count; ++r) {
        a_rows[r] = p.a + std::ptrdiff_t(row + r) * p.a_stride;
        c_rows[r] = p.c + std::ptrdiff_t(row + r) * p.c_stride;
      }
      multiply_panels({a_rows, 1, p.b.depth, c_rows, count, p.half}, p.b, p.bias, panel,
                      std::min(panel + stripe, last));
      row += count;
    }
}

}  // namespace pomona::cpu
#endif
