// Expected numbers are ONNX Runtime's, on small whole numbers.
#include "ops/conv.h"

#include "one_op.h"

namespace pomona {
namespace {

TEST(Conv, GroupsStridesPaddingDilation) {
  OneOp one;
  EXPECT_EQ(one.numbers(mil::conv{.x = one.input(DType::fp32, {1, 4, 5, 4}, ramp(80)),
                                  .weight = one.constant(DType::fp32, {4, 2, 3, 2}, ramp(48, 3)),
                                  .bias = one.constant(DType::fp32, {4}, {1, -2, 3, 0.5}),
                                  .strides = {2, 1},
                                  .pad_type = "custom",
                                  .pad = {1, 0, 0, 1},
                                  .dilations = {1, 2},
                                  .groups = 2}),
            (Floats{-42, 69, -11, -64, -23, 15, -10,   -17,   -28,   -26,   102,  -45,
                    -42, 86, -4,  -59, 35,  0,  -21.5, -11.5, -26.5, -16.5, 32.5, -35.5}));
}

TEST(Conv, SamePadding) {
  auto same = [](std::string pad_type) {
    Floats x = ramp(80), weight = ramp(48, 3);
    OneOp one;
    return one.numbers(
        mil::conv{.x = one.input(DType::fp32, {1, 2, 5, 4}, Floats(x.begin(), x.begin() + 40)),
                  .weight = one.constant(DType::fp32, {2, 2, 3, 2}, Floats(weight.begin(), weight.begin() + 24)),
                  .strides = {2, 3},
                  .pad_type = std::move(pad_type),
                  .pad = {9}});  // counts for `custom` only
  };
  EXPECT_EQ(same("same"), (Floats{-25, -15, 22, -23, 35, -7, -19, 33, -8, 2, -22, -7}));
  EXPECT_EQ(same("same_lower"), (Floats{-1, 21, -1, 16, -10, 36, 48, -33, 64, 17, 35, 7}));
}

TEST(Conv, OneAndThreeSpatialAxes) {
  OneOp one, three;
  EXPECT_EQ(one.numbers(mil::conv{.x = one.input(DType::fp32, {2, 3, 6}, ramp(36)),
                                  .weight = one.input(DType::fp32, {3, 3, 2}, ramp(18, 5))}),
            (Floats{18,  -25, -2, 21, -22, 5,  1,   -25, 4,   0, -41, 38,  7,  -35, 44,
                    -19, 26,  -6, -5, 18,  -1, -38, 57,  -24, 5, 50,  -25, -1, 1,   -41}));
  EXPECT_EQ(three.numbers(mil::conv{.x = three.input(DType::fp32, {1, 1, 3, 3, 2}, ramp(18)),
                                    .weight = three.constant(DType::fp32, {1, 1, 2, 2, 2}, ramp(8, 4))}),
            (Floats{-32, -19, 51, -57}));
}

TEST(Conv, UnknownSizes) {
  Dim n = Dim::named("n"), h = Dim::named("h");
  auto shape = [&](std::string pad_type) {
    OneOp one;
    return one.shape(mil::conv{.x = one.symbolic(DType::fp32, {n, 3, h, 9}),
                               .weight = one.constant(DType::fp32, {8, 3, 3, 3}, ramp(216)),
                               .strides = {2, 2},
                               .pad_type = std::move(pad_type),
                               .pad = {1, 1, 0, 0}});
  };
  EXPECT_EQ(shape("valid"), "[n, 8, floor((h + 1)/2) - 1, 4]");
  EXPECT_EQ(shape("custom"), "[n, 8, floor((h + 1)/2), 4]");
  EXPECT_EQ(shape("same"), "[n, 8, floor((h + 1)/2), 5]");
}

TEST(Conv, Errors) {
  auto error = [](Target opset, Shape weight, Ints strides, std::string pad_type, Ints pad, Ints dilations,
                  int groups) {
    OneOp one(opset);
    return one.shape(mil::conv{.x = one.symbolic(DType::fp32, {1, 4, 5, 5}),
                               .weight = one.symbolic(DType::fp32, std::move(weight)),
                               .strides = std::move(strides),
                               .pad_type = std::move(pad_type),
                               .pad = std::move(pad),
                               .dilations = std::move(dilations),
                               .groups = groups});
  };
  EXPECT_EQ(error(iOS18, {2, 4, 3, 3}, {}, "valid", {}, {}, 1), "[1, 2, 3, 3]");
  EXPECT_EQ(error(iOS18, {2, 4, 3}, {}, "valid", {}, {}, 1), "weight has rank 3, but x has rank 4");
  EXPECT_EQ(error(iOS18, {2, 4, 0, 3}, {}, "valid", {}, {}, 1), "the kernel is [0, 3]");
  EXPECT_EQ(error(iOS18, {2, 4, 7, 3}, {}, "valid", {}, {}, 1),
            "a window that reaches over 7 elements does not fit into 5 with padding 0 and 0");
  EXPECT_EQ(error(iOS18, {2, 4, 3, 3}, {0, 1}, "valid", {}, {}, 1), "strides has the element 0");
  EXPECT_EQ(error(iOS18, {2, 4, 3, 3}, {1}, "valid", {}, {}, 1), "strides has 1 elements, not 2");
  EXPECT_EQ(error(iOS18, {2, 4, 3, 3}, {}, "custom", {-1, 0, 0, 0}, {}, 1), "pad has the element -1");
  EXPECT_EQ(error(iOS18, {2, 4, 3, 3}, {}, "custom", {1LL << 40, 0, 0, 0}, {}, 1), "pad has the element 1099511627776");
  EXPECT_EQ(error(iOS18, {2, 4, 3, 3}, {}, "valid", {}, {2, 2}, 1), "a weight that is not constant allows no dilation");
  EXPECT_EQ(error(iOS18, {2, 4, 3, 3}, {}, "full", {}, {}, 1),
            "pad_type is 'full', not valid, custom, same or same_lower");
  EXPECT_EQ(error(iOS15, {2, 4, 3, 3}, {}, "same_lower", {}, {}, 1),
            "pad_type 'same_lower' needs iOS16, but the function is for iOS15");
  EXPECT_EQ(error(iOS18, {2, 4, 3, 3}, {}, "valid", {}, {}, 0), "groups is 0");
  EXPECT_EQ(error(iOS18, {2, 4, 3, 3}, {}, "valid", {}, {}, 3), "x has 4 channels, which 3 groups cannot share");
  EXPECT_EQ(error(iOS18, {2, 4, 3, 3}, {}, "valid", {}, {}, 2),
            "x has 4 channels, but weight [2, 4, 3, 3] in 2 groups takes 8");
}

template <class... Fields>
Floats transposed(Fields... fields) {
  OneOp one;
  mil::conv_transpose op{.x = one.input(DType::fp32, {1, 4, 2, 3}, ramp(24)),
                         .weight = one.constant(DType::fp32, {4, 2, 3, 2}, ramp(48, 3)),
                         .bias = one.constant(DType::fp32, {4}, {1, -2, 3, 0.5}),
                         .groups = 2};
  (fields(op), ...);
  return one.numbers(op);
}

TEST(ConvTranspose, Valid) {
  EXPECT_EQ(transposed([](auto& op) { op.strides.value = {2, 2}; }),
            (Floats{1,    -17,  -6,    18,    -2,    -2,   9,     13,   9,    -22,  9,    -2,   -4,   -46,  -4,
                    38,   -4,   -10,   9,     18,    9,    -17,   9,    3,    -6,   -30,  1,    19,   -3,   -9,
                    0,    4,    14,    -17,   6,     -5,   -14,   12,   7,    -2,   -5,   6,    16,   7,    -19,
                    -21,  1,    -5,    -17,   14,    4,    0,     -8,   8,    23,   -1,   -26,  -8,   2,    -4,
                    11,   -20,  11,    0,     11,    20,   4,     28,   0,    0,    -4,   -28,  27,   -30,  19,
                    2,    -33,  23,    3,     21,    -1,   -7,    17,   20,   17,   -9,   9,    3,    -32,  15,
                    9.5,  0.5,  -2.5,  8.5,   -14.5, 16.5, -30.5, -6.5, -2.5, -2.5, 25.5, 1.5,  23.5, 10.5, -8.5,
                    18.5, -7.5, -28.5, -23.5, -5.5,  4.5,  -1.5,  10.5, 13.5, 12.5, 8.5,  -7.5, 8.5,  16.5, -35.5}));
}

TEST(ConvTranspose, CustomPaddingAndDilation) {
  EXPECT_EQ(transposed([](auto& op) {
              op.strides.value = {2, 1};
              op.dilations.value = {1, 2};
              op.pad_type.value = "custom";
              op.pad.value = {1, 0, 0, 1};
            }),
            (Floats{9,     9,    21,   -22,  -4,   -4,   -51, 38,   9,     9,   26,  -17,  -6,   1,    -34,  19,
                    -14,   7,    9,    -2,   16,   -19,  10,  -21,  -17,   4,   8,   0,    23,   -26,  3,    -8,
                    4,     0,    21,   0,    27,   19,   -66, 2,    3,     -1,  35,  -7,   17,   9,    -44,  3,
                    -30.5, -2.5, 18.5, -2.5, 23.5, -8.5, 2.5, 18.5, -23.5, 4.5, 4.5, -1.5, 12.5, -7.5, 24.5, 8.5}));
}

TEST(ConvTranspose, OutputShapeAddsAfterTheEnd) {
  EXPECT_EQ(transposed([](auto& op) {
              op.strides.value = {2, 2};
              op.pad_type.value = "custom";
              op.pad.value = {1, 1, 0, 0};
              op.output_shape.value = {1, 4, 4, 7};
            }),
            (Floats{9,     13,  9,     -22,  9,     -2,   1,    -4,   -46,  -4,   38,  -4,   -10,  1,    9,     18,
                    9,     -17, 9,     3,    1,     -6,   -30,  1,    19,   -3,   -9,  1,    -14,  12,   7,     -2,
                    -5,    6,   -2,    16,   7,     -19,  -21,  1,    -5,   -2,   -17, 14,   4,    0,    -8,    8,
                    -2,    23,  -1,    -26,  -8,    2,    -4,   -2,   4,    28,   0,   0,    -4,   -28,  3,     27,
                    -30,   19,  2,     -33,  23,    3,    3,    21,   -1,   -7,   17,  20,   3,    17,   -9,    9,
                    3,     -32, 15,    3,    -30.5, -6.5, -2.5, -2.5, 25.5, 1.5,  0.5, 23.5, 10.5, -8.5, 18.5,  -7.5,
                    -28.5, 0.5, -23.5, -5.5, 4.5,   -1.5, 10.5, 13.5, 0.5,  12.5, 8.5, -7.5, 8.5,  16.5, -35.5, 0.5}));
}

// The valid result is [5, 4]; same keeps [4, 3] of it and drops the last of each axis.
TEST(ConvTranspose, SameKeepsTheBeginning) {
  const Floats whole{1,     -24,  15,   -2,  9,    21,  -14,  -2,    -4,    -51,  33,  -10,  9,    26,   -9,   3,
                     -6,    -30,  15,   -9,  0,    20,  -9,   -5,    -14,   21,   -5,  6,    16,   -10,  -18,  -5,
                     -17,   20,   -6,   8,   23,   -25, -4,   -4,    11,    -12,  8,   20,   4,    25,   -7,   -28,
                     27,    -14,  -34,  23,  3,    17,  7,    20,    17,    -3,   -32, 15,   9.5,  -2.5, -6.5, 16.5,
                     -30.5, -9.5, 22.5, 1.5, 23.5, 1.5, 10.5, -28.5, -23.5, -1.5, 8.5, 13.5, 12.5, 0.5,  24.5, -35.5};
  EXPECT_EQ(transposed([](auto& op) { op.strides.value = {2, 1}; }), whole);
  Floats kept;
  for (std::size_t i = 0; i < whole.size(); ++i)
    if (i % 20 < 16 && i % 4 < 3) kept.push_back(whole[i]);
  EXPECT_EQ(transposed([](auto& op) {
              op.strides.value = {2, 1};
              op.pad_type.value = "same";
            }),
            kept);
}

TEST(ConvTranspose, ShapesAndErrors) {
  Dim h = Dim::named("h");
  auto shape = [&](std::string pad_type, Ints pad, Ints output_shape) {
    OneOp one;
    return one.shape(mil::conv_transpose{.x = one.symbolic(DType::fp32, {1, 4, h}),
                                         .weight = one.constant(DType::fp32, {4, 2, 3}, ramp(24)),
                                         .pad = std::move(pad),
                                         .output_shape = std::move(output_shape),
                                         .pad_type = std::move(pad_type),
                                         .strides = {2},
                                         .groups = 2});
  };
  EXPECT_EQ(shape("valid", {}, {}), "[1, 4, 2*h + 1]");
  EXPECT_EQ(shape("custom", {1, 1}, {}), "[1, 4, 2*h - 1]");
  EXPECT_EQ(shape("same", {}, {}), "[1, 4, 2*h]");
  EXPECT_EQ(shape("valid", {}, {1, 4, 9}), "[1, 4, 9]");
  EXPECT_EQ(shape("valid", {}, {1, 4, 0}), "output_shape has the element 0");
  EXPECT_EQ(shape("valid", {}, {9}), "output_shape has 1 elements, but x has rank 3");
  EXPECT_EQ(shape("valid", {}, {1, 5, 9}), "output_shape begins with 1, 5, but the result is [1, 4, ...]");
  EXPECT_EQ(shape("same_lower", {}, {}), "pad_type is 'same_lower', not valid, custom or same");
}

TEST(ConvQuantized, DecodesTheWeight) {
  OneOp one;
  EXPECT_EQ(one.numbers(mil::conv_quantized{.x = one.input(DType::fp32, {1, 1, 3}, {1, 2, 3}),
                                            .weight = one.constant(DType::uint8, {2, 1, 2}, {0, 1, 2, 3}),
                                            .quantization_type = "linear",
                                            .quant_scale = one.constant(DType::fp32, {2}, {2, 10}),
                                            .quant_bias = one.constant(DType::fp32, {1}, {-1})}),
            (Floats{1, 1, 77, 125}));
}

}  // namespace
}  // namespace pomona
