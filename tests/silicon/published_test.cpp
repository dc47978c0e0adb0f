// Which operations others saw the Neural Engine take, an operation and a source a row: nine of ten have to agree.
#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/op.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/constexpr.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "silicon/placement.h"

namespace pomona::silicon {
namespace {

Tensor zeros(Sizes sizes, DType dtype = DType::fp16) { return Tensor(dtype, std::move(sizes)); }

struct Graph {
  Program program;
  Function* function;
  Builder g;
  Graph() : function(&program.add_function("main", Target::iOS18)), g(*function) {}
  Value input(Shape shape, DType dtype = DType::fp16) {
    return function->body.add_input("x" + std::to_string(function->body.input_count()),
                                    tensor_type(dtype, std::move(shape)));
  }
};

struct Seen {
  const char* source;
  const char* chip;
  const char* op;
  bool taken;  // by the Neural Engine
  Value (*make)(Graph& m);
};

Value image(Graph& m) { return m.input({1, 64, 64, 64}); }
Value convolution(Graph& m, Sizes weight, Ints strides, DType dtype = DType::fp16) {
  Value x = m.input({1, 64, 96, 96}, dtype);
  return m.g.add(mil::conv{.x = x, .weight = m.g.constant(zeros(std::move(weight), dtype)), .strides = strides});
}
Value attention(Graph& m, std::int64_t heads, std::int64_t length) {
  Shape shape{1, heads, length, 64};
  return m.g.add(
      mil::scaled_dot_product_attention{.query = m.input(shape), .key = m.input(shape), .value = m.input(shape)});
}
Value quantised(Graph& m, Sizes scale) {
  Value w = m.g.add(mil::constexpr_blockwise_shift_scale{.data = m.g.constant(zeros({512, 512}, DType::int8)),
                                                         .scale = m.g.constant(zeros(std::move(scale)))});
  return m.g.add(mil::linear{.x = m.input({64, 512}), .weight = w});
}

const Seen seen[] = {
    {"CoreMLInspect's README, gpt2: G|C", "M4", "gather", false,
     [](Graph& m) {
       return m.g.add(
           mil::gather{.x = m.g.constant(zeros({50257, 768})), .indices = m.input({1, 512}, DType::int32), .axis = 0});
     }},
    {"CoreMLInspect's README, gpt2: G|CN", "M4", "mul", true,
     [](Graph& m) { return m.g.add(mil::mul{.x = m.input({1, 512, 768}), .y = m.input({1, 512, 768})}); }},
    {"rf-detr pull request 1495", "M4", "topk", false,
     [](Graph& m) { return m.g.add_all(mil::topk{.x = m.input({1, 4096}), .k = 100})[0]; }},
    {"rf-detr pull request 1495", "M4", "conv", true, [](Graph& m) { return convolution(m, {64, 64, 3, 3}, {1, 1}); }},
    {"mobius pull request 77", "M4", "silu", true, [](Graph& m) { return m.g.add(mil::silu{.x = image(m)}); }},
    {"mobius pull request 77", "M4", "layer_norm", true,
     [](Graph& m) { return m.g.add(mil::layer_norm{.x = image(m), .axes = Ints{-1}}); }},
    {"coremltools issue 1875", "M2", "cumsum", false,
     [](Graph& m) { return m.g.add(mil::cumsum{.x = image(m), .axis = 1}); }},
    {"vx-lang issue 437: small", "M4", "scaled_dot_product_attention", false,
     [](Graph& m) { return attention(m, 8, 256); }},
    {"vx-lang issue 437: 2 million elements", "M4", "scaled_dot_product_attention", true,
     [](Graph& m) { return attention(m, 32, 1024); }},
    {"coremltools issue 2510", "M4", "linear", false, [](Graph& m) { return quantised(m, {512, 16}); }},
    {"Apple, quantization performance: per channel", "M4", "linear", true,
     [](Graph& m) { return quantised(m, {512, 1}); }},
    // The one report against Apple's text; the rule for fewer than 8 bits is from it.
    {"stablehlo-coreml issue 110: int8 on the CPU only", "M4", "linear", false,
     [](Graph& m) { return quantised(m, {512, 1}); }},
    {"onnxruntime issue 19543", "M1", "relu", false,
     [](Graph& m) { return m.g.add(mil::relu{.x = m.input({1, 8, 1, 20000})}); }},
    {"ANEForge: 65,536 from the A16 class on", "M4", "relu", true,
     [](Graph& m) { return m.g.add(mil::relu{.x = m.input({1, 8, 1, 20000})}); }},
    {"ANEForge", "M1", "sin", false, [](Graph& m) { return m.g.add(mil::sin{.x = image(m)}); }},
    {"ANEForge", "M3", "sin", true, [](Graph& m) { return m.g.add(mil::sin{.x = image(m)}); }},
    {"ANEForge: kernels up to 15", "M4", "conv", false,
     [](Graph& m) { return convolution(m, {64, 64, 1, 17}, {1, 1}); }},
    {"Apple, neural_engine_rules.md: strides of 2 and 3", "M4", "conv", false,
     [](Graph& m) { return convolution(m, {64, 64, 5, 5}, {5, 5}); }},
    {"Apple, neural_engine_rules.md: strides of 2 and 3", "M4", "conv", true,
     [](Graph& m) { return convolution(m, {64, 64, 3, 3}, {3, 3}); }},
    {"Apple, neural_engine_rules.md: no fp32", "M4", "conv", false,
     [](Graph& m) { return convolution(m, {64, 64, 3, 3}, {1, 1}, DType::fp32); }},
    {"executorch pull request 7616", "M4", "gather", false,
     [](Graph& m) {
       return m.g.add(
           mil::gather{.x = m.g.constant(zeros({128256, 64})), .indices = m.input({1, 8}, DType::int32), .axis = 0});
     }},
    {"hollance/neural-engine: windows up to 13", "M1", "max_pool", false,
     [](Graph& m) {
       return m.g.add(
           mil::max_pool{.x = image(m), .kernel_sizes = Ints{15, 15}, .strides = Ints{1, 1}, .pad_type = "valid"});
     }},
    {"hollance/neural-engine: windows up to 13", "M1", "max_pool", true,
     [](Graph& m) {
       return m.g.add(
           mil::max_pool{.x = image(m), .kernel_sizes = Ints{3, 3}, .strides = Ints{2, 2}, .pad_type = "valid"});
     }},
};

TEST(Published, NineOfTenAgree) {
  std::size_t all = 0, agreeing = 0;
  std::string differing;
  for (const Seen& row : seen) {
    Graph m;
    Value result = row.make(m);
    ASSERT_TRUE(m.g.status()) << row.source << ": " << m.g.status().error().what;
    m.function->body.set_results({result});
    PlaceOptions options;
    options.chip = find_chip(row.chip);
    auto placement = place(*m.function, options);
    ASSERT_TRUE(placement);
    bool found = false;
    for (const OpPlacement& op : placement->ops) {
      if (op.node->op->name != row.op) continue;
      found = true;
      ++all;
      bool taken = runs(op.verdicts[std::size_t(Engine::ane)]);
      agreeing += taken == row.taken;
      if (taken != row.taken) differing += std::string(row.op) + " (" + row.source + "); ";
    }
    EXPECT_TRUE(found) << row.source;
  }
  EXPECT_GE(all, 22u);
  EXPECT_GE(double(agreeing), 0.9 * double(all)) << differing;
}

}  // namespace
}  // namespace pomona::silicon
