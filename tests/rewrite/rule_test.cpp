// Every rewrite rule, held to the reference evaluation; and the check itself, held to a rule that is wrong.
#include "rewrite/rule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "rewrite/check_rule.h"
#include "rewrite/rules/rules.h"

namespace pomona::rewrite {
namespace {

class EveryRule : public testing::TestWithParam<const Rule*> {};

TEST_P(EveryRule, KeepsResults) {
  auto check = check_rule(*GetParam());
  ASSERT_TRUE(check) << describe(check.error());
  EXPECT_GE(check->spellings, 2u);
}
INSTANTIATE_TEST_SUITE_P(Rules, EveryRule, testing::ValuesIn(all_rules()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(RuleCheck, SeesAWrongConstant) {
  const Rule wrong{.name = "wrong",
                   .doc = "",
                   .pattern = op<mil::mul>(any("x"), op<mil::sigmoid>(any("x"))),
                   .replace = [](const Match& m, Builder& g) {
                     return g.add(mil::gelu{.x = m["x"], .mode = std::string("SIGMOID_APPROXIMATION")});
                   }};
  auto check = check_rule(wrong);
  ASSERT_FALSE(check);
  EXPECT_THAT(check.error().what, testing::HasSubstr("results are off by"));
}

TEST(RuleCheck, SeesWhatHoldsForSomeShapesOnly) {
  // Right for its own example, where y has one element per row; wrong when y is a matrix.
  const Rule wrong{.name = "wrong",
                   .doc = "",
                   .pattern = op<mil::add>(op<mil::mul>(any("x", {3, 3}), any("y", {1})), any("x")),
                   .replace = [](const Match& m, Builder& g) {
                     Value y = m["y"];
                     return m["x"].rank() == 2 ? g.add(mil::add{.x = g.add(mil::mul{.x = m["x"], .y = y}), .y = m["x"]})
                                               : g.add(mil::mul{.x = m["x"], .y = y});
                   }};
  auto check = check_rule(wrong);
  ASSERT_FALSE(check);
}

TEST(RuleCheck, SeesARuleThatNeverApplies) {
  const Rule never{.name = "never",
                   .doc = "",
                   .pattern = op<mil::relu>(any("x")),
                   .condition = [](const Match&) -> std::string_view { return "not today"; },
                   .replace = [](const Match& m, Builder&) { return m["x"]; }};
  auto check = check_rule(never);
  ASSERT_FALSE(check);
  EXPECT_THAT(check.error().what, testing::HasSubstr("not today"));
}

struct RuleTest : testing::Test {
  Program program;
  Function& f = program.add_function("main", Target::iOS17);
  Value x = f.body.add_input("x", tensor_type(DType::fp32, {2, 3}));
  Builder g{f};
  std::size_t apply(RuleList rules, RuleTrace* trace = nullptr) {
    auto applied = apply_rules(program, rules, trace);
    EXPECT_TRUE(applied);
    std::size_t sum = 0;
    for (std::size_t n : *applied) sum += n;
    return sum;
  }
};

TEST_F(RuleTest, SaysWhereItStopped) {
  Value s = g.add(mil::sigmoid{.x = x}, "s");
  Value y = g.add(mil::mul{.x = x, .y = s}, "y");
  f.body.set_results({y, s});
  RuleTrace trace{"silu", {}};
  EXPECT_EQ(apply(activation_rules(), &trace), 0u);
  ASSERT_EQ(trace.refusals.size(), 1u);
  EXPECT_EQ(trace.refusals[0].node, "mul 'y'");
  EXPECT_EQ(trace.refusals[0].reason, "sigmoid 's' is also used by return");
}

TEST_F(RuleTest, ResultsKeepTheirNames) {
  Value a = g.add(mil::relu{.x = x}, "a");
  Value b = g.add(mil::add{.x = a, .y = g.scalar(DType::fp32, 0)}, "b");
  f.body.set_results({b});
  EXPECT_EQ(apply(cleaning_rules()), 1u);
  EXPECT_EQ(f.body.results()[0].name(), "b");
  EXPECT_EQ(f.body.results()[0].producer()->op->name, "relu");
}

TEST_F(RuleTest, AResultThatIsAnInputStaysAnOp) {
  Value b = g.add(mil::add{.x = x, .y = g.scalar(DType::fp32, 0)}, "b");
  f.body.set_results({b});
  EXPECT_EQ(apply(cleaning_rules()), 0u);
}

TEST_F(RuleTest, OneChangeLeadsToTheNext) {
  // x / 2 * 2 is x * 0.5 * 2, x * 1, x.
  Value h = g.add(mil::real_div{.x = x, .y = g.scalar(DType::fp32, 2)});
  Value y = g.add(mil::mul{.x = h, .y = g.scalar(DType::fp32, 2)});
  Value z = g.add(mil::relu{.x = y}, "z");
  f.body.set_results({z});
  EXPECT_EQ(apply(cleaning_rules()), 3u);
  EXPECT_EQ(f.body.results()[0].producer()->input(0), x);
}

}  // namespace
}  // namespace pomona::rewrite
