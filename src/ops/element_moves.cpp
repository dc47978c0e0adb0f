#include "ops/element_moves.h"

namespace pomona::mil {

Selection all_elements(const Sizes& sizes) { return {sizes, strides_of(sizes)}; }

std::vector<std::int64_t> element_numbers(const Selection& selection) {
  std::vector<std::int64_t> numbers(std::size_t(element_count(selection.sizes)));
  Sizes index(selection.sizes.size());
  std::int64_t at = selection.offset;
  for (std::int64_t& number : numbers) {
    number = at;
    for (std::size_t d = index.size(); d-- > 0;) {
      at += selection.strides[d];
      if (++index[d] < selection.sizes[d]) break;
      at -= selection.strides[d] * selection.sizes[d];
      index[d] = 0;
    }
  }
  return numbers;
}

Tensor select_elements(const Tensor& x, const Selection& selection) {
  Tensor result(x.dtype(), selection.sizes);
  std::size_t bytes = element_size_bytes(x.dtype());
  std::uint8_t* to = result.mutable_data();
  for (std::int64_t number : element_numbers(selection)) {
    std::memcpy(to, x.data() + std::size_t(number) * bytes, bytes);
    to += bytes;
  }
  return result;
}

void replace_elements(Tensor& x, const Selection& selection, const Tensor& values) {
  std::size_t bytes = element_size_bytes(x.dtype());
  std::uint8_t* to = x.mutable_data();
  const std::uint8_t* from = values.data();
  for (std::int64_t number : element_numbers(selection)) {
    std::memcpy(to + std::size_t(number) * bytes, from, bytes);
    from += bytes;
  }
}

Tensor rearrange_elements(const Tensor& x, const Sizes& sizes, const std::vector<std::size_t>& perm, Sizes result) {
  Sizes strides = strides_of(sizes);
  Selection selection;
  for (std::size_t source : perm) {
    selection.sizes.push_back(sizes[source]);
    selection.strides.push_back(strides[source]);
  }
  return select_elements(x, selection).reshaped(std::move(result));
}

Tensor pick_elements(const Tensor& x, const std::vector<std::vector<std::int64_t>>& indices) {
  Sizes sizes, strides = strides_of(x.sizes());
  for (const auto& list : indices) sizes.push_back(std::int64_t(list.size()));
  Tensor result(x.dtype(), sizes);
  std::size_t bytes = element_size_bytes(x.dtype());
  std::uint8_t* to = result.mutable_data();
  Sizes index(sizes.size());
  for (std::size_t i = 0, count = result.count(); i < count; ++i, to += bytes) {
    std::int64_t from = 0;
    bool inside = true;
    for (std::size_t d = 0; d < index.size(); ++d) {
      std::int64_t k = indices[d][std::size_t(index[d])];
      inside = inside && k >= 0;
      from += k * strides[d];
    }
    if (inside) std::memcpy(to, x.data() + std::size_t(from) * bytes, bytes);
    for (std::size_t d = index.size(); d-- > 0;) {
      if (++index[d] < sizes[d]) break;
      index[d] = 0;
    }
  }
  return result;
}

void copy_elements(Tensor& to, std::int64_t to_first, const Tensor& from, std::int64_t from_first, std::int64_t count) {
  std::size_t bytes = element_size_bytes(to.dtype());
  if (count > 0)
    std::memcpy(to.mutable_data() + std::size_t(to_first) * bytes, from.data() + std::size_t(from_first) * bytes,
                std::size_t(count) * bytes);
}

}  // namespace pomona::mil
