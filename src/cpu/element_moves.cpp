#include "cpu/element_moves.h"

#include <algorithm>
#include <cstring>

#include "base/threads.h"

namespace pomona::cpu {
namespace {

constexpr std::size_t tile = 16;  // of a transpose: two tiles of 4-byte elements are 2 KB
constexpr std::size_t bytes_per_task = 65536;

template <class T>
void transpose_rows(const T* from, T* to, std::size_t rows, std::size_t columns, std::size_t first, std::size_t last) {
  for (std::size_t row = first; row < last; row += tile) {
    std::size_t row_end = std::min(row + tile, last);
    for (std::size_t column = 0; column < columns; column += tile) {
      std::size_t column_end = std::min(column + tile, columns);
      for (std::size_t c = column; c < column_end; ++c)
        for (std::size_t r = row; r < row_end; ++r) to[c * rows + r] = from[r * columns + c];
    }
  }
}

template <class T>
void transpose_all(const T* from, T* to, std::size_t count, std::size_t rows, std::size_t columns) {
  std::size_t tiles = (rows + tile - 1) / tile;
  parallel_for(count * tiles, 1 + bytes_per_task / (tile * columns * sizeof(T) + 1),
               [&](std::size_t begin, std::size_t end) {
                 for (std::size_t i = begin; i < end; ++i) {
                   std::size_t matrix = i / tiles, first = i % tiles * tile;
                   transpose_rows(from + matrix * rows * columns, to + matrix * rows * columns, rows, columns, first,
                                  std::min(first + tile, rows));
                 }
               });
}

template <class T>
void copy_line(const T* from, std::int64_t from_stride, T* to, std::int64_t to_stride, std::size_t count) {
  if (from_stride == 1 && to_stride == 1) return (void)std::memcpy(to, from, count * sizeof(T));
  for (std::size_t i = 0; i < count; ++i) to[std::int64_t(i) * to_stride] = from[std::int64_t(i) * from_stride];
}

template <class T>
void copy_lines(const BoxCopy& box, const T* from, T* to, std::size_t first, std::size_t last) {
  std::size_t outer = box.sizes.size() - 1;
  for (std::size_t line = first; line < last; ++line) {
    std::int64_t a = box.from_offset, b = box.to_offset;
    std::size_t rest = line;
    for (std::size_t d = outer; d-- > 0;) {
      std::int64_t at = std::int64_t(rest % std::size_t(box.sizes[d]));
      rest /= std::size_t(box.sizes[d]);
      a += at * box.from_strides[d];
      b += at * box.to_strides[d];
    }
    copy_line(from + a, box.from_strides[outer], to + b, box.to_strides[outer], std::size_t(box.sizes[outer]));
  }
}

// Both innermost dimensions, when one side runs along the first and the other along the second.
template <class T>
void copy_plane(const BoxCopy& box, const T* from, T* to) {
  std::size_t last = box.sizes.size() - 1, rows = std::size_t(box.sizes[last - 1]),
              columns = std::size_t(box.sizes[last]);
  std::int64_t from_row = box.from_strides[last - 1], from_column = box.from_strides[last],
               to_row = box.to_strides[last - 1], to_column = box.to_strides[last];
  for (std::size_t r0 = 0; r0 < rows; r0 += tile)
    for (std::size_t c0 = 0; c0 < columns; c0 += tile)
      for (std::size_t r = r0; r < std::min(r0 + tile, rows); ++r)
        for (std::size_t c = c0; c < std::min(c0 + tile, columns); ++c)
          to[std::int64_t(r) * to_row + std::int64_t(c) * to_column] =
              from[std::int64_t(r) * from_row + std::int64_t(c) * from_column];
}

template <class T>
void copy_all(const BoxCopy& box, const T* from, T* to) {
  std::size_t rank = box.sizes.size();
  bool crossed = rank >= 2 && box.from_strides[rank - 1] != 1 && box.from_strides[rank - 2] == 1;
  std::size_t inner = std::size_t(box.sizes[rank - 1]) * (crossed ? std::size_t(box.sizes[rank - 2]) : 1);
  std::size_t count = std::size_t(element_count(box.sizes)) / inner;
  parallel_for(count, 1 + bytes_per_task / (inner * sizeof(T)), [&](std::size_t first, std::size_t last) {
    if (!crossed) return copy_lines(box, from, to, first, last);
    for (std::size_t plane = first; plane < last; ++plane) {
      std::int64_t a = box.from_offset, b = box.to_offset;
      std::size_t rest = plane;
      for (std::size_t d = rank - 2; d-- > 0;) {
        std::int64_t at = std::int64_t(rest % std::size_t(box.sizes[d]));
        rest /= std::size_t(box.sizes[d]);
        a += at * box.from_strides[d];
        b += at * box.to_strides[d];
      }
      copy_plane(box, from + a, to + b);
    }
  });
}

}  // namespace

void transpose_matrices(const std::uint8_t* from, std::uint8_t* to, std::size_t count, std::size_t rows,
                        std::size_t columns, std::size_t element_bytes) {
  if (count * rows * columns == 0) return;
  if (element_bytes == 4)
    transpose_all(reinterpret_cast<const std::uint32_t*>(from), reinterpret_cast<std::uint32_t*>(to), count, rows,
                  columns);
  else if (element_bytes == 2)
    transpose_all(reinterpret_cast<const std::uint16_t*>(from), reinterpret_cast<std::uint16_t*>(to), count, rows,
                  columns);
  else
    transpose_all(from, to, count, rows, columns);
}

BoxCopy simplified(BoxCopy box) {
  BoxCopy simple{{}, {}, {}, box.from_offset, box.to_offset, box.element_bytes};
  for (std::size_t d = 0; d < box.sizes.size(); ++d) {
    if (box.sizes[d] == 1) continue;
    bool joins = !simple.sizes.empty() && simple.from_strides.back() == box.from_strides[d] * box.sizes[d] &&
                 simple.to_strides.back() == box.to_strides[d] * box.sizes[d];
    if (joins) {
      simple.sizes.back() *= box.sizes[d];
      simple.from_strides.back() = box.from_strides[d];
      simple.to_strides.back() = box.to_strides[d];
    } else {
      simple.sizes.push_back(box.sizes[d]);
      simple.from_strides.push_back(box.from_strides[d]);
      simple.to_strides.push_back(box.to_strides[d]);
    }
  }
  if (simple.sizes.empty()) {
    simple.sizes = {1};
    simple.from_strides = simple.to_strides = {1};
  }
  return simple;
}

void copy_box(const BoxCopy& box, const std::uint8_t* from, std::uint8_t* to) {
  if (element_count(box.sizes) == 0) return;
  if (box.element_bytes == 4)
    copy_all(box, reinterpret_cast<const std::uint32_t*>(from), reinterpret_cast<std::uint32_t*>(to));
  else if (box.element_bytes == 2)
    copy_all(box, reinterpret_cast<const std::uint16_t*>(from), reinterpret_cast<std::uint16_t*>(to));
  else
    copy_all(box, from, to);
}

}  // namespace pomona::cpu
