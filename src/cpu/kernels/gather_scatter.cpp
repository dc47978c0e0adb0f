// Reading slices by index: gather along one axis, with bounds checked once per index.
#include "ops/gather_scatter.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "base/threads.h"
#include "cpu/encoded_constant.h"
#include "cpu/kernels/kernels.h"

namespace pomona::cpu {
namespace {

std::int64_t index_at(const std::uint8_t* data, DType dtype, std::size_t i) {
  switch (dtype) {
    case DType::int8:
      return reinterpret_cast<const std::int8_t*>(data)[i];
    case DType::uint8:
      return data[i];
    case DType::int16:
      return reinterpret_cast<const std::int16_t*>(data)[i];
    case DType::uint16:
      return reinterpret_cast<const std::uint16_t*>(data)[i];
    default:
      return reinterpret_cast<const std::int32_t*>(data)[i];
  }
}

// An index as it counts from the front; empty when it is outside. Up to iOS16 it may be negative.
struct Bounds {
  std::int64_t size;
  bool negative, must_hold;
  bool fits(std::int64_t& index) const {
    if (negative && index < 0) index += size;
    return index >= 0 && index < size;
  }
};

// Rows of an encoded matrix: an embedding, of which only the rows wanted are decoded.
Kernel plan_encoded_gather(const mil::gather& op, PlanContext& at) {
  if (op.x.rank() != 2 || *normal_axis(op.axis, 2) != 0) return {};
  SharedMatrix matrix = encoded_constant(op.x, {0, 1}, at);
  if (!matrix) return {};
  std::size_t count = std::size_t(element_count(known_sizes(op.indices.shape())));
  bool old = at.opset < iOS17, rounds = at.rounds();
  Bounds bounds{std::int64_t(matrix->rows), old, old || op.validate_indices};
  SlotNumber i = at.source(op.indices), y = at.result();
  DType index_dtype = op.indices.dtype();
  auto run = [=](const Frame& f) {
    const std::uint8_t* indices = f.read<std::uint8_t>(i);
    std::size_t depth = matrix->depth;
    for (std::size_t k = 0; k < count; ++k) {
      std::int64_t given = index_at(indices, index_dtype, k), index = given;
      if (!bounds.fits(index) && bounds.must_hold)
        return f.fail(pomona::fail("index {} is outside axis 0 of size {}", given, bounds.size));
    }
    parallel_for(count, 1 + 8192 / depth, [&](std::size_t first, std::size_t last) {
      for (std::size_t k = first; k < last; ++k) {
        float* out = f.write<float>(y) + k * depth;
        std::int64_t index = index_at(indices, index_dtype, k);
        if (bounds.fits(index))
          decode_row(*matrix, std::size_t(index), out);
        else
          std::fill_n(out, depth, 0.0f);
        if (rounds) round_to_half({out, depth});
      }
    });
  };
  return {.run = std::move(run), .name = "encoded_gather"};
}

Kernel plan_gather(const mil::gather& op, PlanContext& at) {
  Sizes sizes = known_sizes(op.x.shape());
  if (op.batch_dims != 0 || sizes.empty()) return {};
  if (Kernel encoded = plan_encoded_gather(op, at); encoded.run) return encoded;
  std::size_t axis = *normal_axis(op.axis, sizes.size());
  std::size_t outer = 1, inner = storage_bytes(op.x.dtype());
  for (std::size_t d = 0; d < axis; ++d) outer *= std::size_t(sizes[d]);
  for (std::size_t d = axis + 1; d < sizes.size(); ++d) inner *= std::size_t(sizes[d]);
  std::size_t indices_count = std::size_t(element_count(known_sizes(op.indices.shape())));
  bool old = at.opset < iOS17;
  Bounds bounds{sizes[axis], old, old || op.validate_indices};
  SlotNumber x = at.source(op.x), i = at.source(op.indices), y = at.result();
  DType index_dtype = op.indices.dtype();
  auto run = [=](const Frame& f) {
    const std::uint8_t *in = f.read<std::uint8_t>(x), *indices = f.read<std::uint8_t>(i);
    std::uint8_t* out = f.write<std::uint8_t>(y);
    if (bounds.must_hold)
      for (std::size_t k = 0; k < indices_count; ++k) {
        std::int64_t index = index_at(indices, index_dtype, k);
        if (!bounds.fits(index))
          return f.fail(pomona::fail("index {} is outside axis {} of size {}", index_at(indices, index_dtype, k), axis,
                                     bounds.size));
      }
    parallel_for(outer * indices_count, 1 + 32768 / (inner + 1), [&](std::size_t first, std::size_t last) {
      for (std::size_t k = first; k < last; ++k) {
        std::int64_t index = index_at(indices, index_dtype, k % indices_count);
        if (bounds.fits(index))
          std::memcpy(out + k * inner, in + (k / indices_count * std::size_t(bounds.size) + std::size_t(index)) * inner,
                      inner);
        else
          std::memset(out + k * inner, 0, inner);
      }
    });
  };
  return {.run = std::move(run), .name = "gather"};
}

Kernel plan_gather_along_axis(const mil::gather_along_axis& op, PlanContext& at) {
  Sizes sizes = known_sizes(op.x.shape()), result = at.result_sizes();
  std::size_t axis = *normal_axis(op.axis, sizes.size());
  for (std::size_t d = 0; d < sizes.size(); ++d)
    if (d != axis && sizes[d] != result[d]) return {};
  std::size_t inner = 1, length = std::size_t(result[axis]), bytes = storage_bytes(op.x.dtype());
  for (std::size_t d = axis + 1; d < sizes.size(); ++d) inner *= std::size_t(sizes[d]);
  std::size_t count = std::size_t(element_count(result));
  if (count == 0) return {};
  bool old = at.opset < iOS17;
  Bounds bounds{sizes[axis], old, old || op.validate_indices};
  SlotNumber x = at.source(op.x), i = at.source(op.indices), y = at.result();
  DType index_dtype = op.indices.dtype();
  auto run = [=](const Frame& f) {
    const std::uint8_t *in = f.read<std::uint8_t>(x), *indices = f.read<std::uint8_t>(i);
    std::uint8_t* out = f.write<std::uint8_t>(y);
    for (std::size_t k = 0; k < count; ++k) {
      std::int64_t index = index_at(indices, index_dtype, k);
      if (!bounds.fits(index)) {
        if (bounds.must_hold)
          return f.fail(pomona::fail("index {} is outside axis {} of size {}", index_at(indices, index_dtype, k), axis,
                                     bounds.size));
        std::memset(out + k * bytes, 0, bytes);
        continue;
      }
      std::size_t from = (k / (inner * length) * std::size_t(bounds.size) + std::size_t(index)) * inner + k % inner;
      std::memcpy(out + k * bytes, in + from * bytes, bytes);
    }
  };
  return {.run = std::move(run), .name = "gather_along_axis"};
}

}  // namespace

std::vector<KernelRule> gather_scatter_kernels() {
  return {kernel<mil::gather, plan_gather>({.constants_on_demand = true}),
          kernel<mil::gather_along_axis, plan_gather_along_axis>()};
}

}  // namespace pomona::cpu
