// Which operations others saw the Neural Engine take, an operation and a source a row: nine of ten have to agree. Those
// that do not are listed, with the reason, in docs/chips.md; a test holds that list.
#include <gtest/gtest.h>

#include <set>

#include "ir/builder.h"
#include "ir/op.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/catalogue.h"
#include "ops/constexpr.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/image.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/shape.h"
#include "ops/state.h"
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

Value quantised_conv(Graph& m, DType dtype) {
  Value w = m.g.add(mil::constexpr_blockwise_shift_scale{.data = m.g.constant(zeros({64, 64, 1, 1}, dtype)),
                                                         .scale = m.g.constant(zeros({64, 1, 1, 1}))});
  return m.g.add(mil::conv{.x = image(m), .weight = w});
}
Value palettised(Graph& m, std::int64_t stride) {
  Value w = m.g.add(mil::constexpr_lut_to_dense{.indices = m.g.constant(zeros({64, 64, 3, 3}, DType::uint4)),
                                                .lut = m.g.constant(zeros({1, 1, 1, 1, 16, 1}))});
  return m.g.add(mil::conv{.x = image(m), .weight = w, .strides = Ints{stride, stride}});
}
Value pooled(Graph& m, std::int64_t kernel, std::int64_t stride) {
  return m.g.add(mil::avg_pool{
      .x = image(m), .kernel_sizes = Ints{kernel, kernel}, .strides = Ints{stride, stride}, .pad_type = "valid"});
}
Value computed_weight(Graph& m, std::int64_t batch) {
  return m.g.add(mil::conv{.x = m.input({batch, 64, 32, 32}), .weight = m.input({64, 64, 3, 3})});
}
Value cached(Graph& m, int states, std::int64_t length) {
  Value sum;
  for (int i = 0; i < states; ++i) {
    Type type = tensor_type(DType::fp16, {1, 8, 64, length});
    type.kind = Type::Kind::state;
    Value read = m.g.add(mil::read_state{.input = m.function->body.add_input("s" + std::to_string(i), type)});
    sum = sum ? m.g.add(mil::add{.x = sum, .y = read}) : m.g.add(mil::relu{.x = read});
  }
  return sum;
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
    {"rf-detr pull request 1495", "M4", "gather_along_axis", false,
     [](Graph& m) {
       return m.g.add(
           mil::gather_along_axis{.x = m.input({1, 300, 4}), .indices = m.input({1, 100, 4}, DType::int32), .axis = 1});
     }},
    {"mobius pull request 77: stateful decoding, -14", "M4", "slice_update", false,
     [](Graph& m) {
       return m.g.add(mil::slice_update{.x = image(m),
                                        .update = m.input({1, 64, 1, 64}),
                                        .begin = m.g.ints({0, 0, 3, 0}),
                                        .end = m.g.ints({1, 64, 4, 64})});
     }},
    {"coremltools issue 2631: 256 works", "M4", "read_state", true, [](Graph& m) { return cached(m, 1, 256); }},
    {"coremltools issue 2631: 270 fails", "M4", "read_state", false, [](Graph& m) { return cached(m, 1, 270); }},
    {"CoreML-LLM: two states, 0x1d", "M4", "read_state", false, [](Graph& m) { return cached(m, 2, 256); }},
    {"CoreML-LLM: cut and joined anew, -14", "M4", "concat", false,
     [](Graph& m) {
       Value cache = m.input({1, 8, 256, 64});
       Value kept = m.g.add(mil::slice_by_index{
           .x = cache, .begin = m.g.ints({0, 0, 1, 0}), .end = m.g.ints({1, 8, 256, 64})});
       return m.g.add(mil::concat{.values = Values{kept, m.input({1, 8, 1, 64})}, .axis = 2});
     }},
    {"CoreML-LLM: a ring under a mask works", "M4", "mul", true,
     [](Graph& m) { return m.g.add(mil::mul{.x = m.input({1, 8, 256, 64}), .y = m.input({1, 1, 256, 1})}); }},
    {"CoreML-LLM: depthwise 1x3 over 1024 channels", "M4", "conv", false,
     [](Graph& m) {
       return m.g.add(
           mil::conv{.x = m.input({1, 1024, 1, 64}), .weight = m.g.constant(zeros({1024, 1, 1, 3})), .groups = 1024});
     }},
    {"stablehlo-coreml issue 110: int8 on the CPU only", "M4", "conv", false,
     [](Graph& m) { return quantised_conv(m, DType::int8); }},
    {"stablehlo-coreml issue 110: int4 on the CPU only", "M4", "conv", false,
     [](Graph& m) { return quantised_conv(m, DType::int4); }},
    {"stablehlo-coreml issue 110: int4 on the CPU only", "M4", "matmul", false,
     [](Graph& m) {
       Value w = m.g.add(mil::constexpr_blockwise_shift_scale{.data = m.g.constant(zeros({512, 512}, DType::int4)),
                                                              .scale = m.g.constant(zeros({512, 1}))});
       return m.g.add(mil::matmul{.x = m.input({64, 512}), .y = w});
     }},
    {"executorch llama readme: channelwise", "M4", "conv", true, [](Graph& m) { return quantised_conv(m, DType::int8); }},
    {"Apple, coreai-models guidance: int4 per channel", "M4", "conv", true,
     [](Graph& m) { return quantised_conv(m, DType::int4); }},
    {"Apple, palettization overview", "M4", "conv", true, [](Graph& m) { return palettised(m, 1); }},
    {"Apple, neural_engine_rules.md: tables with strides up to 2", "M4", "conv", true,
     [](Graph& m) { return palettised(m, 2); }},
    {"Apple, neural_engine_rules.md: tables with strides up to 2", "M4", "conv", false,
     [](Graph& m) { return palettised(m, 3); }},
    {"Apple, neural_engine_rules.md: ranges go elsewhere", "M4", "relu", false,
     [](Graph& m) { return m.g.add(mil::relu{.x = m.input({1, 64, Dim::named("n"), 64})}); }},
    {"executorch's partitioner: enumerated shapes stay", "M4", "relu", true,
     [](Graph& m) {
       Feature listed;
       listed.name = "x0";
       listed.enumerated = {{1, 64, 32, 64}, {1, 64, 64, 64}};
       m.function->inputs.push_back(listed);
       return m.g.add(mil::relu{.x = m.input({1, 64, Dim::named("n"), 64})});
     }},
    {"Apple, neural_engine_rules.md: strides of 2 and 3", "M4", "conv", true,
     [](Graph& m) { return convolution(m, {64, 64, 3, 3}, {12, 12}); }},
    {"Apple, neural_engine_rules.md: strides of 2 and 3", "M4", "conv", true,
     [](Graph& m) { return convolution(m, {64, 64, 3, 3}, {32, 24}); }},
    {"Apple, neural_engine_rules.md: strides of 2 and 3", "M4", "conv", false,
     [](Graph& m) { return convolution(m, {64, 64, 7, 7}, {7, 7}); }},
    {"Apple, neural_engine_rules.md: pooling strides", "M4", "avg_pool", true, [](Graph& m) { return pooled(m, 4, 4); }},
    {"Apple, neural_engine_rules.md: pooling strides", "M4", "avg_pool", false, [](Graph& m) { return pooled(m, 3, 3); }},
    {"ANEForge: kernels up to 13 on M1", "M1", "conv", true,
     [](Graph& m) { return convolution(m, {64, 64, 1, 13}, {1, 1}); }},
    {"ANEForge: kernels up to 13 on M1", "M1", "conv", false,
     [](Graph& m) { return convolution(m, {64, 64, 1, 15}, {1, 1}); }},
    {"ANEForge: kernels up to 15", "M4", "conv", true, [](Graph& m) { return convolution(m, {64, 64, 1, 15}, {1, 1}); }},
    {"ANEForge: computed weights take batch 1", "M4", "conv", true, [](Graph& m) { return computed_weight(m, 1); }},
    {"ANEForge: computed weights take batch 1", "M4", "conv", false, [](Graph& m) { return computed_weight(m, 2); }},
    {"ANEForge: 65,536 from the A16 class on", "M4", "relu", false,
     [](Graph& m) { return m.g.add(mil::relu{.x = m.input({1, 8, 1, 70000})}); }},
    {"ANEForge: 16,384 before", "M3", "relu", true,
     [](Graph& m) { return m.g.add(mil::relu{.x = m.input({1, 8, 1, 16384})}); }},
    {"larql pull request 312: depth", "M4", "matmul", true,
     [](Graph& m) { return m.g.add(mil::matmul{.x = m.input({64, 16384}), .y = m.input({16384, 64})}); }},
    {"larql pull request 312: depth", "M4", "matmul", false,
     [](Graph& m) { return m.g.add(mil::matmul{.x = m.input({64, 20000}), .y = m.input({20000, 64})}); }},
    {"ANEForge: slices by data on M1", "M1", "slice_by_size", false,
     [](Graph& m) {
       return m.g.add(mil::slice_by_size{
           .x = image(m), .begin = m.input({4}, DType::int32), .size = m.g.ints({1, 64, 8, 64})});
     }},
    {"executorch llama readme and issue 15833: rank 5", "M4", "scaled_dot_product_attention", false,
     [](Graph& m) {
       Shape shape{1, 2, 32, 1024, 64};
       return m.g.add(
           mil::scaled_dot_product_attention{.query = m.input(shape), .key = m.input(shape), .value = m.input(shape)});
     }},
    {"Apple, common_issues.md: gather_nd", "M4", "gather_nd", false,
     [](Graph& m) {
       return m.g.add(mil::gather_nd{.x = m.input({512, 64}), .indices = m.input({8, 1}, DType::int32)});
     }},
    {"community notes: int32 data", "M4", "add", false,
     [](Graph& m) {
       Shape shape{1, 64, 64};
       return m.g.add(mil::add{.x = m.input(shape, DType::int32), .y = m.input(shape, DType::int32)});
     }},
    {"Apple, neural_engine_rules.md: exp in fp32", "M4", "exp", false,
     [](Graph& m) { return m.g.add(mil::exp{.x = m.input({1, 64, 64, 64}, DType::fp32)}); }},
    {"Apple, neural_engine_rules.md: norms stay whole", "M4", "layer_norm", true,
     [](Graph& m) { return m.g.add(mil::layer_norm{.x = m.input({1, 128, 768}), .axes = Ints{-1}}); }},
    {"hollance/neural-engine: upsampling", "M1", "upsample_nearest_neighbor", false,
     [](Graph& m) {
       return m.g.add(mil::upsample_nearest_neighbor{.x = image(m), .scale_factor_height = 4, .scale_factor_width = 4});
     }},
    {"hollance/neural-engine: upsampling", "M1", "upsample_nearest_neighbor", true,
     [](Graph& m) {
       return m.g.add(mil::upsample_nearest_neighbor{.x = image(m), .scale_factor_height = 2, .scale_factor_width = 2});
     }},
    {"hollance/neural-engine: windows up to 13", "M1", "max_pool", true,
     [](Graph& m) {
       return m.g.add(
           mil::max_pool{.x = image(m), .kernel_sizes = Ints{3, 3}, .strides = Ints{2, 2}, .pad_type = "valid"});
     }},
};

// Ops that reports name without a shape: the verdict on a node that has none.
struct Named {
  const char* source;
  const char* chip;
  bool taken;
  std::vector<std::string_view> ops;
};
const Named named[] = {
    {"coremltools issue 1875; ANEForge; ane-probe",
     "M4",
     false,
     {"resample",
      "non_zero",
      "scatter",
      "scatter_nd",
      "scatter_along_axis",
      "cumsum",
      "lstm",
      "gru",
      "rnn",
      "cond",
      "while_loop",
      "random_normal",
      "random_uniform",
      "random_bernoulli",
      "reduce_prod",
      "sliding_windows",
      "logical_and",
      "logical_or",
      "logical_xor",
      "asin",
      "acos",
      "atan",
      "sinh",
      "cosh",
      "atanh",
      "non_maximum_suppression",
      "gather_nd"}},
    {"ANEForge", "M1", false, {"topk", "argsort", "sin", "cos"}},
    {"hollance/neural-engine: from the A14 class on", "M1", true, {"crop_resize", "affine"}},
    {"ane-probe; mobius pull request 77", "M4", true, {"add",         "sub",
                                                       "mul",         "real_div",
                                                       "maximum",     "minimum",
                                                       "relu",        "sigmoid",
                                                       "tanh",        "gelu",
                                                       "silu",        "softmax",
                                                       "exp",         "sqrt",
                                                       "rsqrt",       "reduce_sum",
                                                       "reduce_mean", "reduce_max",
                                                       "layer_norm",  "concat",
                                                       "split",       "transpose",
                                                       "reshape",     "slice_by_index",
                                                       "conv",        "conv_transpose",
                                                       "linear",      "matmul",
                                                       "avg_pool",    "max_pool",
                                                       "pad"}},
};

bool takes(const OpDef& op, const Chip& chip) {
  Program program;
  Function& function = program.add_function("main", Target::iOS18);
  Node& node = function.body.insert(&op);
  node.attributes = op.defaults;
  node.set_inputs({}, std::vector<std::uint32_t>(op.inputs.size(), 0));
  node.set_output_types({tensor_type(DType::fp16, {1})});
  std::vector<Sizes> sizes;
  RuleAt at{node, chip, Target::iOS18, false, false, sizes};
  Verdict verdict = Verdict::can;
  for (const PlacementRule& rule : placement_rules())
    if (rule.engine == Engine::ane && rule.matches(at)) verdict = std::max(verdict, rule.verdict);
  return runs(verdict);
}

struct Agreement {
  std::size_t all = 0, agreeing = 0;
  std::set<std::string> differing;
  void add(std::string_view op, const std::string& source, bool agrees) {
    ++all;
    agreeing += agrees;
    if (!agrees) differing.insert(std::string(op) + " (" + source + ")");
  }
};

void hold(const Seen& row, Agreement& agreement) {
  Graph m;
  Value result = row.make(m);
  ASSERT_TRUE(m.g.status()) << row.source << ": " << m.g.status().error().what;
  m.function->body.set_results({result});
  PlaceOptions options;
  options.chip = find_chip(row.chip);
  auto placement = place(*m.function, options);
  ASSERT_TRUE(placement);
  for (const OpPlacement& op : placement->ops)
    if (op.node->op->name == row.op)
      return agreement.add(row.op, row.source, runs(op.verdicts[std::size_t(Engine::ane)]) == row.taken);
  ADD_FAILURE() << row.source << ": no " << row.op;
}

TEST(Published, NineOfTenAgree) {
  Agreement agreement;
  for (const Seen& row : seen) hold(row, agreement);
  for (const Named& row : named)
    for (std::string_view name : row.ops) {
      const OpDef* op = mil::find_op(name, Target::iOS18);
      ASSERT_TRUE(op) << name;
      agreement.add(name, row.source, takes(*op, *find_chip(row.chip)) == row.taken);
    }
  EXPECT_GE(agreement.all, 120u);
  EXPECT_GE(double(agreement.agreeing), 0.9 * double(agreement.all));
  RecordProperty("rows", int(agreement.all));
  RecordProperty("agreeing", int(agreement.agreeing));
  // Apple says that scales per channel suit the engine, one compute plan had them on the CPU: the rules follow Apple
  // for 8 bits and the plan for 4, so that one of each pair differs.
  EXPECT_EQ(agreement.differing, (std::set<std::string>{
                                     "linear (stablehlo-coreml issue 110: int8 on the CPU only)",
                                     "conv (stablehlo-coreml issue 110: int8 on the CPU only)",
                                     "conv (Apple, coreai-models guidance: int4 per channel)",
                                 }));
}

// ane-probe asked M4 for 130 ops and found 100 supported.
TEST(Published, AsManyOpsAsAProbeFound) {
  std::size_t all = 0, taken = 0;
  std::set<std::string_view> seen_names;
  for (const OpDef* op : mil::catalogue()) {
    bool outside = op->constexpr_op || op->structural || op->name.find("state") != op->name.npos ||
                   op->name.find("list") != op->name.npos || !seen_names.insert(op->name).second;
    if (outside) continue;
    ++all;
    taken += takes(*op, *find_chip("M4"));
  }
  EXPECT_GE(all, 130u);
  EXPECT_NEAR(double(taken) / double(all), 100.0 / 130, 0.06) << taken << " of " << all;
}

}  // namespace
}  // namespace pomona::silicon
