#include "cpu/state_kernels.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "base/threads.h"

namespace pomona::cpu {
namespace {

// Where the rows go; an error when they are not as many as the slice.
Result<Sizes> update_begin(const StateUpdate& u, const std::int32_t* begin, const std::int32_t* end) {
  Sizes first;
  for (std::size_t d = 0; d < u.sizes.size(); ++d) {
    std::int64_t size = u.sizes[d];
    auto bound = [&](const std::int32_t* given, const Ints& mask, std::int64_t otherwise) {
      if (d < mask.size() && mask[d]) return otherwise;
      std::int64_t at = given[d] < 0 ? given[d] + size : given[d];
      return std::clamp<std::int64_t>(at, 0, size);
    };
    std::int64_t from = bound(begin, u.begin_mask, 0), to = bound(end, u.end_mask, size);
    POM_REQUIRE(to - from == u.update_sizes[d], "the slice has {} elements along axis {}, but the update has {}",
                to - from, d, u.update_sizes[d]);
    first.push_back(from);
  }
  return first;
}

// One run of elements at a time along the last axis.
void write_rows(const StateUpdate& u, const Sizes& first, const float* from, std::uint8_t* to) {
  Sizes strides = strides_of(u.sizes);
  std::size_t rank = u.sizes.size(), run = rank ? std::size_t(u.update_sizes[rank - 1]) : 1;
  std::size_t count = run ? std::size_t(element_count(u.update_sizes)) / run : 0;
  parallel_for(count, 1 + 16384 / (run + 1), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      std::int64_t at = rank ? first[rank - 1] : 0;
      std::size_t rest = i;
      for (std::size_t d = rank; d-- > 0;) {
        if (d + 1 == rank) continue;
        at += (first[d] + std::int64_t(rest % std::size_t(u.update_sizes[d]))) * strides[d];
        rest /= std::size_t(u.update_sizes[d]);
      }
      std::span row(from + i * run, run);
      if (u.dtype == DType::fp16)
        floats_to_halves(row, reinterpret_cast<std::uint16_t*>(to) + at);
      else
        std::memcpy(reinterpret_cast<float*>(to) + at, row.data(), run * sizeof(float));
    }
  });
}

}  // namespace

Kernel state_update_kernel(const StateUpdate& update) {
  return {.run =
              [u = update](const Frame& f) {
                auto first = update_begin(u, f.read<std::int32_t>(u.begin), f.read<std::int32_t>(u.end));
                if (!first) return f.fail(std::move(first).error());
                write_rows(u, *first, f.read<float>(u.update), f.write<std::uint8_t>(u.state));
              },
          .name = "state_update"};
}

Kernel widening_kernel(SlotNumber halves, SlotNumber floats, std::size_t count) {
  return {.run =
              [=](const Frame& f) {
                parallel_for(count, 65536, [&](std::size_t begin, std::size_t end) {
                  halves_to_floats({f.read<std::uint16_t>(halves) + begin, end - begin},
                                   f.write<float>(floats) + begin);
                });
              },
          .name = "widen"};
}

}  // namespace pomona::cpu
