// Look-up tables fitted to the groups of a tensor, and the indices of its weights.
//
//   TableCodes fitted = POM_TRY(fit_tables(tensor, {.mode = TableMode::kmeans, .bits = 4, .cut = groups}));
//
// Scalar tables of mode kmeans are optimal (exact_kmeans.h), vector tables come from vector_kmeans.h. Entries are
// rounded to the dtype they are stored in before weights are translated, so every weight gets the nearest entry of the
// table that is read back.
#pragma once
#include <optional>

#include "ir/tensor.h"

namespace pomona::compress {

inline constexpr int table_bits[] = {1, 2, 3, 4, 6, 8};

enum class TableMode : unsigned char { kmeans, uniform, unique, custom };

// A tensor cut into groups along one axis: outer x (groups x group_channels) x inner.
struct Groups {
  std::size_t axis = 0, outer = 1, groups = 1, group_channels = 1, inner = 1;
  // Elements of a group that follow each other; there are `outer` such runs.
  std::size_t run() const { return group_channels * inner; }
  std::size_t elements() const { return outer * run(); }
  std::size_t position(std::size_t group, std::size_t run_index) const { return (run_index * groups + group) * run(); }
};

struct TableCoding {
  TableMode mode = TableMode::kmeans;
  unsigned bits = 4;
  Groups cut;
  std::size_t vector = 1;           // neighbours along the axis that share an index
  bool packed = false;              // indices as packed bytes; one group, no vectors
  bool skip_zeros = false;          // zeros are not stored, so no entry is spent on them and their error is none
  bool int8_tables = false;         // entries are int8 times one scale
  std::vector<float> entries;       // of mode custom
  std::vector<float> importance;    // of every weight when fitting; empty: 1
  std::vector<float> error_factor;  // of every weight's squared error in the sum; empty: 1
};

struct TableCodes {
  std::vector<std::uint8_t> codes;  // per weight, or per vector in the order of the smaller tensor
  std::vector<float> tables;        // groups x 2^bits x vector
  std::vector<std::int8_t> int8_tables;
  float table_scale = 1;
  double squared_error = 0;
};

Result<TableCodes> fit_tables(const Tensor& tensor, const TableCoding& coding);

// The fewest bits that index the distinct values (or vectors) of every group. An error when 8 do not.
Result<unsigned> bits_of_unique(const Tensor& tensor, const Groups& cut, std::size_t vector, bool three_bits);

}  // namespace pomona::compress
