// A tensor cut into blocks of any size along each axis, every block with its own scale.
//
//   Blocks blocks({64, 32, 3, 3}, {1, 32, 0, 0});       // 0: the whole axis
//   blocks.counts()                                     // {64, 1, 1, 1}: the sizes of the scales
//   blocks.gather(b, floats, out); blocks.scatter(b, codes, out);
//
// It visits blocks in the row-major order of the scales, and a block's elements in the order of the tensor.
#pragma once
#include <algorithm>

#include "ir/tensor.h"

namespace pomona::compress {

class Blocks {
 public:
  // Every block size divides its axis, or is 0.
  Blocks(const Sizes& sizes, const Sizes& block);

  const Sizes& block() const { return block_; }
  const Sizes& counts() const { return counts_; }
  std::size_t count() const { return std::size_t(element_count(counts_)); }
  std::size_t elements() const { return std::size_t(element_count(block_)); }

  // f(first element, number of elements) for each stretch of the block that lies in a row.
  template <class F>
  void each_run(std::size_t block, F f) const {
    std::size_t first = first_element(block);
    for (std::size_t offset : run_offsets_) f(first + offset, run_);
  }
  template <class From, class To>
  void gather(std::size_t block, const From* from, To* to) const {
    each_run(block, [&](std::size_t first, std::size_t length) { to = std::copy_n(from + first, length, to); });
  }
  template <class From, class To>
  void scatter(std::size_t block, const From* from, To* to) const {
    each_run(block, [&](std::size_t first, std::size_t length) {
      std::copy_n(from, length, to + first);
      from += length;
    });
  }

 private:
  std::size_t first_element(std::size_t block) const;
  Sizes block_, counts_, strides_;
  std::size_t run_ = 1;
  std::vector<std::size_t> run_offsets_;  // from a block's first element
};

}  // namespace pomona::compress
