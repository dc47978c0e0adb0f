#include "cpu/layout.h"

#include "cpu/element_moves.h"

namespace pomona::cpu {

std::vector<std::size_t> channels_last_order(std::size_t rank) {
  std::vector<std::size_t> order{0};
  for (std::size_t d = 2; d < rank; ++d) order.push_back(d);
  order.push_back(1);
  return order;
}

Sizes channels_last_strides(const Sizes& sizes) {
  Sizes strides(sizes.size());
  std::int64_t stride = 1;
  std::vector<std::size_t> order = channels_last_order(sizes.size());
  for (std::size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = stride;
    stride *= sizes[order[i]];
  }
  return strides;
}

bool same_in_both_layouts(const Sizes& sizes) {
  if (sizes.size() < 3 || sizes[1] == 1) return true;
  std::int64_t positions = 1;
  for (std::size_t d = 2; d < sizes.size(); ++d) positions *= sizes[d];
  return positions <= 1;
}

Kernel reorder_kernel(SlotNumber from, SlotNumber to, const Sizes& sizes, DType dtype, bool to_channels_last) {
  std::size_t batches = std::size_t(sizes[0]), rows = std::size_t(sizes[1]), columns = 1;
  for (std::size_t d = 2; d < sizes.size(); ++d) columns *= std::size_t(sizes[d]);
  if (!to_channels_last) std::swap(rows, columns);
  std::size_t bytes = storage_bytes(dtype);
  return {.run =
              [=](const Frame& f) {
                transpose_matrices(f.read<std::uint8_t>(from), f.write<std::uint8_t>(to), batches, rows, columns,
                                   bytes);
              },
          .name = "reorder"};
}

}  // namespace pomona::cpu
