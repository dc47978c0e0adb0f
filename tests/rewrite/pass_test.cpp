// Passes keep what programs compute: each program here is evaluated by reference before and after.
#include "rewrite/passes/passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/verify.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "rewrite/pipeline.h"

namespace pomona::rewrite {
namespace {

struct PassTest : testing::Test {
  Program program;
  Function& f = program.add_function("main", Target::iOS18);
  Builder g{f};
  std::mt19937 random{7};
  NamedTensors inputs;

  Tensor numbers(const Sizes& sizes) {
    std::normal_distribution<double> normal;
    std::vector<double> values(std::size_t(element_count(sizes)));
    for (double& v : values) v = normal(random);
    return Tensor::from_numbers(DType::fp32, sizes, values);
  }
  Value input(const std::string& name, const Sizes& sizes) {
    inputs[name] = numbers(sizes);
    return f.body.add_input(name, tensor_type(DType::fp32, to_shape(sizes)));
  }
  Tensors run() {
    auto results = Evaluation(f)(inputs);
    EXPECT_TRUE(results) << describe(results.error());
    return results ? *results : Tensors();
  }
  std::size_t count(std::string_view op) {
    std::size_t found = 0;
    for (auto& node : f.body.nodes()) found += node->op->name == op;
    return found;
  }
  template <class Pass>
  void keeps_results(Pass pass, double tolerance = 1e-5) {
    ASSERT_TRUE(g.status()) << describe(g.status().error());
    Tensors before = run();
    auto done = pass();
    ASSERT_TRUE(done) << describe(done.error());
    Tensors after = run();
    ASSERT_EQ(before.size(), after.size());
    for (std::size_t i = 0; i < before.size(); ++i) {
      ASSERT_EQ(before[i].sizes(), after[i].sizes());
      for (std::size_t k = 0; k < before[i].count(); ++k)
        ASSERT_NEAR(before[i].number(k), after[i].number(k), tolerance * (1 + std::fabs(before[i].number(k))));
    }
    for (const Finding& finding : findings_of(f))
      EXPECT_TRUE(finding.rule != "order" && finding.rule != "types") << finding.place << ": " << finding.text;
  }
};

TEST_F(PassTest, ChannelsLastNetworkLosesItsTransposes) {
  Value x = input("x", {1, 6, 5, 4});  // n h w c
  auto conv = [&](Value v) {
    Value first = g.add(mil::transpose{.x = v, .perm = {0, 3, 1, 2}});
    Value y = g.add(mil::conv{.x = first, .weight = g.constant(numbers({4, 4, 3, 3})), .pad_type = "same"});
    return g.add(mil::transpose{.x = y, .perm = {0, 2, 3, 1}});
  };
  Value a = g.add(mil::relu{.x = g.add(mil::add{.x = conv(x), .y = g.constant(numbers({4}))})});
  Value b = g.add(mil::add{.x = conv(a), .y = a});
  Value both = g.add(mil::concat{.values = Values{a, b}, .axis = -1});
  Value part = g.add(mil::slice_by_index{
      .x = both, .begin = g.ints({0, 1, 0, 2}), .end = g.ints({1, 5, 5, 6}), .end_mask = Ints{1, 0, 0, 0}});
  Value c = conv(part);
  Value pooled = g.add(mil::reduce_mean{.x = g.add(mil::sigmoid{.x = c}), .axes = {1, 2}, .keep_dims = false});
  f.body.set_results({pooled});
  keeps_results([&] { return cancel_transposes(program); });
  EXPECT_EQ(count("transpose"), 1u);  // of the input
}

TEST_F(PassTest, TransposesStayWhereMovingThemSavesNothing) {
  Value y = g.add(mil::transpose{.x = input("x", {2, 3, 4}), .perm = {0, 2, 1}});
  f.body.set_results({g.add(mil::relu{.x = y}, "a"), g.add(mil::tanh{.x = y}, "b")});
  keeps_results([&] { return cancel_transposes(program); });
  EXPECT_EQ(count("transpose"), 1u);
}

TEST_F(PassTest, WindowsOfSixDimsBecomeFour) {
  Value x = input("x", {2, 6, 6, 5});
  Value cut = g.add(mil::reshape{.x = x, .shape = g.ints({2, 2, 3, 2, 3, 5})});
  Value windows = g.add(mil::transpose{.x = cut, .perm = {0, 1, 3, 2, 4, 5}});
  f.body.set_results({g.add(mil::reshape{.x = windows, .shape = g.ints({8, 9, 5})}, "y")});
  keeps_results([&] { return limit_rank(program); });
  EXPECT_EQ(f.body.results()[0].name(), "y");
  EXPECT_EQ(count("transpose"), 1u);
}

TEST_F(PassTest, EightDimsAreTransposedInSteps) {
  Value x = input("x", {3, 4 * 2, 5 * 2, 2 * 3});
  Value cut = g.add(mil::reshape{.x = x, .shape = g.ints({3, 4, 2, 5, 2, 2, 3, 1})});
  Value moved = g.add(mil::transpose{.x = cut, .perm = {6, 2, 0, 4, 7, 1, 5, 3}});
  f.body.set_results({g.add(mil::reshape{.x = moved, .shape = g.ints({-1, 10})}, "y")});
  keeps_results([&] { return limit_rank(program); });
  EXPECT_GT(count("transpose"), 1u);
}

TEST_F(PassTest, UpsamplingByTileOfSixDims) {
  Value x = input("x", {2, 3, 4, 5});
  Value apart = g.add(mil::reshape{.x = x, .shape = g.ints({2, 3, 4, 1, 5, 1})});
  Value tiled = g.add(mil::tile{.x = apart, .reps = g.ints({1, 1, 1, 2, 1, 3})});
  Value scaled = g.add(mil::mul{.x = tiled, .y = g.constant(numbers({3, 1, 1, 1, 1}))});
  Value mean = g.add(mil::reduce_mean{.x = scaled, .axes = {3, 5}, .keep_dims = false});
  f.body.set_results({mean});
  keeps_results([&] { return limit_rank(program); });
}

TEST_F(PassTest, WhatNeedsSixDimsIsNamed) {
  Value x = input("x", {2, 2, 2, 2, 2, 2});
  f.body.set_results({g.add(mil::concat{.values = Values{x, x}, .axis = 0}, "all")});
  Status done = limit_rank(program);
  ASSERT_FALSE(done);
  EXPECT_THAT(describe(done.error()), testing::HasSubstr("'all'"));
  EXPECT_THAT(describe(done.error()), testing::HasSubstr("rank 6"));
}

TEST_F(PassTest, AnOperandThatBroadcastsUnevenlyIsRepeated) {
  Value x = g.add(mil::reshape{.x = input("x", {6, 24}), .shape = g.ints({2, 3, 2, 4, 3, 1})});
  Value y = g.add(mil::reshape{.x = input("y", {12}), .shape = g.ints({3, 1, 4, 1, 1})});
  Value sum = g.add(mil::add{.x = x, .y = g.add(mil::mul{.x = y, .y = g.constant(numbers({2, 1, 2, 1, 3, 1}))})});
  f.body.set_results({g.add(mil::reshape{.x = sum, .shape = g.ints({-1, 12})}, "y")});
  keeps_results([&] { return limit_rank(program); });
}

TEST_F(PassTest, NewNamesAreNobodysOldOnes) {
  Value a = input("a.b", {2}), b = input("a_b", {2});
  f.body.set_results({g.add(mil::relu{.x = a}, "o.1"), g.add(mil::exp{.x = b}, "o_1")});
  legal_names(program);
  EXPECT_EQ(b.name(), "a_b");
  EXPECT_EQ(a.name(), "a_b_0");
  EXPECT_EQ(f.body.results()[1].name(), "o_1");
  EXPECT_EQ(f.body.results()[0].name(), "o_1_0");
}

TEST_F(PassTest, AttentionForAnOlderTarget) {
  Value q = input("q", {2, 3, 4, 8}), k = input("k", {2, 3, 5, 8}), v = input("v", {2, 3, 5, 6});
  Tensor mask =
      Tensor::from_numbers(DType::boolean, {4, 5}, {1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0});
  f.body.set_results(
      {g.add(mil::scaled_dot_product_attention{.query = q, .key = k, .value = v, .attn_mask = g.constant(mask)}, "y")});
  f.opset = Target::iOS16;
  keeps_results([&] { return fit_target(program); });
  EXPECT_EQ(count("scaled_dot_product_attention"), 0u);
  EXPECT_EQ(f.body.results()[0].name(), "y");
}

TEST_F(PassTest, WhatATargetDoesNotHaveIsListed) {
  Value y = g.add(mil::pixel_unshuffle{.x = input("x", {1, 2, 4, 4}), .downscale_factor = 2}, "small");
  f.body.set_results({y});
  f.opset = Target::iOS15;
  Status done = fit_target(program);
  ASSERT_FALSE(done);
  EXPECT_THAT(describe(done.error()),
              testing::HasSubstr("pixel_unshuffle (iOS16, 1 of them, first pixel_unshuffle 'small')"));
}

TEST_F(PassTest, LargeConstantsFoldToRecipes) {
  Value w = g.constant(numbers({100, 90}));
  Value scaled = g.add(mil::mul{.x = w, .y = g.constant(numbers({100, 1}))});
  f.body.set_results({g.add(mil::matmul{.x = input("x", {3, 100}), .y = scaled})});
  keeps_results([&] { return fold_constants(program); }, 0);
  EXPECT_EQ(count("mul"), 0u);
  const Node& product = *f.body.results()[0].producer();
  ASSERT_TRUE(product.input("y").literal());
  EXPECT_TRUE(product.input("y").literal()->step());
}

TEST_F(PassTest, FillsStayOps) {
  Value big = g.add(mil::tile{.x = g.constant(numbers({1000})), .reps = g.ints({1000})});
  f.body.set_results({g.add(mil::mul{.x = big, .y = input("x", {1})})});
  keeps_results([&] { return fold_constants(program); }, 0);
  EXPECT_EQ(count("tile"), 1u);
}

TEST_F(PassTest, EqualResultsKeepTheirNames) {
  Value x = input("x", {3});
  f.body.set_results({g.add(mil::relu{.x = x}, "a"), g.add(mil::relu{.x = x}, "b")});
  keeps_results([&]() -> Status {
    merge_equal(program);
    return {};
  });
  EXPECT_EQ(f.body.results()[0].name(), "a");
  EXPECT_EQ(f.body.results()[1].name(), "b");
}

TEST_F(PassTest, HalfKeepsMasksFiniteAndIndicesExact) {
  Value x = input("x", {4, 8});
  // A causal mask as exporters write it, and indices computed in floats as some do.
  Value mask = g.constant(Tensor::from_numbers(DType::fp32, {2}, {0, -3.4028234663852886e38}));
  Value pairs = g.add(mil::reshape{.x = x, .shape = g.ints({16, 2})});
  Value p = g.add(mil::softmax{.x = g.add(mil::add{.x = pairs, .y = mask}), .axis = -1});
  Value where = g.add(mil::cast{.x = input("i", {3}), .dtype = "fp32"});
  inputs["i"] = Tensor::from_numbers(DType::fp32, {3}, {0.25, 1.5, 3});
  Value index =
      g.add(mil::cast{.x = g.add(mil::mul{.x = where, .y = g.scalar(DType::fp32, 4097.0 / 4096)}), .dtype = "int32"});
  Value rows = g.add(mil::gather{.x = x, .indices = index, .axis = 0});
  Value far = g.add(mil::add{.x = x, .y = g.scalar(DType::fp32, 1e6)}, "far");
  f.body.set_results({g.add(mil::reshape{.x = p, .shape = g.ints({4, 8})}), rows, far});
  keeps_results([&] { return use_half(program); }, 2e-3);
  EXPECT_EQ(rows.dtype(), DType::fp16);
  for (Value result : f.body.results()) EXPECT_EQ(result.dtype(), DType::fp32);
  EXPECT_EQ(far.dtype(), DType::fp32);  // 1e6 is beyond fp16
  EXPECT_EQ(index.producer()->input(0).dtype(), DType::fp32);
}

TEST_F(PassTest, LongSumsStaySingle) {
  inputs["x"] = Tensor::from_numbers(DType::fp32, {20000}, std::vector<double>(20000, 6.0));
  Value x = f.body.add_input("x", tensor_type(DType::fp32, {20000}));
  f.body.set_results({g.add(mil::reduce_sum{.x = x, .axes = {0}, .keep_dims = true})});
  keeps_results([&] { return use_half(program); }, 1e-5);
}

TEST_F(PassTest, WhatASelectChoosesFromIsAsWideAsItsResult) {
  Value open = g.add(mil::greater{.x = input("x", {2, 1, 4}), .y = g.scalar(DType::fp32, 0)});
  Value lowest = g.scalar(DType::fp32, -1e30), row = input("row", {3, 1});
  f.body.set_results({g.add(mil::select{.cond = open, .a = lowest, .b = g.scalar(DType::fp32, 2)}, "numbers"),
                      g.add(mil::select{.cond = open, .a = row, .b = lowest}, "a_row"),
                      g.add(mil::select{.cond = open, .a = row, .b = row}, "rows")});
  for (Target target : {Target::iOS15, Target::iOS18}) {
    f.opset = target;
    keeps_results([&] { return widen_selects(program); });
  }
  for (Value result : f.body.results()) {
    const Node& node = *result.producer();
    std::size_t widest = std::max(node.input("a").rank(), node.input("b").rank());
    EXPECT_EQ(widest, 3u) << result.name();
  }
}

TEST_F(PassTest, AnEpsilonThatFp16WouldHoldAs0IsTheSmallestNumber) {
  inputs["x"] = Tensor::from_numbers(DType::fp32, {2, 4}, {3, 3, 3, 3, 1, 2, 3, 5});
  Value x = f.body.add_input("x", tensor_type(DType::fp32, {2, 4}));
  Value y = g.add(mil::layer_norm{.x = x, .axes = {-1}, .gamma = g.constant(numbers({4})), .epsilon = 1e-12});
  f.opset = Target::iOS18;  // where epsilon has gamma's dtype, not that of x
  f.body.set_results({g.add(mil::relu{.x = y}, "y")});
  keeps_results([&] { return use_half(program); }, 2e-3);
  ASSERT_EQ(y.dtype(), DType::fp16);
  EXPECT_EQ(std::get<double>(y.producer()->attribute("epsilon")), 0x1p-24);
}

TEST_F(PassTest, TheSpectrumUnderALogarithmStaysSingle) {
  Value x = input("x", {1, 1, 40});
  inputs["x"] = Tensor::from_numbers(DType::fp32, {1, 1, 40}, std::vector<double>(40, 1e-4));
  Value y = g.add(mil::conv{.x = x, .weight = g.constant(numbers({4, 1, 8}))});
  Value power = g.add(mil::reduce_sum{.x = g.add(mil::square{.x = y}), .axes = {1}, .keep_dims = true});
  f.body.set_results({g.add(mil::log{.x = power, .epsilon = 1e-12})});
  keeps_results([&] { return use_half(program); }, 5e-3);
}

// Multi-head attention with a feed-forward part, as exporters of PyTorch write it.
// What the Neural Engine does not take, in forms that it does: each program as before, and none of the old form left.
struct EngineTest : PassTest {
  void suited(Value result, double tolerance = 1e-4) {
    f.body.set_results({result});
    keeps_results([&] { return suit_engine(program, {.axis = 40, .depth = 48, .kernel = 5}); }, tolerance);
  }
  Value conv(Value x, const Sizes& weight, mil::conv op) {
    op.x = x;
    op.weight = g.constant(numbers(weight));
    return g.add(op);
  }
};

TEST_F(EngineTest, StridesBecomeChannels) {
  Value x = input("x", {2, 4, 23, 17});
  Value bias = g.constant(numbers({6}));
  mil::conv grouped{.strides = {5, 7}, .pad_type = "custom", .pad = {2, 1, 0, 3}, .groups = 2};
  grouped.bias = bias;
  suited(conv(x, {6, 2, 6, 3}, grouped));
  for (auto& node : f.body.nodes()) {
    if (!is<mil::conv>(node.get())) continue;
    EXPECT_EQ(std::get<Ints>(node->attribute("strides")), (Ints{1, 1}));
  }
}

TEST_F(EngineTest, StridesOfOneAxisAndSamePadding) {
  suited(conv(input("x", {1, 3, 61}), {4, 3, 10}, {.strides = {5}, .pad_type = "same"}));
  EXPECT_EQ(count("conv"), 1u);
  EXPECT_GE(count("transpose"), 1u);
}

TEST_F(EngineTest, WideKernelsAndOddDilationsComeApart) {
  Value x = input("x", {1, 4, 30, 30});
  Value a = conv(x, {3, 4, 1, 12}, {.pad_type = "same"});
  Value b = conv(x, {3, 4, 3, 3}, {.pad_type = "custom", .pad = {5, 5, 5, 5}, .dilations = {5, 5}});
  suited(g.add(mil::add{.x = a, .y = b}));
  EXPECT_EQ(count("conv"), 3u + 9u);
}

TEST_F(EngineTest, PoolingsInSteps) {
  Value x = input("x", {1, 3, 18, 16});
  Value a = g.add(mil::avg_pool{.exclude_padding_from_average = true,
                                .x = x,
                                .kernel_sizes = {3, 2},
                                .strides = {3, 2},
                                .pad_type = "custom",
                                .pad = {0, 0, 1, 1}});
  Value b = g.add(mil::max_pool{.x = x, .kernel_sizes = {6, 5}, .strides = {6, 3}, .pad_type = "valid"});
  Value c = g.add(mil::max_pool{.x = x, .kernel_sizes = {18, 16}, .strides = {18, 16}, .pad_type = "valid"});
  Value d = g.add(mil::avg_pool{.x = x, .kernel_sizes = {2, 16}, .strides = {2, 16}, .pad_type = "valid"});
  Value first = g.add(mil::reduce_sum{.x = a, .axes = {2, 3}, .keep_dims = true});
  Value second = g.add(mil::reduce_sum{.x = b, .axes = {2, 3}, .keep_dims = true});
  Value third = g.add(mil::reduce_sum{.x = d, .axes = {2, 3}, .keep_dims = true});
  suited(g.add(mil::concat{.values = Values{first, second, c, third}, .axis = 1}));
  EXPECT_EQ(count("reduce_max"), 1u);
  for (auto& node : f.body.nodes()) {
    if (!node->op->attribute_index("kernel_sizes")) continue;
    for (std::int64_t stride : std::get<Ints>(node->attribute("strides"))) EXPECT_TRUE(stride <= 2 || stride == 4);
  }
}

TEST_F(EngineTest, LayersInPartsAndSumsAsProducts) {
  Value x = input("x", {2, 3, 100});
  Value wide = g.add(mil::linear{.x = x, .weight = g.constant(numbers({90, 100})), .bias = g.constant(numbers({90}))});
  Value sums = g.add(mil::cumsum{.x = wide, .axis = 2, .exclusive = true, .reverse = true});
  suited(g.add(mil::cumsum{.x = sums, .axis = 1}), 1e-3);
  EXPECT_EQ(count("cumsum"), 0u);
  EXPECT_EQ(count("linear"), 9u);  // three parts of results, of three parts of inputs each
}

TEST_F(EngineTest, LookUpsAndAttention) {
  Value ids = f.body.add_input("ids", tensor_type(DType::int32, {2, 5}));
  inputs["ids"] = Tensor::from_numbers(DType::int32, {2, 5}, {0, 1, 39999, 2, 3, 4, 5, 32768, 7, 8});
  Value table = g.constant(numbers({40000, 8}));
  Value rows = g.add(mil::gather{.x = table, .indices = ids});
  Value heads = g.add(mil::expand_dims{.x = rows, .axes = {1}});
  Value mask = g.constant(Tensor::from_numbers(DType::boolean, {1, 5}, {1, 1, 0, 1, 0}));
  suited(g.add(mil::scaled_dot_product_attention{.query = heads, .key = heads, .value = heads, .attn_mask = mask}));
  EXPECT_EQ(count("scaled_dot_product_attention"), 0u);
  for (auto& node : f.body.nodes()) {
    if (!is<mil::gather>(node.get())) continue;
    EXPECT_EQ(node->input("indices").dtype(), DType::uint16);
  }
}

struct PipelineTest : PassTest {
  Value linear(Value x, std::int64_t in, std::int64_t out) {
    Value y = g.add(mil::matmul{.x = x, .y = g.constant(numbers({in, out}))});
    return g.add(mil::add{.x = y, .y = g.constant(numbers({out}))});
  }
  Value number(double n) { return g.scalar(DType::fp32, n); }
  Value layer_norm(Value x) {
    Value c = g.add(mil::sub{.x = x, .y = g.add(mil::reduce_mean{.x = x, .axes = {-1}, .keep_dims = true})});
    Value v = g.add(mil::reduce_mean{.x = g.add(mil::pow{.x = c, .y = number(2)}), .axes = {-1}, .keep_dims = true});
    Value n = g.add(mil::real_div{.x = c, .y = g.add(mil::sqrt{.x = g.add(mil::add{.x = v, .y = number(1e-5)})})});
    Value scaled = g.add(mil::mul{.x = n, .y = g.constant(numbers({16}))});
    return g.add(mil::add{.x = scaled, .y = g.constant(numbers({16}))});
  }
  Value gelu(Value x) {
    Value e = g.add(mil::erf{.x = g.add(mil::real_div{.x = x, .y = number(std::sqrt(2.0))})});
    Value t = g.add(mil::mul{.x = x, .y = g.add(mil::add{.x = e, .y = number(1)})});
    return g.add(mil::mul{.x = t, .y = number(0.5)});
  }
  Value heads(Value x, Ints perm) {
    Value cut = g.add(mil::reshape{.x = x, .shape = g.ints({1, 5, 2, 8})});
    return g.add(mil::transpose{.x = cut, .perm = perm});
  }
  void build() {
    Value x = input("x", {1, 5, 16});
    Value q = heads(linear(x, 16, 16), {0, 2, 1, 3}), v = heads(linear(x, 16, 16), {0, 2, 1, 3});
    Value k = heads(linear(x, 16, 16), {0, 2, 3, 1});
    Value s = g.add(mil::real_div{.x = g.add(mil::matmul{.x = q, .y = k}), .y = number(std::sqrt(8.0))});
    Value p = g.add(mil::softmax{.x = s, .axis = -1});
    Value o = g.add(mil::transpose{.x = g.add(mil::matmul{.x = p, .y = v}), .perm = {0, 2, 1, 3}});
    o = linear(g.add(mil::reshape{.x = o, .shape = g.ints({1, 5, 16})}), 16, 16);
    Value h = layer_norm(g.add(mil::add{.x = x, .y = o}));
    f.body.set_results({layer_norm(g.add(mil::add{.x = h, .y = linear(gelu(linear(h, 16, 32)), 32, 16)})), h});
    f.body.results()[0].set_name("out/y");
    f.body.results()[1].set_name("h");
  }
};

TEST_F(PipelineTest, TransformerBecomesWhatCoreMLHas) {
  build();
  Report report;
  keeps_results([&] { return optimise(program, {.precision = Precision::single, .check_each_pass = true}, report); },
                1e-4);
  EXPECT_EQ(count("linear"), 6u);
  EXPECT_EQ(count("layer_norm"), 2u);
  EXPECT_EQ(count("gelu"), 1u);
  EXPECT_EQ(count("scaled_dot_product_attention"), 1u);
  EXPECT_EQ(count("mul") + count("matmul") + count("real_div") + count("softmax"), 0u);
  EXPECT_EQ(count("add"), 2u);
  EXPECT_EQ(f.body.results()[0].name(), "out_y");
  Status valid = verify(program);
  EXPECT_TRUE(valid) << describe(valid.error());
}

TEST_F(PipelineTest, HalfPrecisionStaysClose) {
  build();
  f.opset = Target::iOS16;
  Report report;
  keeps_results([&] { return optimise(program, {.check_each_pass = true}, report); }, 0.05);
  Status valid = verify(program);
  EXPECT_TRUE(valid) << describe(valid.error());
  EXPECT_EQ(count("cast"), 3u);  // one at the input, one at each output
}

}  // namespace
}  // namespace pomona::rewrite
