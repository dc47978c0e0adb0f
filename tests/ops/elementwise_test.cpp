// Expected numbers are NumPy's.
#include <cmath>
#include <limits>

#include "one_op.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"

namespace pomona {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
const Floats large{2147483647, -2147483648.0, 123456789};

template <class Op>
Floats binary(DType dtype, const Floats& x, const Floats& y) {
  OneOp one;
  Value a = one.input(dtype, {std::int64_t(x.size())}, x), b = one.input(dtype, {std::int64_t(y.size())}, y);
  return one.numbers(Op{.x = a, .y = b});
}
template <class Op>
Floats unary(DType dtype, const Floats& x) {
  OneOp one;
  Value a = one.input(dtype, {std::int64_t(x.size())}, x);
  return one.numbers(Op{.x = a});
}

TEST(Elementwise, FunctionsOfOneTensor) {
  EXPECT_EQ(unary<mil::round>(DType::fp32, {-2.5, -0.5, 0.5, 1.5, 2.5, 0.49}), (Floats{-2, 0, 0, 2, 2, 0}));
  EXPECT_EQ(unary<mil::ceil>(DType::fp32, {-1.5, 1.2}), (Floats{-1, 2}));
  EXPECT_EQ(unary<mil::floor>(DType::fp32, {-1.5, 1.8}), (Floats{-2, 1}));
  EXPECT_EQ(unary<mil::sqrt>(DType::fp16, {0, 4, 9}), (Floats{0, 2, 3}));
  EXPECT_EQ(unary<mil::sign>(DType::fp32, {-3, 0, 8}), (Floats{-1, 0, 1}));
  EXPECT_TRUE(std::isnan(unary<mil::sign>(DType::fp32, {nan})[0]));
  expect_near(unary<mil::erf>(DType::fp32, {-1, 0, 0.5}), {-0.84270079, 0, 0.52049988});
  expect_near(unary<mil::atanh>(DType::fp32, {0.5}), {0.54930614});
  expect_near(unary<mil::acos>(DType::fp32, {-1, 0.5}), {3.14159265, 1.04719755});
  expect_near(unary<mil::asin>(DType::fp32, {1}), {1.57079633});
  expect_near(unary<mil::atan>(DType::fp32, {1}), {0.78539816});
  expect_near(unary<mil::cosh>(DType::fp32, {1}), {1.54308063});
  expect_near(unary<mil::sinh>(DType::fp32, {1}), {1.17520119});
  expect_near(unary<mil::tan>(DType::fp32, {1}), {1.55740772});
  expect_near(unary<mil::tanh>(DType::fp32, {1}), {0.76159416});
  expect_near(unary<mil::sin>(DType::fp32, {1}), {0.84147098});
  expect_near(unary<mil::cos>(DType::fp32, {1}), {0.54030231});
  expect_near(unary<mil::exp>(DType::fp32, {1, -200}), {2.71828183, 0});
  EXPECT_EQ(unary<mil::logical_not>(DType::boolean, {1, 0}), (Floats{0, 1}));
}

TEST(Elementwise, Int32Wraps) {
  EXPECT_EQ(unary<mil::square>(DType::int32, large), (Floats{1, 0, -1757895751}));
  EXPECT_EQ(unary<mil::abs>(DType::int32, large), (Floats{2147483647, -2147483648.0, 123456789}));
  EXPECT_EQ(unary<mil::exp2>(DType::int32, {0, 10, -1, 30, 31, 32}),
            (Floats{1, 1024, 0, 1073741824, -2147483648.0, 0}));
  EXPECT_EQ(binary<mil::mul>(DType::int32, large, large), (Floats{1, 0, -1757895751}));
  EXPECT_EQ(binary<mil::add>(DType::int32, large, large), (Floats{-2, 0, 246913578}));
  EXPECT_EQ(binary<mil::sub>(DType::int32, large, {-1, 1, 0}), (Floats{-2147483648.0, 2147483647, 123456789}));
  EXPECT_EQ(binary<mil::pow>(DType::int32, large, {3, 3, 3}), (Floats{2147483647, 0, 75731757}));
  EXPECT_EQ(binary<mil::pow>(DType::int32, {-1, 2, 1, 0}, {-3, -1, -5, 0}), (Floats{-1, 0, 1, 1}));
}

TEST(Elementwise, DivisionRoundsDownAndTheRemainderFollowsTheDivisor) {
  EXPECT_EQ(binary<mil::floor_div>(DType::int32, {7, -7, 7, -7, 5, 0}, {3, 3, -3, -3, 0, 4}),
            (Floats{2, -3, -3, 2, 0, 0}));
  EXPECT_EQ(binary<mil::mod>(DType::int32, {7, -7, 7, -7, 5, 0}, {3, 3, -3, -3, 0, 4}), (Floats{1, 2, -2, -1, 0, 0}));
  EXPECT_EQ(binary<mil::floor_div>(DType::fp32, {7.5, -7.5, 7.5, -7.5, 6, -6, 1}, {2, 2, -2, -2, 3, 3, infinity}),
            (Floats{3, -4, -4, 3, 2, -2, 0}));
  EXPECT_EQ(binary<mil::mod>(DType::fp32, {7.5, -7.5, 7.5, -7.5, 6, -6, 1}, {2, 2, -2, -2, 3, 3, infinity}),
            (Floats{1.5, 0.5, -0.5, -1.5, 0, 0, 1}));
  EXPECT_EQ(binary<mil::floor_div>(DType::int32, {-2147483648.0}, {-1}), (Floats{-2147483648.0}));
  EXPECT_EQ(binary<mil::real_div>(DType::int32, {7, -7, 1}, {2, 2, 0}), (Floats{3, -3, 0}));
  EXPECT_EQ(binary<mil::real_div>(DType::fp32, {7, 1}, {2, 0}), (Floats{3.5, infinity}));
}

TEST(Elementwise, MaximumAndMinimumKeepNan) {
  Floats most = binary<mil::maximum>(DType::fp32, {1, nan, 3}, {2, 1, nan});
  Floats least = binary<mil::minimum>(DType::fp32, {1, nan, 3}, {2, 1, nan});
  EXPECT_EQ(most[0], 2);
  EXPECT_EQ(least[0], 1);
  for (int i : {1, 2}) EXPECT_TRUE(std::isnan(most[i]) && std::isnan(least[i]));
}

TEST(Elementwise, ComparisonsAndLogicGiveBool) {
  Floats x{1, 2, nan}, y{2, 2, nan};
  EXPECT_EQ(binary<mil::equal>(DType::fp32, x, y), (Floats{0, 1, 0}));
  EXPECT_EQ(binary<mil::not_equal>(DType::fp32, x, y), (Floats{1, 0, 1}));
  EXPECT_EQ(binary<mil::less>(DType::fp32, x, y), (Floats{1, 0, 0}));
  EXPECT_EQ(binary<mil::less_equal>(DType::fp32, x, y), (Floats{1, 1, 0}));
  EXPECT_EQ(binary<mil::greater>(DType::int32, {2, 1}, {1, 1}), (Floats{1, 0}));
  EXPECT_EQ(binary<mil::greater_equal>(DType::int32, {2, 0}, {1, 1}), (Floats{1, 0}));
  Floats p{0, 0, 1, 1}, q{0, 1, 0, 1};
  EXPECT_EQ(binary<mil::logical_and>(DType::boolean, p, q), (Floats{0, 0, 0, 1}));
  EXPECT_EQ(binary<mil::logical_or>(DType::boolean, p, q), (Floats{0, 1, 1, 1}));
  EXPECT_EQ(binary<mil::logical_xor>(DType::boolean, p, q), (Floats{0, 1, 1, 0}));
  OneOp one;
  auto result = one.run(mil::less{.x = one.input(DType::fp16, {1}, {1}), .y = one.input(DType::fp16, {1}, {2})});
  ASSERT_TRUE(result);
  EXPECT_EQ((*result)[0].dtype(), DType::boolean);
}

TEST(Elementwise, SelectBroadcastsAllThree) {
  OneOp one;
  auto result = one.run(mil::select{.cond = one.input(DType::boolean, {2, 1}, {1, 0}),
                                    .a = one.input(DType::int32, {3}, {1, 2, 3}),
                                    .b = one.input(DType::int32, {}, {-1})});
  ASSERT_TRUE(result) << describe(result.error());
  EXPECT_EQ((*result)[0].type(), tensor_type(DType::int32, {2, 3}));
  EXPECT_EQ((*result)[0].numbers(), (Floats{1, 2, 3, -1, -1, -1}));
}

TEST(Elementwise, ParametersAreRoundedToTheDtypeOfX) {
  OneOp fp32, fp16;
  expect_near(fp32.numbers(mil::log{.x = fp32.input(DType::fp32, {2}, {0, 1})}), {-103.278931, 0});
  EXPECT_EQ(fp16.numbers(mil::log{.x = fp16.input(DType::fp16, {1}, {0})}), (Floats{-infinity}));
  OneOp rsqrt, inverse;
  expect_near(rsqrt.numbers(mil::rsqrt{.x = rsqrt.input(DType::fp32, {2}, {0, 4})}), {1e6, 0.5});
  expect_near(inverse.numbers(mil::inverse{.x = inverse.input(DType::fp32, {2}, {0, 4}), .epsilon = 1e-2}),
              {100, 0.24937656});
}

TEST(Elementwise, ClipNeedsOrderedBoundsFromIos17On) {
  auto clip = [](OneOp& one, double alpha, double beta) {
    return mil::clip{.x = one.input(DType::fp32, {3}, {-1, 0.5, 9}), .alpha = alpha, .beta = beta};
  };
  OneOp plain, old(iOS16), recent(iOS17);
  EXPECT_EQ(plain.numbers(clip(plain, 0, 1)), (Floats{0, 0.5, 1}));
  EXPECT_EQ(old.numbers(clip(old, 2, 1)), (Floats{1, 1, 1}));
  EXPECT_EQ(recent.error(clip(recent, 2, 1)), "alpha is 2, but must be below beta, which is 1");
  OneOp ints;
  EXPECT_EQ(ints.numbers(mil::threshold{.x = ints.input(DType::int32, {2}, {-5, 5}), .alpha = -2}), (Floats{-2, 5}));
}

TEST(Elementwise, CastCutsOffAndWraps) {
  auto cast = [](DType from, const Floats& x, std::string to) {
    OneOp one;
    return one.numbers(mil::cast{.x = one.input(from, {std::int64_t(x.size())}, x), .dtype = std::move(to)});
  };
  EXPECT_EQ(cast(DType::fp32, {-1.7, 1.7, 3e9}, "int32"), (Floats{-1, 1, -1294967296}));
  EXPECT_EQ(cast(DType::fp32, {-0.5, 0, nan}, "bool"), (Floats{1, 0, 1}));
  EXPECT_EQ(cast(DType::int32, {300, -1}, "uint8"), (Floats{44, 255}));
  EXPECT_EQ(cast(DType::boolean, {1, 0}, "fp16"), (Floats{1, 0}));
  EXPECT_EQ(cast(DType::fp32, {1.0 / 3}, "fp16"), (Floats{0.333251953125}));
  OneOp old(iOS16), wrong;
  EXPECT_EQ(old.error(mil::cast{.x = old.input(DType::fp32, {}, {1}), .dtype = "uint8"}),
            "a cast to uint8 needs iOS17, but the function is for iOS16");
  EXPECT_EQ(wrong.error(mil::cast{.x = wrong.input(DType::fp32, {}, {1}), .dtype = "fp64"}), "cannot cast to 'fp64'");
}

TEST(Elementwise, UnknownSizesBroadcast) {
  Dim n = Dim::named("n");
  OneOp one, two, three;
  EXPECT_EQ(one.shape(mil::add{.x = one.symbolic(DType::fp32, {n, 1}), .y = one.symbolic(DType::fp32, {3})}), "[n, 3]");
  EXPECT_EQ(two.shape(mil::mul{.x = two.symbolic(DType::fp32, {}), .y = two.symbolic(DType::fp32, {0, n})}), "[0, n]");
  EXPECT_EQ(three.shape(mil::sub{.x = three.symbolic(DType::fp32, {2}), .y = three.symbolic(DType::fp32, {3})}),
            "cannot broadcast [2] with [3]");
}

TEST(Elementwise, ArithmeticOnSizesIsFollowed) {
  Dim n = Dim::named("n");
  Program program;
  Function& main = program.add_function("main", iOS18);
  Value sizes = main.body.add_input("sizes", tensor_type(DType::int32, {2}));
  sizes.info().contents = std::vector<Dim>{n, 4 * n};
  Builder g(main);
  auto known = [](Value value) { return value.contents() ? to_string(*value.contents()) : "unknown"; };
  Value two = g.scalar(DType::int32, 2), zero = g.scalar(DType::int32, 0), pair = g.ints({3, 5});
  EXPECT_EQ(known(g.add(mil::add{.x = sizes, .y = pair})), "[n + 3, 4*n + 5]");
  EXPECT_EQ(known(g.add(mil::sub{.x = two, .y = sizes})), "[-n + 2, -4*n + 2]");
  EXPECT_EQ(known(g.add(mil::mul{.x = sizes, .y = two})), "[2*n, 8*n]");
  EXPECT_EQ(known(g.add(mil::floor_div{.x = sizes, .y = two})), "[floor((n)/2), 2*n]");
  EXPECT_EQ(known(g.add(mil::floor_div{.x = sizes, .y = zero})), "unknown");
  EXPECT_EQ(known(g.add(mil::mod{.x = pair, .y = two})), "[1, 1]");
  EXPECT_EQ(known(g.add(mil::real_div{.x = sizes, .y = two})), "unknown");
  EXPECT_EQ(known(g.add(mil::maximum{.x = sizes, .y = sizes})), "[n, 4*n]");
  EXPECT_EQ(known(g.add(mil::minimum{.x = pair, .y = two})), "[2, 2]");
  EXPECT_EQ(known(g.add(mil::cast{.x = sizes, .dtype = "int32"})), "[n, 4*n]");
  EXPECT_EQ(known(g.add(mil::cast{.x = sizes, .dtype = "int16"})), "unknown");
  Value first = g.constant(Tensor::from_numbers(DType::boolean, {2}, {1, 0}));
  EXPECT_EQ(known(g.add(mil::select{.cond = first, .a = sizes, .b = two})), "[n, 2]");
  EXPECT_TRUE(g.status());
}

}  // namespace
}  // namespace pomona
