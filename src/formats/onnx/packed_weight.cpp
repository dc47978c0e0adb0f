#include "formats/onnx/packed_weight.h"

#include <fmt/format.h>

#include "ops/constexpr.h"

namespace pomona::onnx {
namespace {

// Weights below this stay plain numbers: biases, scales, tables.
constexpr std::uint64_t fewest_elements = 256;

Weight unpacked(const Weight& data, int bits, std::int64_t rows, std::int64_t columns, DType dtype) {
  if (bits == 8 && dtype == DType::uint8)
    return Weight::derived(
        {fmt::format("rows {}x{}", rows, columns),
         dtype,
         {rows, columns},
         {data},
         [rows, columns](std::span<const Tensor> in) -> Result<Tensor> { return in[0].reshaped({rows, columns}); }});
  return Weight::derived({fmt::format("{} bits {}x{}", bits, rows, columns),
                          dtype,
                          {rows, columns},
                          {data},
                          [bits, rows, columns, dtype](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor out(dtype, {rows, columns});
                            std::uint8_t* to = out.mutable_data();
                            auto per_byte = std::int64_t(8 / bits);
                            std::int64_t stride = (columns + per_byte - 1) / per_byte;
                            const std::uint8_t* from = in[0].data();
                            for (std::int64_t r = 0; r < rows; ++r)
                              for (std::int64_t c = 0; c < columns; ++c) {
                                unsigned byte = from[r * stride + c / per_byte];
                                to[r * columns + c] = std::uint8_t(byte >> (c % per_byte * bits) & ((1u << bits) - 1));
                              }
                            return out;
                          }});
}

Weight reshaped(const Weight& weight, Sizes sizes) {
  return Weight::derived({fmt::format("as {}", to_string(sizes)),
                          weight.dtype(),
                          sizes,
                          {weight},
                          [sizes](std::span<const Tensor> in) -> Result<Tensor> { return in[0].reshaped(sizes); }});
}

// scale * (data - zero), blocks along the last axis.
Weight decoded(const Weight& data, const Weight& scales, const Weight& zeros, double middle) {
  std::vector<Weight> inputs{data, scales};
  if (zeros) inputs.push_back(zeros);
  return Weight::derived({fmt::format("decoded {}", middle), DType::fp32, data.sizes(), inputs,
                          [middle](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor out(DType::fp32, in[0].sizes());
                            auto to = out.mutable_view<float>();
                            std::size_t columns = std::size_t(in[0].sizes()[1]);
                            std::size_t block = columns / std::size_t(in[1].sizes()[1]);
                            for (std::size_t i = 0; i < to.size(); ++i) {
                              double zero = in.size() > 2 ? in[2].number(i / block) : middle;
                              to[i] = float(float(in[0].number(i) - zero) * float(in[1].number(i / block)));
                            }
                            return out;
                          }});
}

}  // namespace

Result<Weight> constant_of(Lowering& g, Value value, std::string_view what) {
  const Weight* weight = g.as_constant(value).literal();
  POM_REQUIRE(weight, "{} must be constant", what);
  return *weight;
}

Result<Weight> bytes_of(Lowering& g, Value value, std::string_view what) {
  Weight weight = POM_TRY(constant_of(g, value, what));
  if (weight.step() && weight.step()->what == "to int32" && weight.step()->inputs[0].dtype() == DType::uint8)
    return weight.step()->inputs[0];
  return Weight::cast(weight, DType::uint8);
}

Result<Value> unpacked_weight(Lowering& g, const PackedWeight& p) {
  auto per_byte = std::int64_t(8 / p.bits);
  POM_REQUIRE(std::int64_t(p.data.count()) == p.rows * (p.columns / per_byte), "the weight has {} bytes, not {}",
              p.data.count(), p.rows * (p.columns / per_byte));
  POM_REQUIRE(std::int64_t(p.scales.count()) == p.rows * p.blocks, "there are {} scales, not {}", p.scales.count(),
              p.rows * p.blocks);
  DType dtype = p.bits == 8 ? DType::uint8 : p.bits == 4 ? DType::uint4 : DType::uint2;
  Weight data = unpacked(p.data, p.bits, p.rows, p.columns, dtype);
  Weight scales = reshaped(Weight::cast(p.scales, DType::fp32), {p.rows, p.blocks}), zeros;
  if (p.zeros) {
    std::int64_t bytes = (p.blocks + per_byte - 1) / per_byte;
    POM_REQUIRE(std::int64_t(p.zeros.count()) == p.rows * bytes, "there are {} bytes of zero points, not {}",
                p.zeros.count(), p.rows * bytes);
    zeros = unpacked(p.zeros, p.bits, p.rows, p.blocks, dtype);
  } else if (p.real_zeros) {
    POM_REQUIRE(std::int64_t(p.real_zeros.count()) == p.rows * p.blocks, "there are {} zero points, not {}",
                p.real_zeros.count(), p.rows * p.blocks);
    zeros = reshaped(Weight::cast(p.real_zeros, DType::fp32), {p.rows, p.blocks});
  }
  double middle = 1 << (p.bits - 1);
  if (g.target() < Target::iOS18 || p.bits == 2 || p.real_zeros)
    return g.constant(decoded(data, scales, zeros, middle));
  if (!zeros) {
    std::vector<double> same(std::size_t(p.rows * p.blocks), middle);
    zeros = Weight(Tensor::from_numbers(dtype, {p.rows, p.blocks}, same));
  }
  return g.add(mil::constexpr_blockwise_shift_scale{
      .data = g.constant(data), .scale = g.constant(scales), .offset = g.constant(zeros)});
}

std::optional<Value> quantized_weight(Lowering& g, Value x, Elem elem, Value scale, Value zero, std::int64_t axis,
                                      std::int64_t block) {
  DType stored = elem_info(elem).stored;
  bool four = stored == DType::int4 || stored == DType::uint4;
  if (!four && stored != DType::int8 && stored != DType::uint8) return {};
  if (elem_info(elem).packed_bits || g.target() < (four || block ? Target::iOS18 : Target::iOS16)) return {};
  const Weight* data = g.as_constant(x).literal();
  const Weight* factor = g.as_constant(scale).literal();
  const Weight* middle = zero ? g.as_constant(zero).literal() : nullptr;
  if (!data || !factor || (zero && !middle) || data->count() < fewest_elements || x.rank() == 0) return {};
  auto narrow = [&](const Weight& w) {
    if (w.step() && w.step()->what == "to int32" && w.step()->inputs[0].dtype() == stored) return w.step()->inputs[0];
    return Weight::cast(w, stored);
  };
  auto along = normal_axis(axis, x.rank());
  bool single = factor->count() == 1;
  if (!along || (!single && !block && factor->sizes().size() != 1)) return {};
  if (g.target() < Target::iOS18) {
    if (!single && std::int64_t(factor->count()) != data->sizes()[*along]) return {};
    Weight line = single ? reshaped(*factor, {}) : *factor;
    Weight zeros = middle ? narrow(*middle) : Weight(Tensor::from_numbers(stored, {}, {0}));
    if (middle && single) zeros = reshaped(zeros, {});
    return g.add(mil::constexpr_affine_dequantize{.quantized_data = g.constant(narrow(*data)),
                                                  .zero_point = g.constant(zeros),
                                                  .scale = g.constant(Weight::cast(line, DType::fp32)),
                                                  .axis = int(*along)});
  }
  Sizes grid(x.rank(), 1);
  if (block) {
    grid = factor->sizes();
    if (grid.size() != x.rank()) return {};
    for (std::size_t i = 0; i < grid.size(); ++i)
      if (grid[i] <= 0 || data->sizes()[i] != grid[i] * (i == *along ? block : 1)) return {};
  } else if (!single) {
    grid[*along] = std::int64_t(factor->count());
    if (grid[*along] != data->sizes()[*along]) return {};
  }
  mil::constexpr_blockwise_shift_scale op{.data = g.constant(narrow(*data)),
                                          .scale = g.constant(reshaped(Weight::cast(*factor, DType::fp32), grid))};
  if (middle) {
    if (middle->count() != factor->count()) return {};
    op.offset = g.constant(reshaped(narrow(*middle), grid));
  }
  return g.add(op);
}

}  // namespace pomona::onnx
