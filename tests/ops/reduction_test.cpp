// Expected numbers are NumPy's, for a [2, 3, 4] tensor reduced over axes 0 and 2.
#include "ops/reduction.h"

#include <cmath>
#include <limits>

#include "one_op.h"

namespace pomona {
namespace {

template <class Op>
Floats reduced(DType dtype) {
  OneOp one;
  return one.numbers(Op{.x = one.input(dtype, {2, 3, 4}, ramp(24, 7, 0)), .axes = {-1, 0}});
}

TEST(Reduction, OverTwoAxes) {
  using enum DType;
  EXPECT_EQ(reduced<mil::reduce_l1_norm>(fp32), (Floats{24, 19, 24}));
  expect_near(reduced<mil::reduce_l2_norm>(fp32), {9.59166305, 8.18535277, 9.48683298});
  expect_near(reduced<mil::reduce_log_sum_exp>(fp32), {5.75130237, 4.73648325, 3.87800449});
  EXPECT_EQ(reduced<mil::reduce_max>(fp32), (Floats{5, 4, 3}));
  EXPECT_EQ(reduced<mil::reduce_mean>(fp32), (Floats{0.75, -0.125, -1}));
  EXPECT_EQ(reduced<mil::reduce_min>(fp32), (Floats{-5, -4, -5}));
  EXPECT_EQ(reduced<mil::reduce_prod>(fp32), (Floats{-2000, 0, -1800}));
  EXPECT_EQ(reduced<mil::reduce_sum>(fp32), (Floats{6, -1, -8}));
  EXPECT_EQ(reduced<mil::reduce_sum_square>(fp32), (Floats{92, 67, 90}));
  EXPECT_EQ(reduced<mil::reduce_mean>(int32), (Floats{0, 0, -1}));
  EXPECT_EQ(reduced<mil::reduce_l2_norm>(int32), (Floats{9, 8, 9}));
  EXPECT_EQ(reduced<mil::reduce_max>(int32), (Floats{5, 4, 3}));
  EXPECT_EQ(reduced<mil::reduce_sum>(int32), (Floats{6, -1, -8}));
  OneOp log_sum;
  expect_near(log_sum.numbers(mil::reduce_log_sum{.x = log_sum.input(fp32, {1, 3}, {24, 1, 5}), .axes = {1}}),
              {3.40119738});
}

TEST(Reduction, Int32Wraps) {
  Floats large{2147483647, -2147483648.0, 123456789};
  OneOp sum, product;
  EXPECT_EQ(sum.numbers(mil::reduce_sum{.x = sum.input(DType::int32, {3}, large)}), (Floats{123456788}));
  EXPECT_EQ(product.numbers(mil::reduce_prod{.x = product.input(DType::int32, {3}, large)}), (Floats{-2147483648.0}));
}

TEST(Reduction, LogSumExpIsStable) {
  OneOp large, empty;
  expect_near(large.numbers(mil::reduce_log_sum_exp{.x = large.input(DType::fp32, {2}, {1000, 1000})}), {1000.693147});
  double low = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(empty.numbers(mil::reduce_log_sum_exp{.x = empty.input(DType::fp32, {2}, {low, low})}), (Floats{low}));
}

TEST(Reduction, OverNoElements) {
  OneOp sum, product, most;
  EXPECT_EQ(sum.numbers(mil::reduce_sum{.x = sum.input(DType::fp32, {2, 0}, {}), .axes = {1}}), (Floats{0, 0}));
  EXPECT_EQ(product.numbers(mil::reduce_prod{.x = product.input(DType::int32, {0}, {})}), (Floats{1}));
  EXPECT_EQ(most.numbers(mil::reduce_max{.x = most.input(DType::int32, {0}, {})}), (Floats{-2147483648.0}));
}

TEST(Reduction, Shapes) {
  Dim n = Dim::named("n");
  auto shape = [&](Ints axes, bool keep_dims) {
    OneOp one;
    return one.shape(
        mil::reduce_sum{.x = one.symbolic(DType::fp32, {2, n, 4}), .axes = std::move(axes), .keep_dims = keep_dims});
  };
  EXPECT_EQ(shape({}, false), "[]");
  EXPECT_EQ(shape({}, true), "[1, 1, 1]");
  EXPECT_EQ(shape({2, 0}, false), "[n]");
  EXPECT_EQ(shape({-2}, true), "[2, 1, 4]");
  EXPECT_EQ(shape({3}, true), "axis 3 is outside a tensor of rank 3");
  EXPECT_EQ(shape({1, -2}, true), "axis -2 is named twice");
  EXPECT_EQ(shape({std::numeric_limits<std::int64_t>::min()}, true),
            "axis -9223372036854775808 is outside a tensor of rank 3");
  OneOp scalar;
  EXPECT_EQ(scalar.numbers(mil::reduce_sum{.x = scalar.input(DType::fp32, {}, {7})}), (Floats{7}));
}

TEST(Reduction, PositionOfTheFirstExtremum) {
  double nan = std::numeric_limits<double>::quiet_NaN();
  OneOp most, least, ties, nans;
  EXPECT_EQ(most.numbers(mil::reduce_argmax{.x = most.input(DType::fp32, {2, 3, 4}, ramp(24, 7, 0)), .axis = 1}),
            (Floats{1, 2, 1, 0, 2, 1, 0, 2}));
  EXPECT_EQ(least.numbers(mil::reduce_argmin{
                .x = least.input(DType::int32, {2, 3, 4}, ramp(24, 7, 0)), .axis = -2, .keep_dims = true}),
            (Floats{0, 1, 0, 2, 1, 0, 2, 1}));
  EXPECT_EQ(ties.numbers(mil::reduce_argmax{.x = ties.input(DType::fp32, {4}, {1, 3, 3, 0})}), (Floats{1}));
  EXPECT_EQ(nans.numbers(mil::reduce_argmax{.x = nans.input(DType::fp32, {4}, {1, nan, 3, nan})}), (Floats{1}));
}

TEST(Reduction, PositionErrors) {
  OneOp empty, wide, old(iOS16), unknown, scalar;
  EXPECT_EQ(empty.error(mil::reduce_argmax{.x = empty.input(DType::fp32, {2, 0}, {})}),
            "there is no element along axis -1");
  auto result = wide.run(mil::reduce_argmax{.x = wide.input(DType::fp32, {2}, {0, 1}), .output_dtype = "UINT16"});
  ASSERT_TRUE(result) << describe(result.error());
  EXPECT_EQ((*result)[0].dtype(), DType::uint16);
  EXPECT_EQ(old.error(mil::reduce_argmax{.x = old.input(DType::fp32, {2}, {0, 1}), .output_dtype = "uint16"}),
            "input 'output_dtype' needs iOS17, but the function is for iOS16");
  EXPECT_EQ(unknown.error(mil::reduce_argmin{.x = unknown.input(DType::fp32, {2}, {0, 1}), .output_dtype = "int8"}),
            "output_dtype is 'int8', not int32 or uint16");
  EXPECT_EQ(scalar.error(mil::reduce_argmin{.x = scalar.input(DType::fp32, {}, {0})}),
            "axis -1 is outside a tensor of rank 0");
}

TEST(Reduction, OfSizesIsFollowed) {
  Dim n = Dim::named("n");
  Program program;
  Function& main = program.add_function("main", iOS18);
  Value sizes = main.body.add_input("sizes", tensor_type(DType::int32, {3}));
  sizes.info().contents = std::vector<Dim>{n, 4, 3};
  Builder g(main);
  EXPECT_EQ(to_string(*g.add(mil::reduce_prod{.x = sizes, .axes = {0}}).contents()), "[12*n]");
  EXPECT_EQ(to_string(*g.add(mil::reduce_sum{.x = sizes, .keep_dims = true}).contents()), "[n + 7]");
}

}  // namespace
}  // namespace pomona
