#include "cpu/runner.h"

#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ops/activation.h"

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

}  // namespace
}  // namespace pomona::cpu
