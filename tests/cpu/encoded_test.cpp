// Products with weights in their compressed forms, against the reference: decoded, then multiplied in double precision.
#include <random>

#include "base/half.h"
#include "cpu/encoded_product.h"
#include "kernel_case.h"
#include "ops/activation.h"
#include "ops/constexpr.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/shape.h"

namespace pomona::cpu {
namespace {

enum class Offset { none, integer, one, floating };
struct Encoding {
  DType data = DType::int4;
  std::int64_t block = 32;  // along the inputs; 0: one scale per row
  Offset offset = Offset::none;
  bool table = false;  // data are indices into a table of int8
  bool wide = false;   // a float scale
  std::int64_t row_block = 1;
  double values = 0;  // so many different ones only
};

Tensor random_integers(DType dtype, Sizes sizes, unsigned seed, double least, double most) {
  std::mt19937 random(seed);
  std::vector<double> numbers(std::size_t(element_count(sizes)));
  for (double& v : numbers) v = least + double(random() % unsigned(most - least + 1));
  return Tensor::from_numbers(dtype, std::move(sizes), numbers);
}
std::pair<double, double> range_of(DType dtype) {
  unsigned bits = info(dtype).bits;
  if (info(dtype).is_signed) return {-double(1 << (bits - 1)), double((1 << (bits - 1)) - 1)};
  return {0, double((1 << bits) - 1)};
}

// A weight of [rows, depth], or of `sizes` with these as the axes given.
Value encoded_weight(Builder& g, Value like, const Encoding& e, Sizes sizes, std::size_t row_axis = 0,
                     std::size_t depth_axis = 1) {
  auto [least, most] = range_of(e.data);
  if (e.values > 0) most = least + e.values - 1;
  Value data = g.constant(random_integers(e.data, sizes, 11, least, most));
  if (e.table) {
    Sizes lut(sizes.size(), 1);
    lut.insert(lut.end(), {std::int64_t(1) << info(e.data).bits, 1});
    data = g.add(mil::constexpr_lut_to_dense{.indices = data,
                                             .lut = g.constant(random_integers(DType::int8, lut, 12, -127, 127))});
  }
  Sizes blocks(sizes.size(), 1);
  blocks[row_axis] = sizes[row_axis] / e.row_block;
  blocks[depth_axis] = e.block ? sizes[depth_axis] / e.block : 1;
  std::mt19937 random(13);
  std::vector<double> scales(std::size_t(element_count(blocks)));
  for (double& s : scales) {
    s = 0.002 + 0.001 * double(random() % 1000) / 1000;
    if (!e.wide) s = half_to_float(double_to_half(s));
  }
  mil::constexpr_blockwise_shift_scale op{.data = data,
                                          .scale = g.constant(Tensor::from_numbers(like.dtype(), blocks, scales))};
  DType integers = e.table ? DType::int8 : e.data;
  if (e.offset == Offset::integer) op.offset = g.constant(random_integers(integers, blocks, 14, 0, 7));
  if (e.offset == Offset::one) op.offset = g.constant(random_integers(integers, blocks, 14, 5, 5));
  if (e.offset == Offset::floating)
    op.offset = g.constant(Tensor::from_numbers(like.dtype(), blocks, [&] {
      std::vector<double> offsets;
      for (std::size_t i = 0; i < scales.size(); ++i) offsets.push_back(double(random() % 4000) / 300 - 3);
      return offsets;
    }()));
  return g.add(op);
}

constexpr double tolerance = 6e-5;

Case linear(std::string name, std::int64_t vectors, std::int64_t depth, std::int64_t rows, Encoding e,
            bool bias = true) {
  return {std::move(name),
          {{'F', {vectors, depth}}},
          [=](Builder& g, const Values& v) {
            mil::linear op{.x = v[0], .weight = encoded_weight(g, v[0], e, {rows, depth})};
            if (bias) op.bias = random_constant(g, v[0], {rows}, 2);
            return Values{g.add(mil::silu{.x = g.add(op)})};
          },
          tolerance};
}

std::vector<Case> cases() {
  std::vector<Case> all;
  auto add = [&](Case c) { all.push_back(std::move(c)); };
  struct Named {
    std::string name;
    DType dtype;
  };
  for (const auto& [name, dtype] : std::vector<Named>{
           {"int4", DType::int4}, {"uint4", DType::uint4}, {"int8", DType::int8}, {"uint8", DType::uint8}})
    for (std::int64_t block : {16, 32, 64, 96, 0}) {
      std::int64_t depth = block == 96 ? 288 : 320;
      std::string text = name + "_block_" + std::to_string(block);
      add(linear(text, 1, depth, 100, {dtype, block}));
      add(linear(text + "_offsets", 7, depth, 75, {dtype, block, Offset::integer}));
      add(linear(text + "_one_offset", 2, depth, 75, {dtype, block, Offset::one}, false));
      add(linear(text + "_float_offsets", 21, depth, 83, {dtype, block, Offset::floating, false, true}));
    }
  for (std::int64_t vectors : {1, 3, 5, 13, 97, 200})
    for (std::int64_t depth : {96, 160, 2048})
      add(linear("vectors_" + std::to_string(vectors) + "_depth_" + std::to_string(depth), vectors, depth, 177,
                 {DType::uint4, 32}));
  add(linear("odd_depth", 5, 333, 60, {DType::int8, 0}));
  add(linear("odd_depth_int4", 5, 333, 60, {DType::int4, 0, Offset::integer}));
  add(linear("block_of_8", 5, 320, 60, {DType::int4, 8}));
  add(linear("rows_share_scales", 5, 320, 60, {.data = DType::int8, .block = 0, .row_block = 4}));
  add(linear("one_scale", 5, 320, 60, {.data = DType::int4, .block = 0, .row_block = 60}));
  add(linear("table_4_bits", 5, 320, 61, {.data = DType::uint4, .table = true}));
  add(linear("table_4_bits_of_16", 9, 320, 61, {.data = DType::uint4, .block = 16, .table = true}));
  add(linear("table_2_bits", 1, 320, 61, {.data = DType::uint2, .table = true}));
  add(linear("table_6_bits", 5, 320, 61, {.data = DType::uint6, .block = 16, .table = true}));
  add(linear("few_values", 5, 320, 61, {.data = DType::int8, .offset = Offset::integer, .values = 16}));
  for (bool transposed : {false, true})
    add({transposed ? "matmul_transposed" : "matmul",
         {{'F', {2, 3, 320}}},
         [=](Builder& g, const Values& v) {
           Value w = transposed ? encoded_weight(g, v[0], {DType::int4, 32}, {70, 320})
                                : encoded_weight(g, v[0], {DType::int4, 32}, {320, 70}, 1, 0);
           return Values{g.add(mil::matmul{.x = v[0], .y = w, .transpose_y = transposed})};
         },
         tolerance});
  add({"convolution",
       {{'F', {2, 320, 1, 9}}},
       [](Builder& g, const Values& v) {
         Value w = encoded_weight(g, v[0], {DType::int4, 32}, {72, 320, 1, 1});
         Value y = g.add(mil::conv{.x = v[0], .weight = w, .bias = random_constant(g, v[0], {72}, 2)});
         return Values{g.add(mil::add{.x = y, .y = random_constant(g, v[0], {1, 72, 1, 9}, 5)})};
       },
       tolerance});
  add({"embedding_and_head",
       {{'n', {2, 5}}, {'F', {3, 96}}},
       [](Builder& g, const Values& v) {
         Value w = encoded_weight(g, v[1], {DType::uint4, 32, Offset::floating, false, true}, {301, 96});
         return Values{g.add(mil::gather{.x = w, .indices = v[0], .axis = 0, .validate_indices = false}),
                       g.add(mil::linear{.x = v[1], .weight = w})};
       },
       tolerance});
  for (std::int64_t vectors : {1, 6, 30})
    add({"halves_" + std::to_string(vectors), {{'F', {vectors, 301}}}, [=](Builder& g, const Values& v) {
           std::mt19937 random(4);
           std::vector<double> numbers(301 * 75);
           for (double& n : numbers) n = half_to_float(double_to_half(double(random() % 2000) / 10000 - 0.1));
           return Values{g.add(
               mil::linear{.x = v[0], .weight = g.constant(Tensor::from_numbers(v[0].dtype(), {75, 301}, numbers))})};
         }});
  add({"indices_into_halves", {{'F', {4, 320}}}, [](Builder& g, const Values& v) {
         Value indices = g.constant(random_integers(DType::uint4, {64, 320}, 3, 0, 15));
         std::vector<double> table;
         for (int i = 0; i < 64; ++i) table.push_back(half_to_float(double_to_half(0.01 * (i % 16) - 0.07 * (i / 16))));
         Value lut = g.constant(Tensor::from_numbers(v[0].dtype(), {4, 1, 16, 1}, table));
         Value w = g.add(mil::constexpr_lut_to_dense{.indices = indices, .lut = lut});
         return Values{g.add(mil::linear{.x = v[0], .weight = w})};
       }});
  add({"affine",
       {{'F', {4, 320}}},
       [](Builder& g, const Values& v) {
         std::vector<double> scales;
         for (int i = 0; i < 64; ++i) scales.push_back(half_to_float(double_to_half(0.001 * (i % 5 + 1))));
         mil::constexpr_affine_dequantize op{
             .quantized_data = g.constant(random_integers(DType::uint8, {64, 320}, 3, 0, 255)),
             .zero_point = g.constant(random_integers(DType::uint8, {64}, 5, 100, 150)),
             .scale = g.constant(Tensor::from_numbers(v[0].dtype(), {64}, scales)),
             .axis = 0};
         return Values{g.add(mil::linear{.x = v[0], .weight = g.add(op)})};
       },
       tolerance});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Encoded, KernelCase, testing::ValuesIn(cases()), name_of);

// What a machine without byte products computes, against what this one does.
TEST(EncodedProduct, TargetsAgree) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  constexpr std::size_t rows = 37, depth = 160, vectors = 6;
  for (unsigned bits : {4u, 8u})
    for (std::size_t block : {16, 32, 160}) {
      std::vector<std::uint8_t> codes(rows * depth);
      for (auto& c : codes) c = std::uint8_t(random() % (1u << bits));
      std::size_t blocks = depth / block;
      IntegerMatrix from{codes.data(), bits, false, rows, depth, depth, 1, 1, block, std::ptrdiff_t(blocks), 1, {}, {}};
      for (std::size_t i = 0; i < rows * blocks; ++i) {
        from.scale.push_back(0.01f + 0.001f * float(i % 7));
        from.offset.push_back(float(i % 11));
      }
      SharedMatrix m = encode_integers(from);
      ASSERT_TRUE(m);
      std::vector<float> x(vectors * depth), expected(vectors * rows), row(depth);
      for (float& v : x) v = normal(random);
      for (std::size_t r = 0; r < rows; ++r) {
        decode_row(*m, r, row.data());
        for (std::size_t k = 0; k < depth; ++k) {
          std::size_t index = r * blocks + k / block;
          EXPECT_NEAR(row[k], from.scale[index] * (float(codes[r * depth + k]) - from.offset[index]), 1e-5);
        }
        for (std::size_t v = 0; v < vectors; ++v)
          for (std::size_t k = 0; k < depth; ++k) expected[v * rows + r] += row[k] * x[v * depth + k];
      }
      for (const ProductTarget* target : {&portable_products(), vnni_products()}) {
        if (!target) continue;
        std::vector<float> y(vectors * rows);
        HugeBytes activations(activation_bytes(*m) * vectors);
        EncodedProduct p{m.get(), x.data(), depth, vectors, activations.data(), nullptr, y.data(), rows};
        target->quantise(p, 0, vectors);
        target->multiply(p, 0, m->tiles(), 0, vectors);
        for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], expected[i], 2e-3) << bits << " " << block;
      }
    }
}

// A vector with an infinity or a NaN gives NaN and nothing else does.
TEST(EncodedProduct, NanStaysWithItsVector) {
  std::vector<std::uint8_t> codes(16 * 64, 3);
  IntegerMatrix from{codes.data(), 4, false, 16, 64, 64, 1, 1, 32, 2, 1, std::vector<float>(32, 0.5f), {}};
  SharedMatrix m = encode_integers(from);
  for (const ProductTarget* target : {&portable_products(), vnni_products()}) {
    if (!target) continue;
    std::vector<float> x(2 * 64, 1.0f), y(2 * 16);
    x[5] = INFINITY;
    HugeBytes activations(activation_bytes(*m) * 2);
    EncodedProduct p{m.get(), x.data(), 64, 2, activations.data(), nullptr, y.data(), 16};
    target->quantise(p, 0, 2);
    target->multiply(p, 0, 1, 0, 2);
    for (std::size_t r = 0; r < 16; ++r) {
      EXPECT_FALSE(std::isfinite(y[r]));
      EXPECT_NEAR(y[16 + r], 96, 1e-2);
    }
  }
}

}  // namespace
}  // namespace pomona::cpu
