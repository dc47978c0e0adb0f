#include "cpu/runner.h"

#include <gtest/gtest.h>

#include "base/half.h"
#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ops/activation.h"
#include "ops/conv.h"
#include "ops/linear.h"
#include "ops/tensor_operation.h"

namespace pomona::cpu {
namespace {

TEST(Runner, AgreesWithTheReferenceAndReplansForNewSizes) {
  Program program;
  Function& main = program.add_function("main", iOS17);
  Value x = main.body.add_input("x", tensor_type(DType::fp16, {2, Dim::named("n"), 3}));
  Builder g(main);
  Value a = g.add(mil::leaky_relu{.x = x, .alpha = 0.1});
  Value b = g.add(mil::softmax{.x = a, .axis = 1});
  main.body.set_results({b, a});
  Runner runner(main, {.rounding = Rounding::strict});
  for (std::int64_t n : {1, 4, 7, 4}) {
    std::vector<double> values;
    for (std::int64_t i = 0; i < 6 * n; ++i) values.push_back(double(i % 5) - 2.25);
    NamedTensors inputs{{"x", Tensor::from_numbers(DType::fp16, {2, n, 3}, values)}};
    Evaluation reference(main);
    auto expected = reference(inputs), got = runner.run(inputs);
    ASSERT_TRUE(expected && got) << describe(got.error());
    EXPECT_TRUE((*got)[1].same_bits((*expected)[1]));
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR((*got)[0].number(i), (*expected)[0].number(i), 1e-3);
  }
  EXPECT_FALSE(runner.run({{"x", Tensor(DType::fp16, {2, 4})}}));
}

// Sums that grow in fp16: a product at a time, in the order of the depth.
TEST(Runner, AccumulatesInHalfPrecisionWhenAsked) {
  Program program;
  Function& main = program.add_function("main", iOS17);
  constexpr std::int64_t depth = 300, columns = 3;
  Value x = main.body.add_input("x", tensor_type(DType::fp16, {1, depth}));
  std::vector<double> weights, values;
  for (std::int64_t i = 0; i < depth * columns; ++i) weights.push_back(double(i % 13) / 8 - 0.5);
  for (std::int64_t i = 0; i < depth; ++i) values.push_back(double(i % 7) / 4 - 0.25);
  Builder g(main);
  Value w = g.constant(Tensor::from_numbers(DType::fp16, {columns, depth}, weights));
  Value y = g.add(mil::linear{.x = x, .weight = w});
  Value pixels = main.body.add_input("pixels", tensor_type(DType::fp16, {1, depth, 1}));
  Value kernel = g.constant(Tensor::from_numbers(DType::fp16, {columns, depth, 1}, weights));
  Value z = g.add(mil::conv{.x = pixels, .weight = kernel});
  main.body.set_results({y, z});
  Runner runner(main, {.accumulate_half = true});
  auto got = runner.run({{"x", Tensor::from_numbers(DType::fp16, {1, depth}, values)},
                         {"pixels", Tensor::from_numbers(DType::fp16, {1, depth, 1}, values)}});
  ASSERT_TRUE(got) << describe(got.error());
  for (std::int64_t c = 0; c < columns; ++c) {
    float sum = 0;
    for (std::int64_t k = 0; k < depth; ++k)
      sum = half_to_float(float_to_half(float(values[std::size_t(k)] * weights[std::size_t(c * depth + k)]) + sum));
    EXPECT_EQ((*got)[0].number(std::size_t(c)), sum);
    EXPECT_EQ((*got)[1].number(std::size_t(c)), sum);
  }
}

TEST(Runner, NamesTheOpWhoseResultIsBeyondTheMachine) {
  Program program;
  Function& main = program.add_function("main", iOS17);
  Value x = main.body.add_input("x", tensor_type(DType::fp32, {1, 1 << 10}));
  Builder g(main);
  Value y = g.add(mil::tile{.x = x, .reps = g.constant(Tensor::ints({1 << 20, 1 << 10}))}, "y");
  main.body.set_results({y});
  auto got = Runner(main, {}).run({{"x", Tensor(DType::fp32, {1, 1 << 10})}});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().fault, Fault::environment);
  EXPECT_NE(describe(got.error()).find("tile 'y' makes tensor<fp32, [1048576, 1048576]>"), std::string::npos);
}

}  // namespace
}  // namespace pomona::cpu
