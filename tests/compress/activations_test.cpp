// Quantised activations: where the pairs stand, which ranges are one, what the ways to choose a range give.
#include "compress/activations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "correlated_layer.h"
#include "cpu/runner.h"
#include "ops/activation.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/pool.h"
#include "ops/quantization.h"
#include "ops/tensor_operation.h"

namespace pomona::compress {
namespace {

using ::testing::HasSubstr;

// x -> conv a -> relu -> max_pool -> concat(with conv b of x) -> conv c -> add to itself through a 1x1 conv -> y
struct Net {
  Program program;
  Function& main;

  Net() : main(program.add_function("main", iOS18)) {
    Value x = main.body.add_input("x", tensor_type(DType::fp16, {1, 3, 12, 12}));
    Builder g(main);
    auto conv = [&](Value in, std::int64_t channels, unsigned seed, const char* name) {
      Value w = g.constant(normal({channels, in.shape()[1].value(), 1, 1}, seed, 0.4, DType::fp16),
                           std::string(name) + "_weight");
      return g.add(mil::conv{.x = in, .weight = w}, name);
    };
    Value relu = g.add(mil::relu{.x = conv(x, 8, 1, "a")}, "a_relu");
    Value pool = g.add(mil::max_pool{.x = relu, .kernel_sizes = {3, 3}, .strides = {1, 1}, .pad_type = "same"}, "pool");
    Value both = g.add(mil::concat{.values = Values{pool, conv(x, 8, 2, "b")}, .axis = 1}, "both");
    Value c = conv(both, 8, 3, "c");
    Value sum = g.add(mil::add{.x = c, .y = conv(c, 8, 4, "d")}, "sum");
    main.body.set_results({g.add(mil::softsign{.x = sum}, "y")});
    EXPECT_TRUE(g.status());
  }
  Value value(const std::string& name) {
    for (const auto& node : main.body.nodes())
      for (std::size_t i = 0; i < node->output_count(); ++i)
        if (node->output(i).name() == name) return node->output(i);
    return main.body.input(name);
  }
  // The quantize that reads a value; null without one, and at most one there is.
  Node* quantize_of(const std::string& name) {
    Node* found = nullptr;
    for (Node* user : value(name).users())
      if (user->op && is<mil::quantize>(user)) {
        EXPECT_EQ(found, nullptr) << name << " is quantised twice";
        found = user;
      }
    return found;
  }
  double scale_of(const std::string& name) { return quantize_of(name)->input("scale").number().value_or(0); }
};

std::vector<NamedTensors> samples() {
  std::vector<NamedTensors> all;
  for (unsigned s = 0; s < 4; ++s) all.push_back({{"x", normal({1, 3, 12, 12}, 50 + s, 1, DType::fp16)}});
  return all;
}

std::vector<ActivationLine> quantise(Net& net, const SchemeOptions& options = {}) {
  Recipe recipe;
  recipe.global = *make_scheme("activations", options);
  std::vector<bool> used;
  return *quantise_activations(net.main, samples(), recipe, used);
}

TEST(Activations, StandWhereIntegersRun) {
  Net net;
  quantise(net);
  for (const char* name : {"x", "a_relu", "pool", "b", "both", "c", "d", "sum"})
    EXPECT_NE(net.quantize_of(name), nullptr) << name;
  EXPECT_EQ(net.quantize_of("a"), nullptr) << "its activation belongs to it";
  EXPECT_EQ(net.quantize_of("y"), nullptr) << "softsign runs on floats";
  for (const auto& node : net.main.body.nodes()) {
    if (!is<mil::conv>(node.get()) && !is<mil::max_pool>(node.get())) continue;
    EXPECT_TRUE(is<mil::dequantize>(node->input("x").producer())) << node->label();
  }
  // What reads an integer op's result without being one reads what the codes say.
  EXPECT_TRUE(is<mil::dequantize>(net.value("y").producer()->input("x").producer()));
}

TEST(Activations, SharedRanges) {
  Net net;
  quantise(net);
  EXPECT_EQ(net.scale_of("a_relu"), net.scale_of("pool"));
  EXPECT_EQ(net.scale_of("pool"), net.scale_of("b"));
  EXPECT_EQ(net.scale_of("b"), net.scale_of("both"));
  EXPECT_EQ(net.scale_of("c"), net.scale_of("d"));
  EXPECT_NE(net.scale_of("c"), net.scale_of("sum"));
}

TEST(Activations, MinmaxIsWhatCoremltoolsComputes) {
  Net net;
  auto lines = quantise(net, {{"range", std::string("minmax")}});
  // numpy.float16(max(|x|) * 2 / 254), coremltools' linear_symmetric
  double largest = 0;
  for (const NamedTensors& sample : samples())
    for (double number : sample.at("x").numbers()) largest = std::max(largest, std::fabs(number));
  EXPECT_NEAR(net.scale_of("x"), largest / 127, 1e-3 * largest / 127);
  EXPECT_FALSE(net.quantize_of("x")->input("zero_point"));
  EXPECT_THAT(lines[0].value, "x");
}

TEST(Activations, UnsignedWhereNothingIsNegative) {
  Program program;
  Function& main = program.add_function("main", iOS18);
  Value x = main.body.add_input("x", tensor_type(DType::fp16, {1, 3, 12, 12}));
  Builder g(main);
  Value r = g.add(mil::relu{.x = x}, "r");
  Value w = g.constant(normal({4, 3, 1, 1}, 1, 1, DType::fp16));
  main.body.set_results({g.add(mil::conv{.x = r, .weight = w}, "y")});
  Recipe recipe;
  recipe.global = *make_scheme("w8a8");
  std::vector<bool> used;
  auto lines = *quantise_activations(main, samples(), recipe, used);
  ASSERT_EQ(lines.size(), 1);
  EXPECT_EQ(lines[0].codes.dtype, DType::uint8);
  EXPECT_EQ(lines[0].codes.zero_point, std::nullopt);
}

TEST(Activations, MasksAreLeft) {
  Program program;
  Function& main = program.add_function("main", iOS18);
  Value x = main.body.add_input("x", tensor_type(DType::fp16, {1, 3, 12, 12}));
  Value mask = main.body.add_input("mask", tensor_type(DType::fp16, {1, 1, 1, 12}));
  Builder g(main);
  Value sum = g.add(mil::add{.x = x, .y = mask}, "sum");
  main.body.set_results({g.add(mil::relu{.x = sum}, "y")});
  auto given = samples();
  for (auto& sample : given)
    sample["mask"] = Tensor::from_numbers(DType::fp16, {1, 1, 1, 12}, std::vector<double>(12, -65504.0));
  Recipe recipe;
  recipe.global = *make_scheme("w8a8");
  std::vector<bool> used;
  auto lines = *quantise_activations(main, given, recipe, used);
  ASSERT_EQ(lines.size(), 1);
  EXPECT_THAT(lines[0].note, HasSubstr("as masks do"));
}

// Normal values with a few far outliers: each way gives what it promises.
TEST(ActivationRanges, Methods) {
  ActivationStatistics seen;
  std::vector<float> values(20000);
  std::mt19937 random(3);
  std::normal_distribution<float> draw(0, 1);
  for (int sample = 0; sample < 4; ++sample) {
    for (float& value : values) value = draw(random);
    values[7] = sample == 2 ? 40.0F : 5.0F;
    seen.add(values, 0.5);
  }
  auto range = [&](RangeMethod method) { return choose_range(seen, {.method = method, .percentile = 99.9}).highest; };
  EXPECT_EQ(range(RangeMethod::minmax), 40);
  // 5, then half way to 5, 40, 5: ((5 + 5) / 2 + 40) / 2 = 22.5, (22.5 + 5) / 2
  EXPECT_NEAR(range(RangeMethod::moving_average), 13.75, 1e-6);
  EXPECT_NEAR(range(RangeMethod::percentile), 3.29, 0.1) << "99.9 % of normal values lie within 3.29 deviations";
  // Least (40 - r)^2 + 80000 (r / 127)^2 / 12, in steps of 0.4.
  EXPECT_NEAR(range(RangeMethod::mse), 28.3, 0.6);
  EXPECT_GT(range(RangeMethod::entropy), 3);
  EXPECT_LT(range(RangeMethod::entropy), 16);
}

TEST(ActivationRanges, MergingIsSeeingBoth) {
  std::vector<float> small(1000), large(1000);
  for (std::size_t i = 0; i < small.size(); ++i) small[i] = 0.001F * float(i), large[i] = 0.37F * float(i) - 100;
  ActivationStatistics a, b, both;
  a.add(small, 0.1);
  b.add(large, 0.1);
  both.add(small, 0.1);
  both.add(large, 0.1);
  a.merge(b);
  EXPECT_EQ(a.lowest, both.lowest);
  EXPECT_EQ(a.highest, both.highest);
  EXPECT_EQ(a.zeros, both.zeros);
  double count_a = 0, count_both = 0;
  for (auto bin : a.bins()) count_a += bin.count;
  for (auto bin : both.bins()) count_both += bin.count;
  EXPECT_EQ(count_a, count_both);
}

TEST(Activations, OptionsAreChecked) {
  EXPECT_THAT(make_scheme("activations", {{"dtype", std::string("int4")}}).error().what,
              HasSubstr("int8, uint8 or auto"));
  EXPECT_THAT(make_scheme("w8a8", {{"activation_range", std::string("median")}}).error().what, HasSubstr("median"));
  EXPECT_FALSE(make_scheme("w8a8", {{"nonsense", true}}));
  EXPECT_TRUE(make_scheme("activations+lut4", {{"activation_mode", std::string("linear")}}));
}

}  // namespace
}  // namespace pomona::compress
