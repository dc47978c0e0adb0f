#include "compress/blocks.h"

namespace pomona::compress {

Blocks::Blocks(const Sizes& sizes, const Sizes& block) : block_(block), strides_(strides_of(sizes)) {
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    if (block_[d] == 0) block_[d] = sizes[d];
    counts_.push_back(sizes[d] / block_[d]);
  }
  // Axes from `cut` on belong to a run: the last axis that is cut, and what lies behind it.
  std::size_t cut = sizes.size();
  while (cut > 0 && block_[cut - 1] == sizes[cut - 1]) run_ *= std::size_t(sizes[--cut]);
  if (cut > 0) run_ *= std::size_t(block_[--cut]);
  run_offsets_ = {0};
  for (std::size_t d = 0; d < cut; ++d) {
    std::vector<std::size_t> finer;
    for (std::size_t offset : run_offsets_)
      for (std::int64_t i = 0; i < block_[d]; ++i) finer.push_back(offset + std::size_t(i * strides_[d]));
    run_offsets_ = std::move(finer);
  }
}

std::size_t Blocks::first_element(std::size_t block) const {
  std::size_t first = 0;
  for (std::size_t d = counts_.size(); d-- > 0;) {
    std::size_t at = block % std::size_t(counts_[d]);
    block /= std::size_t(counts_[d]);
    first += at * std::size_t(block_[d] * strides_[d]);
  }
  return first;
}

}  // namespace pomona::compress
