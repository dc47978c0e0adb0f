// What rounding with data shares: the numbers that each element of a weight may become, and the factor of the inputs'
// matrix.
//
//   Grid grid = POM_TRY(Grid::of(encoded, candidate));
//   float value = grid.nearest(row, column, wanted, code);       // of the weight seen as [outputs, columns]
//   grid.store(encoded);                                         // codes, scales and tables as they are now
#pragma once
#include "compress/calibration.h"

namespace pomona::compress {

class Grid {
 public:
  // Errors: forms whose codes cannot be chosen one by one.
  static Result<Grid> of(const Encoded& encoded, const Candidate& candidate, std::size_t columns);

  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }
  std::size_t element(std::size_t row, std::size_t column) const {
    return transposed_ ? column * rows_ + row : row * columns_ + column;
  }
  // Which scale or table it has.
  std::size_t block(std::size_t row, std::size_t column) const { return row_blocks_[row] + column_blocks_[column]; }
  // The value of the code, as the reader of the file will compute it.
  float value(std::size_t row, std::size_t column, std::uint8_t code) const;
  float nearest(std::size_t row, std::size_t column, float wanted, std::uint8_t& code) const;
  std::uint8_t& code(std::size_t row, std::size_t column) { return codes_[element(row, column)]; }
  std::uint8_t code(std::size_t row, std::size_t column) const { return codes_[element(row, column)]; }

  bool is_table() const { return entries_ > 0; }
  // Whether the numbers themselves can be fitted again: scales of blocks within rows, or tables as they are stored.
  bool can_refit() const { return can_refit_; }
  std::size_t entries() const { return entries_; }
  // Of a block: its table, or its scale; rounded to the type they are stored in.
  std::span<const float> table(std::size_t block) const { return {values_.data() + block * entries_, entries_}; }
  void set_table(std::size_t block, std::span<const float> entries);
  float scale(std::size_t block) const { return scales_[block]; }
  void set_scale(std::size_t block, float scale);
  std::size_t blocks() const { return entries_ ? values_.size() / entries_ : scales_.size(); }
  // The code less its zero point: what the scale multiplies.
  float level(std::size_t row, std::size_t column) const;

  void store(Encoded& encoded) const;

 private:
  Status read_linear(const Encoded& encoded);
  Status read_table(const Encoded& encoded, std::size_t stage);
  void find_blocks(const Sizes& sizes, const Sizes& of_blocks, std::vector<std::size_t>& by_row,
                   std::vector<std::size_t>& by_column) const;
  void sort_table(std::size_t block);
  float rounded(float value) const;

  std::size_t rows_ = 0, columns_ = 0, entries_ = 0;
  bool transposed_ = false, can_refit_ = true, packed_ = false;
  unsigned packed_bits_ = 8;
  DType dtype_ = DType::fp16, code_dtype_ = DType::int8;
  Sizes code_sizes_;
  std::vector<std::uint8_t> codes_;
  std::vector<float> scales_, offsets_, values_, outer_;  // outer_: scales on top of a table
  std::vector<std::uint8_t> order_;                       // of each table's entries by value
  std::vector<std::size_t> row_blocks_, column_blocks_, row_outer_, column_outer_;
  float lowest_ = 0, highest_ = 0;
  std::size_t code_stage_ = 0;
  std::string code_field_, number_field_;
  std::vector<std::pair<std::pair<std::size_t, std::string>, Tensor>> others_;  // parts that stay, as tensors
};

// Of the damped matrix; kept with the statistics for weights with the same input.
Result<std::shared_ptr<const Factor>> factor_of(const Statistics& statistics, const Rounding& options);
// What is added to the matrix's diagonal.
double damping_of(const Statistics& statistics, const Rounding& options);

// Lowers what the layer's outputs lose, code by code and number by number, from where the grid's codes are. `wanted`:
// the weight as [rows, columns]; `kept`: null, or which elements are not zeros.
void refine(Grid& grid, std::span<const float> wanted, const std::uint8_t* kept, const Statistics& statistics,
            double damping);

}  // namespace pomona::compress
