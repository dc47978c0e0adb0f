// Decoding of compressed weights. Expected values are those of coremltools' own decompression.
#include <cmath>

#include "graph.h"
#include "ops/constexpr.h"
#include "ops/quantization.h"

namespace pomona {
namespace {

using enum DType;

TEST(Constexpr, BlockwiseShiftScaleRoundsInTheScalesDtype) {
  Graph t;
  Value data = t.weight(int8, {2, 6}, {2, 4, -8, 4, -1, 0, 2, -4, 7, -8, -4, -2});
  Value scale = t.weight(fp16, {2, 2}, {0.1, 0.37, 1.3, 0.013}), offset = t.weight(int8, {2, 2}, {1, -2, 3, 0});
  Tensor y =
      t.run(t.g.add_all(mil::constexpr_blockwise_shift_scale{.data = data, .scale = scale, .offset = offset}))[0];
  expect_numbers(y, {0.0999755859375, 0.2998046875, -0.89990234375, 2.220703125, 0.3701171875, 0.740234375,
                     -1.2998046875, -9.1015625, 5.19921875, -0.10400390625, -0.052001953125, -0.0260009765625});
}
TEST(Constexpr, FractionalOffsetIsRoundedBeforeScaling) {
  Graph t;
  Value data = t.weight(uint8, {1, 2}, {200, 3}), scale = t.weight(fp16, {1, 1}, {0.3});
  Value offset = t.weight(fp16, {1, 1}, {7.37});
  Tensor y =
      t.run(t.g.add_all(mil::constexpr_blockwise_shift_scale{.data = data, .scale = scale, .offset = offset}))[0];
  expect_numbers(y, {57.8125, -1.3115234375});
}
TEST(Constexpr, BlockwiseRefusesBlocksThatDoNotFit) {
  Graph t;
  Value data = t.weight(int4, {2, 6}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}),
        scale = t.weight(fp16, {2, 4}, {1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_EQ(t.error(t.g.add_all(mil::constexpr_blockwise_shift_scale{.data = data, .scale = scale})),
            "dimension 1 of the data is 6, which a scale of size 4 does not divide");
}
TEST(Constexpr, BlockwiseWithoutElements) {
  Graph t;
  Value data = t.weight(int8, {0, 4}, {}), scale = t.weight(fp32, {0, 1}, {});
  EXPECT_EQ(t.run(t.g.add_all(mil::constexpr_blockwise_shift_scale{.data = data, .scale = scale}))[0].count(), 0u);
}
TEST(Constexpr, BlockwiseOfManyRowsGivesEachItsScale) {
  Tensor data(uint4, {300, 64}), scale(fp32, {300, 2});
  for (std::size_t i = 0; i < data.count(); ++i) data.set_number(i, double(i % 16));
  for (std::size_t i = 0; i < scale.count(); ++i) scale.set_number(i, double(i));
  Graph t;
  Tensor y = t.run(
      t.g.add_all(mil::constexpr_blockwise_shift_scale{.data = t.g.constant(data), .scale = t.g.constant(scale)}))[0];
  for (std::size_t i = 0; i < y.count(); ++i) ASSERT_EQ(y.number(i), double(i % 16) * double(i / 32)) << i;
}

TEST(Constexpr, TablesPerGroupAndVectorsAlongAnyAxis) {
  std::initializer_list<double> indices = {2, 1, 0, 0, 0, 0, 0, 3, 0, 2, 3, 0};
  std::initializer_list<double> table = {0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5};
  auto decode = [&](int axis) {
    Graph t;
    Value i = t.weight(uint2, {4, 3}, indices), lut = t.weight(fp16, {2, 1, 4, 2}, table);
    return t.run(t.g.add_all(mil::constexpr_lut_to_dense{.indices = i, .lut = lut, .vector_axis = axis}))[0];
  };
  expect_numbers(decode(-2),
                 {2, 1, 0, 2.5, 1.5, 0.5, 0, 0, 0, 0.5, 0.5, 0.5, 4, 7, 4, 4.5, 7.5, 4.5, 6, 7, 4, 6.5, 7.5, 4.5});
  EXPECT_EQ(decode(0).sizes(), (Sizes{8, 3}));
  expect_numbers(decode(1),
                 {2, 2.5, 1, 1.5, 0, 0.5, 0, 0.5, 0, 0.5, 0, 0.5, 4, 4.5, 7, 7.5, 4, 4.5, 6, 6.5, 7, 7.5, 4, 4.5});
}
TEST(Constexpr, VectorsOfThreeInRankThree) {
  auto decode = [](int axis) {
    Graph t;
    Value i = t.weight(uint1, {2, 2, 3}, {0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0});
    Value lut = t.weight(int8, {1, 2, 1, 2, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
    return t.run(t.g.add_all(mil::constexpr_lut_to_dense{.indices = i, .lut = lut, .vector_axis = axis}))[0];
  };
  expect_numbers(decode(0), {0, 0, 0, 9, 6, 9, 1, 1, 1, 10, 7,  10, 2, 2, 2, 11, 8,  11,
                             3, 3, 0, 6, 9, 6, 4, 4, 1, 7,  10, 7,  5, 5, 2, 8,  11, 8});
  expect_numbers(decode(1), {0, 0, 0, 1, 1, 1, 2, 2, 2, 9, 6, 9, 10, 7,  10, 11, 8,  11,
                             3, 3, 0, 4, 4, 1, 5, 5, 2, 6, 9, 6, 7,  10, 7,  8,  11, 8});
  expect_numbers(decode(2), {0, 1, 2, 0, 1, 2, 0, 1, 2, 9, 10, 11, 6, 7,  8,  9, 10, 11,
                             3, 4, 5, 3, 4, 5, 0, 1, 2, 6, 7,  8,  9, 10, 11, 6, 7,  8});
}
TEST(Constexpr, TableMustHaveAnEntryPerIndex) {
  Graph t;
  Value i = t.weight(uint3, {2}, {0, 1}), lut = t.weight(fp16, {1, 4, 1}, {0, 1, 2, 3});
  EXPECT_EQ(t.error(t.g.add_all(mil::constexpr_lut_to_dense{.indices = i, .lut = lut})),
            "lut has 4 entries per table, but uint3 indices need 8");
  Graph v;
  i = v.weight(uint1, {2}, {0, 1}), lut = v.weight(fp16, {1, 2, 2}, {0, 1, 2, 3});
  EXPECT_EQ(v.error(v.g.add_all(mil::constexpr_lut_to_dense{.indices = i, .lut = lut})),
            "vector_axis is missing, but lut has vectors of 2 elements");
}
TEST(Constexpr, PackedTableIndices) {
  Graph t(iOS16);
  Value two = t.weight(uint8, {2}, {0b11001001, 0b00000010}), lut = t.weight(int8, {4}, {10, 20, 30, 40});
  Values y = t.g.add_all(mil::constexpr_lut_to_dense_iOS16{.indices = two, .lut = lut, .shape = Ints{5}});
  Tensor table(fp32, {64});
  for (std::size_t i = 0; i < 64; ++i) table.set_number(i, double(i) + 0.5);
  Value six = t.weight(uint8, {4}, {0x81, 0xF0, 0x87, 0x05});
  y.push_back(
      t.g.add(mil::constexpr_lut_to_dense_iOS16{.indices = six, .lut = t.g.constant(table), .shape = Ints{5, 1}}));
  Tensors out = t.run(y);
  expect_numbers(out[0], {20, 30, 10, 40, 30});
  expect_numbers(out[1], {1.5, 2.5, 63.5, 33.5, 5.5});
}
TEST(Constexpr, PackedDataMustHaveTheShapesBytes) {
  Graph t(iOS16);
  Value packed = t.weight(uint8, {2}, {0, 0}), lut = t.weight(int8, {4}, {1, 2, 3, 4});
  EXPECT_EQ(t.error(t.g.add_all(mil::constexpr_lut_to_dense_iOS16{.indices = packed, .lut = lut, .shape = Ints{9}})),
            "indices has 2 bytes, but shape [9] needs 3");
  Graph huge(iOS16);
  packed = huge.weight(uint8, {2}, {0, 0}), lut = huge.weight(int8, {4}, {1, 2, 3, 4});
  Ints shape{1LL << 32, 1LL << 32, 1LL << 32};
  EXPECT_NE(
      huge.error(huge.g.add_all(mil::constexpr_lut_to_dense_iOS16{.indices = packed, .lut = lut, .shape = shape})), "");
}
TEST(Constexpr, PackedMask) {
  Graph t(iOS16);
  Value values = t.weight(fp32, {3}, {5, 6, 7}), mask = t.weight(uint8, {1}, {0b01010001});
  Values y =
      t.g.add_all(mil::constexpr_sparse_to_dense_iOS16{.nonzero_data = values, .mask = mask, .shape = Ints{2, 4}});
  expect_numbers(t.run(y)[0], {5, 0, 0, 0, 6, 0, 7, 0});
}
TEST(Constexpr, MaskAndValuesMustAgree) {
  Graph t;
  Value values = t.weight(fp16, {1}, {5}), mask = t.weight(uint1, {3}, {1, 0, 1});
  EXPECT_EQ(t.error(t.g.add_all(mil::constexpr_sparse_to_dense{.nonzero_data = values, .mask = mask})),
            "the mask has 2 ones, but there are 1 non-zero values");
}
TEST(Constexpr, SparseOfFourBitValues) {
  Graph t;
  Value values = t.weight(int4, {2}, {-8, 7}), mask = t.weight(uint1, {3}, {1, 0, 1});
  expect_numbers(t.run(t.g.add_all(mil::constexpr_sparse_to_dense{.nonzero_data = values, .mask = mask}))[0],
                 {-8, 0, 7});
}

std::initializer_list<double> sparse_mask = {1, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 1};

TEST(Constexpr, SparseTables) {
  Graph t;
  Value mask = t.weight(uint1, {4, 3}, sparse_mask), indices = t.weight(uint2, {7}, {2, 1, 0, 0, 0, 0, 0});
  Value lut = t.weight(fp16, {2, 1, 4, 2}, {0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5});
  Tensors y = t.run(t.g.add_all(mil::constexpr_lut_to_sparse{
      .indices_mask = mask, .indices_nonzero_data = indices, .lut = lut, .vector_axis = 0}));
  expect_numbers(y[0], {1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 0, 0, 1});
  expect_numbers(y[1], {2, 1, 2.5, 1.5, 0, 0, 0.5, 0.5, 4, 4, 4.5, 4.5, 4, 4.5});
}
TEST(Constexpr, SparseShiftScaleCountsBlocksInTheDenseTensor) {
  Graph t;
  Value mask = t.weight(uint1, {4, 3}, sparse_mask), data = t.weight(int8, {7}, {10, 11, 3, 4, 5, 6, 7});
  Value scale = t.weight(fp32, {1, 3}, {0.5, 0.25, 2}), offset = t.weight(int8, {1, 3}, {1, 2, 3});
  Values sparse = t.g.add_all(mil::constexpr_sparse_blockwise_shift_scale{
      .data_mask = mask, .nonzero_data = data, .scale = scale, .offset = offset});
  Values dense = t.g.add_all(mil::constexpr_sparse_to_dense{.nonzero_data = sparse[1], .mask = sparse[0]});
  Tensors y = t.run({sparse[1], dense[0]});
  expect_numbers(y[0], {4.5, 16, 0.25, 2, 2, 1, 8});
  expect_numbers(y[1], {4.5, 0, 16, 0, 0.25, 2, 2, 1, 0, 0, 0, 8});
}

TEST(Constexpr, AffineDequantize) {
  Graph t(iOS16);
  Value data = t.weight(uint8, {2, 3}, {0, 5, 255, 7, 128, 3});
  Value zero = t.weight(uint8, {2}, {3, 128}), scale = t.weight(fp16, {2}, {0.1, 0.7});
  Value y =
      t.g.add(mil::constexpr_affine_dequantize{.quantized_data = data, .zero_point = zero, .scale = scale, .axis = -2});
  Value z = t.g.add(mil::constexpr_affine_dequantize{
      .quantized_data = data, .zero_point = t.weight(fp32, {}, {7.37}), .scale = t.weight(fp16, {}, {0.3}), .axis = 0});
  Tensors out = t.run({y, z});
  expect_numbers(out[0], {-0.2998046875, 0.199951171875, 25.1875, -84.75, 0, -87.5});
  expect_numbers(out[1], {-2.2109375, -0.7109375, 74.3125, -0.11102294921875, 36.1875, -1.3115234375});
}
TEST(Constexpr, CastHasItsOwnClassSinceItsOperandsBecameInputs) {
  EXPECT_EQ(def<mil::constexpr_cast>().versions(), (std::vector<Target>{iOS16, iOS18}));
  Graph t;
  Value y = t.g.add(mil::constexpr_cast{.source_val = t.weight(fp16, {2}, {0.1, -INFINITY}), .output_dtype = "fp32"});
  Tensor out = t.run({y})[0];
  EXPECT_EQ(out.number(0), 0.0999755859375);
  EXPECT_EQ(out.number(1), -INFINITY);
}

TEST(Quantization, RoundsHalvesToEvenAndClips) {
  Graph t(iOS17);
  Value x = t.input(fp32, {1, 4}, {-3.5, 2.5, 0.75, 900});
  Value zero = t.weight(uint8, {}, {3}), scale = t.weight(fp32, {}, {0.5});
  expect_numbers(
      t.run(t.g.add_all(mil::quantize{.input = x, .zero_point = zero, .scale = scale, .output_dtype = "uint8"}))[0],
      {0, 8, 5, 255});
}
TEST(Quantization, PerAxisAndBack) {
  Graph t(iOS17);
  Value x = t.input(fp16, {1, 1, 2, 2}, {1, 2, 3, 4});
  Value zero = t.weight(int8, {2}, {2, 4}), scale = t.weight(fp16, {2}, {1, 2});
  Value q = t.g.add(mil::quantize{.input = x, .zero_point = zero, .scale = scale, .axis = -1, .output_dtype = "int8"});
  Value back = t.g.add(mil::dequantize{.input = q, .zero_point = zero, .scale = scale, .axis = 3});
  Tensors y = t.run({q, back});
  expect_numbers(y[0], {3, 5, 5, 6});
  expect_numbers(y[1], {1, 2, 3, 4});
}
TEST(Quantization, ScalarScaleTakesNoAxis) {
  Graph t(iOS17);
  Value x = t.input(int8, {2}, {1, 2});
  EXPECT_EQ(t.error(t.g.add_all(mil::dequantize{.input = x, .scale = t.weight(fp32, {}, {1}), .axis = 0})),
            "axis is given, but scale is a scalar");
}

}  // namespace
}  // namespace pomona
