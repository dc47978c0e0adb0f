// What int8 does for convolutions: the first ones keep 16 bits, errors of the others add up to nothing in each channel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "compress/policy.h"
#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ops/conv.h"

namespace pomona::compress {
namespace {

using ::testing::HasSubstr;

constexpr int layers = 24;

Tensor random_weight(DType dtype, std::int64_t width, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0, 0.1);
  std::vector<double> numbers(std::size_t(width * width));
  for (double& number : numbers) number = normal(random);
  return Tensor::from_numbers(dtype, {width, width, 1, 1}, numbers);
}

// A chain of convolutions; with `shared`, the weight in its middle is that of all that follow, too.
struct Chain {
  Program program;
  std::vector<Tensor> weights;

  explicit Chain(DType dtype, bool shared = false, std::int64_t width = 64) {
    Function& main = program.add_function("main", iOS18);
    Value x = main.body.add_input("x", tensor_type(dtype, {1, width, 4, 4}));
    Builder g(main);
    Value last;
    for (int i = 0; i < layers; ++i) {
      weights.push_back(random_weight(dtype, width, unsigned(i)));
      bool again = shared && i > layers / 2;
      if (!again) last = g.constant(weights.back(), "w" + std::to_string(i));
      x = g.add(mil::conv{.x = x, .weight = last}, "y" + std::to_string(i));
    }
    main.body.set_results({x});
  }

  Report compress(const char* name, const SchemeOptions& options = {}) {
    auto report = compress::compress(program, Request(*make_scheme(name, options)));
    EXPECT_TRUE(report) << describe(report.error());
    return *report;
  }

  const WeightLine& line(const Report& report, const std::string& name) const {
    for (const WeightLine& each : report.lines)
      if (each.name == name) return each;
    ADD_FAILURE() << "no line for " << name;
    return report.lines.front();
  }

  Tensor decoded(int layer) {
    for (const auto& node : program.main().body.nodes()) {
      if (node->output_count() != 1 || node->output().name() != "y" + std::to_string(layer)) continue;
      const Node* decoder = node->input("weight").producer();
      Tensors inputs;
      for (Value input : decoder->inputs()) inputs.push_back(*input.literal()->materialise());
      return (*evaluate_node(*decoder, inputs, {iOS18, decoder, nullptr}))[0];
    }
    ADD_FAILURE() << "no layer " << layer;
    return {};
  }
};

double squared_error(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.count(); ++i) sum += std::pow(a.numbers()[i] - b.numbers()[i], 2);
  return sum;
}

// What the errors of a row add up to, over all rows.
double row_sums(const Tensor& a, const Tensor& b) {
  std::vector<double> was = a.numbers(), is = b.numbers();
  double total = 0;
  for (std::size_t row = 0; row < 64; ++row) {
    double sum = 0;
    for (std::size_t i = row * 64; i < row * 64 + 64; ++i) sum += was[i] - is[i];
    total += std::fabs(sum);
  }
  return total;
}

TEST(FirstLayers, KeepSixteenBitsForATenthOfTheBytes) {
  Chain chain(DType::fp16, false, 160);
  Report report = chain.compress("int8");
  for (int i = 0; i < layers; ++i) {
    const WeightLine& line = chain.line(report, "w" + std::to_string(i));
    EXPECT_EQ(line.compressed(), i >= 2) << i;
    if (i < 2) {
      EXPECT_THAT(line.note, HasSubstr("near the inputs"));
    }
  }
}

TEST(FirstLayers, OfASmallModelMayTakeFortyKilobytes) {
  Chain chain(DType::fp16);
  Report report = chain.compress("int8");
  for (int i = 0; i < layers; ++i) EXPECT_EQ(chain.line(report, "w" + std::to_string(i)).compressed(), i >= 9) << i;
}

TEST(FirstLayers, KeepAllBitsWhereOneErrorIsMadeAgainAndAgain) {
  Chain chain(DType::fp32, true);
  Report report = chain.compress("int8");
  EXPECT_FALSE(chain.line(report, "w" + std::to_string(layers / 2)).compressed());
  EXPECT_EQ(chain.line(report, "w0").scheme, "fp16");
}

TEST(FirstLayers, OfANamedWeightAreAsTheNameSays) {
  Chain chain(DType::fp16);
  Recipe recipe = *one_scheme("int8");
  recipe.names.push_back({"w1", *make_scheme("int8")});
  auto report = compress::compress(chain.program, Request(recipe));
  ASSERT_TRUE(report);
  EXPECT_FALSE(chain.line(*report, "w0").compressed());
  EXPECT_TRUE(chain.line(*report, "w1").compressed());
}

TEST(FirstLayers, OfSinglePrecisionBecomeHalves) {
  Chain chain(DType::fp32);
  Report report = chain.compress("int8");
  EXPECT_EQ(chain.line(report, "w0").scheme, "fp16");
  EXPECT_THAT(chain.line(report, "w0").note, HasSubstr("near the inputs"));
  EXPECT_THAT(chain.line(report, "w15").scheme, HasSubstr("int8"));
  Tensor decoded = chain.decoded(0);
  EXPECT_EQ(decoded.dtype(), DType::fp32);
  EXPECT_EQ(decoded.numbers(), chain.weights[0].converted(DType::fp16).numbers());
}

TEST(FirstLayers, CountEveryUseOfAWeight) {
  Chain chain(DType::fp16, true);
  Report report = chain.compress("int8");
  EXPECT_FALSE(chain.line(report, "w" + std::to_string(layers / 2)).compressed());
}

TEST(FirstLayers, AreCompressedWhenNothingSaysOtherwise) {
  Chain chain(DType::fp16);
  for (const WeightLine& line : chain.compress("linear").lines) EXPECT_TRUE(line.compressed()) << line.name;
}

TEST(BalancedRows, AddUpToLessAndLoseNoMore) {
  Chain plain(DType::fp32), balanced(DType::fp32);
  plain.compress("linear");
  balanced.compress("linear", {{"balance", true}});
  double before = 0, after = 0;
  for (int i = 0; i < layers; ++i) {
    const Tensor& weight = plain.weights[std::size_t(i)];
    before += row_sums(weight, plain.decoded(i));
    after += row_sums(weight, balanced.decoded(i));
    EXPECT_LE(squared_error(weight, balanced.decoded(i)), squared_error(weight, plain.decoded(i)));
  }
  EXPECT_LT(after, 0.5 * before);
}

TEST(BalancedRows, AreForSymmetricCodesOnly) {
  EXPECT_FALSE(make_scheme("linear", {{"balance", true}, {"mode", std::string("linear")}}));
  EXPECT_FALSE(make_scheme("linear", {{"balance", true}, {"dtype", std::string("int4")}}));
}

}  // namespace
}  // namespace pomona::compress
