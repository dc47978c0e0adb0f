#include <gtest/gtest.h>

#include <limits>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ops/activation.h"
#include "ops/catalogue.h"

namespace pomona {
namespace {

TEST(Program, BuildsInfersAndEvaluates) {
  Program program;
  Function& main = program.add_function("main", iOS15);
  Value x = main.body.add_input("x", tensor_type(DType::fp32, {2, Dim::named("n")}));
  Builder g(main);
  Value a = g.add(mil::leaky_relu{.x = x, .alpha = 0.5}, "a");
  Value b = g.add(mil::softmax{.x = a, .axis = 1});
  main.body.set_results({a, b});
  ASSERT_TRUE(g.status());
  EXPECT_EQ(to_string(b.shape()), "[2, n]");
  Evaluation run(main);
  auto results = run({{"x", Tensor::from_numbers(DType::fp32, {2, 2}, {-2, 4, 1, 1})}});
  ASSERT_TRUE(results) << describe(results.error());
  EXPECT_EQ((*results)[0].numbers(), (std::vector<double>{-1, 4, 1, 1}));
  EXPECT_EQ((*results)[1].number(2), 0.5);
}

TEST(Program, MixedDtypesNeedTheTargetThatBroughtThem) {
  Program program;
  Function& main = program.add_function("main", iOS15);
  Value x = main.body.add_input("x", tensor_type(DType::fp16, {1, 3, 4}));
  Builder g(main);
  Value alpha = g.constant(Tensor::from_numbers(DType::fp32, {3}, {1, 2, 3}));
  g.add(mil::prelu{.x = x, .alpha = alpha}, "p");
  ASSERT_FALSE(g.status());
  EXPECT_EQ(describe(g.status().error()),
            "error: input 'alpha' is fp32, but input 'x' is fp16; they must be equal\n  at prelu 'p'");
  EXPECT_EQ(mil::find_op("prelu", iOS18)->versions(), (std::vector<Target>{iOS15, iOS17}));
}

TEST(Dim, ExpressionsHaveANormalForm) {
  Dim h = Dim::named("h"), w = Dim::named("w");
  EXPECT_EQ(floor_div(h + 2 - 3, 2) + 1, floor_div(h - 1, 2) + 1);
  EXPECT_EQ(floor_div(2 * h + 4, 2), h + 2);
  EXPECT_EQ(*exact_div(6 * h * w, 2 * w), 3 * h);
  EXPECT_EQ(floor_div(floor_div(h, 2), 2), floor_div(h, 4));
  EXPECT_EQ((floor_div(h - 1, 2) + 1).at({{"h", 224}}), 112);
  EXPECT_EQ(floor_div(Dim(-7), 2), -4);
}

TEST(Dim, HostileSizesWrap) {
  constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                         most = std::numeric_limits<std::int64_t>::max();
  Dim h = Dim::named("h");
  EXPECT_EQ(*exact_div(least * h, -1), least * h);
  EXPECT_EQ((least * h).text(), "-9223372036854775808*h");
  EXPECT_FALSE(floor_div(least * h + least, 3).known());
  EXPECT_FALSE(floor_div(floor_div(h, most), most).known());
  Dim power = h + 1;
  for (int i = 0; i < 60; ++i) power = power * power;  // (h + 1)^(2^60) is not written out
  EXPECT_LT(power.text().size(), 10000u);
}

}  // namespace
}  // namespace pomona
