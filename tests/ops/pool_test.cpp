// Expected numbers are ONNX Runtime's (PyTorch's rules for ceil_mode), those of `same_lower` the converter's own
// tests'.
#include "ops/pool.h"

#include "one_op.h"

namespace pomona {
namespace {

constexpr double average_including[] = {0.4444444, -0.2222222, 0.2222222,  -1,        0.2222222, 0.2222222,
                                        0.8888889, 0,          -0.5555556, 0.1111111, 0.5555556, 1};
constexpr double average_excluding[] = {1,         -0.3333333, 0.3333333, -3,        0.3333333, 0.2222222,
                                        0.8888889, 0,          -1.25,     0.1666667, 0.8333333, 3};

Value image(OneOp& one) { return one.input(DType::fp32, {1, 1, 5, 6}, ramp(30, 4)); }

TEST(Pool, Maximum) {
  OneOp ceil, same, channels;
  EXPECT_EQ(ceil.numbers(mil::max_pool{
                .x = image(ceil), .kernel_sizes = {2, 3}, .strides = {2, 2}, .pad_type = "valid", .ceil_mode = true}),
            (Floats{4, 5, 5, 4, 5, 2, 3, 3, 4}));
  EXPECT_EQ(
      same.numbers(mil::max_pool{.x = image(same), .kernel_sizes = {3, 2}, .strides = {2, 2}, .pad_type = "same"}),
      (Floats{4, 1, 5, 4, 5, 5, 4, 5, 4}));
  EXPECT_EQ(channels.numbers(mil::max_pool{.x = channels.input(DType::fp16, {2, 2, 2}, {-1, -2, -3, -4, 5, 6, 8, 7}),
                                           .kernel_sizes = {2},
                                           .pad_type = "custom",
                                           .pad = {1, 0}}),
            (Floats{-1, -1, -3, -3, 5, 6, 8, 8}));
}

TEST(Pool, AverageCountsThePaddingUnlessTold) {
  for (bool exclude : {false, true}) {
    OneOp one;
    Floats found = one.numbers(mil::avg_pool{.exclude_padding_from_average = exclude,
                                             .x = image(one),
                                             .kernel_sizes = {3, 3},
                                             .strides = {2, 2},
                                             .pad_type = "custom",
                                             .pad = {1, 1, 1, 1},
                                             .ceil_mode = true});
    const auto& expected = exclude ? average_excluding : average_including;
    expect_near(found, Floats(std::begin(expected), std::end(expected)), 1e-6);
  }
  OneOp custom, row, square;
  expect_near(
      custom.numbers(mil::avg_pool{
          .x = image(custom), .kernel_sizes = {3, 2}, .strides = {2, 1}, .pad_type = "custom", .pad = {0, 0, 1, 0}}),
      {0, 0.1666667, -1.333333, -1, 1.166667, -0.3333333, 0.1666667, -1.333333, -1, 1.166667, -0.3333333, 0});
  EXPECT_EQ(row.numbers(mil::avg_pool{
                .x = row.input(DType::fp32, {1, 1, 2}, {1, 2}), .kernel_sizes = {2}, .pad_type = "same_lower"}),
            (Floats{0.5, 1.5}));
  EXPECT_EQ(square.numbers(mil::avg_pool{.x = square.input(DType::fp32, {1, 1, 2, 2}, {1, 2, 3, 4}),
                                         .kernel_sizes = {2, 2},
                                         .pad_type = "same_lower"}),
            (Floats{0.25, 0.75, 1, 2.5}));
}

TEST(Pool, RootOfTheSumOfSquares) {
  OneOp one, row;
  expect_near(
      one.numbers(mil::l2_pool{.x = image(one), .kernel_sizes = {2, 3}, .strides = {1, 2}, .pad_type = "valid"}),
      {7.615773, 8.3666, 7.416198, 7.81025, 7.483315, 7.483315, 7.81025, 7.416198});
  expect_near(row.numbers(mil::l2_pool{
                  .x = row.input(DType::fp32, {1, 1, 2}, {1, 2}), .kernel_sizes = {2}, .pad_type = "same_lower"}),
              {1, 2.236068});
}

// With padding, a window that would start in the padding after the end is dropped: 4 + 1 - 2 -> 3 positions, not 4.
TEST(Pool, CeilModeDropsAWindowOfPaddingOnly) {
  auto shape = [](Dim size, Ints kernel, Ints strides, Ints pad) {
    OneOp one;
    return one.shape(mil::max_pool{.x = one.symbolic(DType::fp32, {1, 1, size}),
                                   .kernel_sizes = std::move(kernel),
                                   .strides = std::move(strides),
                                   .pad_type = "custom",
                                   .pad = std::move(pad),
                                   .ceil_mode = true});
  };
  EXPECT_EQ(shape(4, {2}, {3}, {1, 1}), "[1, 1, 2]");
  EXPECT_EQ(shape(5, {2}, {3}, {1, 1}), "[1, 1, 2]");
  EXPECT_EQ(shape(6, {2}, {3}, {1, 1}), "[1, 1, 3]");
  EXPECT_EQ(shape(2, {3}, {2}, {}), "[1, 1, 1]");
  EXPECT_EQ(shape(Dim::named("w"), {3}, {2}, {}), "[1, 1, floor((w)/2)]");
  EXPECT_EQ(shape(4, {2}, {3}, {0, 1}), "ceil_mode needs equal padding before and after, not 0 and 1");
}

TEST(Pool, Errors) {
  OneOp rank, kernel, same, volume, type;
  EXPECT_EQ(
      rank.error(mil::max_pool{.x = rank.input(DType::fp32, {1, 2}, {1, 2}), .kernel_sizes = {}, .pad_type = "valid"}),
      "x has rank 2, but 3 to 5 is needed");
  EXPECT_EQ(kernel.error(mil::max_pool{.x = image(kernel), .kernel_sizes = {2}, .pad_type = "valid"}),
            "the kernel is [2], but x has 2 spatial axes");
  EXPECT_EQ(same.error(mil::avg_pool{.x = image(same), .kernel_sizes = {2, 2}, .pad_type = "same", .ceil_mode = true}),
            "ceil_mode does not go with pad_type 'same'");
  EXPECT_EQ(volume.error(mil::l2_pool{
                .x = volume.input(DType::fp32, {1, 1, 1, 1, 1}, {1}), .kernel_sizes = {1, 1, 1}, .pad_type = "valid"}),
            "x has rank 5, but at most 4 is allowed");
  EXPECT_EQ(type.error(mil::avg_pool{.x = image(type), .kernel_sizes = {2, 2}}),
            "pad_type is '', not valid, custom, same or same_lower");
}

}  // namespace
}  // namespace pomona
