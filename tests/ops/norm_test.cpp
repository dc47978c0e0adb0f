// Expected numbers are ONNX Runtime's and NumPy's, those of local_response_norm along axis -3 the converter's own
// tests'.
#include "ops/norm.h"

#include "one_op.h"

namespace pomona {
namespace {

TEST(Norm, BatchNorm) {
  OneOp one;
  expect_near(one.numbers(mil::batch_norm{.x = one.input(DType::fp32, {2, 3, 4}, ramp(24, 7, 0)),
                                          .mean = one.constant(DType::fp32, {3}, {1, 0, -1}),
                                          .variance = one.constant(DType::fp32, {3}, {4, 1, 0.25}),
                                          .gamma = one.constant(DType::fp32, {3}, {1, 2, 0.5}),
                                          .beta = one.constant(DType::fp32, {3}, {0, 1, 2})}),
              {-2.99999625,  0.499999375, -1.49999813, 1.9999975, 2.99999,     -4.99997,    8.99996,   1,
               -0.999940002, 5.99992,     2,           -1.99992,  0.499999375, -1.49999813, 1.9999975, 0,
               -4.99997,     8.99996,     1,           -6.99996,  5.99992,     2,           -1.99992,  4.99994});
}

TEST(Norm, InstanceNorm) {
  OneOp one;
  expect_near(one.numbers(mil::instance_norm{.x = one.input(DType::fp32, {2, 3, 4}, ramp(24)),
                                             .gamma = one.constant(DType::fp32, {3}, {1, 2, 0.5}),
                                             .beta = one.constant(DType::fp32, {3}, {0, 1, -1}),
                                             .epsilon = 1e-3}),
              {-0.7228601, 1.526038,  0.2409534, -1.044131, 3.088263,  0.5180933,  -2.052076, 2.44572,
               -0.900008,  -1.699944, -0.300056, -1.099992, 1.044131,  -0.2409534, -1.526038, 0.7228601,
               1.399968,   -1.799776, 3.799776,  0.600032,  -1.656509, -0.7373962, -1.262604, -0.3434905});
}

TEST(Norm, LayerNorm) {
  OneOp last, two;
  expect_near(last.numbers(mil::layer_norm{.x = last.input(DType::fp32, {2, 3, 4}, ramp(24)),
                                           .axes = {-1},
                                           .gamma = last.constant(DType::fp32, {4}, {1, 2, 0.5, -1}),
                                           .beta = last.constant(DType::fp32, {4}, {0, 1, 0, 2})}),
              {-0.7228971, 4.052232,  0.1204828, 3.044185, 1.044185,  0.5180687, -0.763058,  1.277103,
               0.1999998,  -1.799998, 0.6999994, 2.2,      1.044185,  0.5180687, -0.763058,  1.277103,
               0.1999998,  -1.799998, 0.6999994, 2.2,      -1.313064, 2.050451,  -0.2626128, 0.6869361});
  // Named out of order, gamma still goes by ascending axes.
  expect_near(two.numbers(mil::layer_norm{.x = two.input(DType::fp32, {2, 3, 4}, ramp(24, 7, 0)),
                                          .axes = {1, 0},
                                          .gamma = two.constant(DType::fp32, {2, 3}, {-2, -1, 0, 1, 2, 3}),
                                          .beta = two.constant(DType::fp32, {2, 3}, {1, 1, 1, 1, 1, 1}),
                                          .epsilon = 1e-3}),
              {3.572937,
               -0.140621199,
               2.26113184,
               -2.00731438,
               0.356765749,
               2.33072473,
               -0.115616627,
               0.951494929,
               1,
               1,
               1,
               1,
               1.96485138,
               0.0494823339,
               2.40664705,
               1.3395355,
               -0.286468502,
               3.66144947,
               0.902989859,
               -1.23123325,
               4.85940551,
               -0.710931799,
               -3.51097158,
               2.89169776});
}

TEST(Norm, L2NormOverTheLastThreeAxes) {
  Floats x = ramp(24, 7, 0), twice;
  for (double v : x) twice.push_back(2 * v);
  Floats both = x;
  both.insert(both.end(), twice.begin(), twice.end());
  OneOp one;
  Floats found = one.numbers(mil::l2_norm{.x = one.input(DType::fp32, {2, 2, 3, 4}, both)});
  ASSERT_EQ(found.size(), 48u);
  for (std::size_t i = 0; i < 48; ++i) EXPECT_NEAR(found[i], x[i % 24] / 15.7797338, 1e-6);
}

TEST(Norm, LocalResponseNorm) {
  OneOp four, three;
  expect_near(four.numbers(mil::local_response_norm{
                  .x = four.input(DType::fp32, {1, 5, 1, 2}, ramp(10)), .size = 3, .alpha = 0.3, .beta = 0.5, .k = 2}),
              {-1.264911, 2.151657, 0.4938648, -1.290994, 1.737489, 0, -1.737489, 1.290994, -0.5198753, -2.151657});
  expect_near(three.numbers(mil::local_response_norm{.x = three.input(DType::fp32, {1, 3, 2}, {1, -7, 5, -6, -3, -5}),
                                                     .size = 3}),
              {0.999975, -6.991437, 4.996877, -5.994606, -2.999325, -4.996877});
}

TEST(Norm, Errors) {
  Dim c = Dim::named("c");
  OneOp channels, rank, gamma, flat, size, unknown;
  EXPECT_EQ(channels.shape(mil::batch_norm{.x = channels.symbolic(DType::fp32, {1, 3, 4}),
                                           .mean = channels.constant(DType::fp32, {2}, {1, 2}),
                                           .variance = channels.constant(DType::fp32, {3}, {1, 2, 3})}),
            "mean has 2 elements, but there are 3 channels");
  EXPECT_EQ(rank.shape(mil::instance_norm{.x = rank.symbolic(DType::fp32, {1, 3})}),
            "x has rank 2, but 3 to 4 is needed");
  EXPECT_EQ(gamma.shape(mil::layer_norm{.x = gamma.symbolic(DType::fp32, {1, c, 4}),
                                        .axes = {-1, 1},
                                        .gamma = gamma.constant(DType::fp32, {4}, ramp(4))}),
            "gamma is [4], but x is [c, 4] along the axes");
  EXPECT_EQ(flat.shape(mil::l2_norm{.x = flat.symbolic(DType::fp32, {3, 4})}),
            "x has rank 2, but at least 3 is needed");
  EXPECT_EQ(size.shape(mil::local_response_norm{.x = size.symbolic(DType::fp32, {1, 3, 4}), .size = -1}), "size is -1");
  EXPECT_EQ(unknown.shape(mil::batch_norm{.x = unknown.symbolic(DType::fp32, {1, c, 4}),
                                          .mean = unknown.constant(DType::fp32, {3}, {1, 2, 3}),
                                          .variance = unknown.constant(DType::fp32, {3}, {1, 2, 3})}),
            "[1, c, 4]");
}

}  // namespace
}  // namespace pomona
