// Published placements, each with its source, and every rule provoked by a program.
#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ops/activation.h"
#include "ops/constexpr.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/image.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/recurrent.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "silicon/check.h"
#include "silicon/error_text.h"
#include "silicon/placement.h"

namespace pomona::silicon {
namespace {

Tensor zeros(Sizes sizes, DType dtype = DType::fp16) { return Tensor(dtype, std::move(sizes)); }

struct Made {
  Program program;
  Function* function;
  Builder g;
  Made() : function(&program.add_function("main", Target::iOS18)), g(*function) {}
  Value input(Shape shape, DType dtype = DType::fp16) {
    return function->body.add_input("x" + std::to_string(function->body.input_count()),
                                    tensor_type(dtype, std::move(shape)));
  }
  Placement placed(Value result, std::string_view chip = "M4", Units units = Units::all) {
    EXPECT_TRUE(g.status()) << g.status().error().what;
    function->body.set_results({result});
    PlaceOptions options;
    options.chip = find_chip(chip);
    options.units = units;
    return *place(*function, options);
  }
};

const OpPlacement& op_named(const Placement& p, std::string_view op) {
  for (const OpPlacement& each : p.ops)
    if (each.node->op->name == op) return each;
  ADD_FAILURE() << "no " << op;
  return p.ops[0];
}

bool fired(const OpPlacement& op, std::string_view id) {
  for (const PlacementRule* rule : op.rules)
    if (rule->id == id) return true;
  return false;
}

// A convolution with enough work to be worth starting the engine for.
Value heavy_conv(Made& m, Value x, std::int64_t channels = 256) {
  return m.g.add(
      mil::conv{.x = x, .weight = m.g.constant(zeros({channels, x.shape()[1].value(), 3, 3})), .pad_type = "same"});
}

TEST(Published, DetectorTailLeavesTheEngine) {  // rf-detr pull request 1495: top-k and gather are the boundary
  Made m;
  Value x = heavy_conv(m, m.input({1, 256, 64, 64}));
  x = heavy_conv(m, x);
  Value flat = m.g.add(mil::reshape{.x = x, .shape = m.g.ints({1, 256, 4096})});
  Values top = m.g.add_all(mil::topk{.x = flat, .k = 100});
  Placement p = m.placed(top[0]);
  EXPECT_EQ(op_named(p, "conv").engine, Engine::ane);
  EXPECT_NE(op_named(p, "topk").engine, Engine::ane);
  EXPECT_TRUE(fired(op_named(p, "topk"), "ane.sorting"));
}

TEST(Published, TinyGraphsStayOnTheCpu) {  // Meridian: 217 of 217 ops eligible, none placed on the Neural Engine
  Made m;
  Value x = m.input({1, 64});
  for (int i = 0; i < 20; ++i) {
    x = m.g.add(mil::linear{.x = x, .weight = m.g.constant(zeros({64, 64}))});
    x = m.g.add(mil::relu{.x = x});
  }
  Placement p = m.placed(x);
  EXPECT_EQ(p.count(Engine::ane), 0u);
  EXPECT_NE(p.note.find("small"), std::string::npos);
}

TEST(Published, StatelessPrefillIsOnTheEngine) {  // mobius pull request 77: 1918 of 1919 ops
  Made m;
  Value x = m.input({1, 1024, 1, 64});
  for (int layer = 0; layer < 8; ++layer) {
    Value h = m.g.add(mil::conv{.x = x, .weight = m.g.constant(zeros({4096, 1024, 1, 1}))});
    h = m.g.add(mil::silu{.x = h});
    h = m.g.add(mil::conv{.x = h, .weight = m.g.constant(zeros({1024, 4096, 1, 1}))});
    x = m.g.add(mil::add{.x = x, .y = h});
  }
  Placement p = m.placed(x);
  EXPECT_EQ(p.count(Engine::ane), p.counted());
}

TEST(Published, BlockwiseInt4IsNotForTheEngine) {  // coremltools issue 2510; stablehlo-coreml issue 110
  Made m;
  Value x = m.input({64, 2048});
  for (int i = 0; i < 4; ++i) {
    Value w = m.g.add(mil::constexpr_blockwise_shift_scale{.data = m.g.constant(zeros({2048, 2048}, DType::int4)),
                                                           .scale = m.g.constant(zeros({2048, 64}))});
    x = m.g.add(mil::linear{.x = x, .weight = w});
  }
  Placement p = m.placed(x);
  EXPECT_EQ(p.count(Engine::ane), 0u);
  EXPECT_TRUE(fired(op_named(p, "linear"), "ane.per_block"));
}

TEST(Published, GridSampleAndRecurrentLayers) {  // coremltools issue 1875
  Made m;
  Value x = heavy_conv(m, m.input({1, 256, 64, 64}));
  Value grid = m.input({1, 64, 64, 2});
  Value y = m.g.add(mil::resample{.x = x,
                                  .coordinates = grid,
                                  .sampling_mode = "bilinear",
                                  .padding_mode = "constant",
                                  .padding_value = 0.0,
                                  .coordinates_mode = "normalized_minus_one_to_one",
                                  .align_corners = false});
  y = heavy_conv(m, y);
  Placement p = m.placed(y);
  EXPECT_NE(op_named(p, "resample").engine, Engine::ane);
  ASSERT_EQ(p.breaks.size(), 1u);
  EXPECT_EQ(p.breaks[0].rule->id, "ane.sampling");
}

TEST(Published, LongAxes) {  // onnxruntime issue 19543; ANEForge: 65,536 from the A16 class on
  for (auto [chip, can] : {std::pair{"M1", false}, std::pair{"M4", true}}) {
    Made m;
    Value x = m.input({1, 32, 1, 20000});
    for (int i = 0; i < 12; ++i) x = m.g.add(mil::conv{.x = x, .weight = m.g.constant(zeros({32, 32, 1, 1}))});
    Placement p = m.placed(x, chip, Units::cpu_ne);
    EXPECT_EQ(p.count(Engine::ane) > 0, can) << chip;
  }
}

TEST(Placement, SinglePrecisionAndRangesStayOff) {
  Made m;
  Value x = heavy_conv(m, m.input({1, 256, 64, 64}));
  Made wide;
  Value y = wide.g.add(mil::conv{.x = wide.input({1, 256, 64, 64}, DType::fp32),
                                 .weight = wide.g.constant(zeros({256, 256, 3, 3}, DType::fp32))});
  EXPECT_EQ(m.placed(heavy_conv(m, x)).count(Engine::ane), 2u);
  EXPECT_EQ(wide.placed(y).count(Engine::ane), 0u);
  Made open;
  Value z = heavy_conv(open, open.input({1, 256, Dim::named("h"), 64}));
  Placement p = open.placed(z);
  EXPECT_TRUE(fired(p.ops[0], "ane.flexible"));
}

TEST(Placement, UnitsAreKept) {
  Made m;
  Value x = heavy_conv(m, m.input({1, 256, 64, 64}));
  x = heavy_conv(m, x);
  EXPECT_EQ(m.placed(x, "M4", Units::cpu).count(Engine::cpu), 2u);
  EXPECT_EQ(m.placed(x, "M4", Units::cpu_gpu).count(Engine::ane), 0u);
  EXPECT_EQ(m.placed(x, "M4", Units::cpu_ne).count(Engine::gpu), 0u);
}

TEST(Placement, MemoryCountsWhatIsAliveTogether) {
  Made m;
  Value x = m.input({1024});
  Value a = m.g.add(mil::relu{.x = x}), b = m.g.add(mil::sigmoid{.x = a});
  Value c = m.g.add(mil::add{.x = a, .y = b});
  Placement p = m.placed(c);
  // a, b and c of 2 kB each, when c is made.
  EXPECT_EQ(p.memory.activations, 3u * 2048);
}

TEST(Rules, HaveSourcesAndUniqueNames) {
  std::set<std::string_view> names;
  for (const PlacementRule& rule : placement_rules()) {
    EXPECT_TRUE(names.insert(rule.id).second) << rule.id;
    EXPECT_FALSE(rule.source.empty()) << rule.id;
    EXPECT_TRUE(rule.confidence >= 'A' && rule.confidence <= 'C') << rule.id;
  }
  EXPECT_GE(names.size(), 35u);
}

TEST(Rules, StridesAndKernels) {
  Made m;
  Value x = m.input({1, 64, 80, 80});
  Value odd = m.g.add(mil::conv{.x = x, .weight = m.g.constant(zeros({64, 64, 5, 5})), .strides = Ints{5, 5}});
  Value wide = m.g.add(mil::conv{.x = x, .weight = m.g.constant(zeros({64, 64, 1, 17}))});
  m.function->body.set_results({odd, wide});
  Placement p = m.placed(odd);
  EXPECT_TRUE(fired(p.ops[0], "ane.stride"));
  EXPECT_FALSE(fired(p.ops[1], "ane.stride"));
  EXPECT_TRUE(fired(p.ops[1], "ane.kernel"));
}

TEST(Checks, SayWhatWillGoWrong) {
  Made m;
  Value x = m.input({4}, DType::int32);
  Value rows = m.g.add(mil::gather{.x = m.g.constant(zeros({70000, 8})), .indices = x});
  Tensor mask =
      Tensor::from_numbers(DType::fp16, {4, 8}, std::vector<double>(32, -std::numeric_limits<double>::infinity()));
  Value y = m.g.add(mil::add{.x = rows, .y = m.g.constant(mask)});
  Value w = m.g.add(mil::constexpr_blockwise_shift_scale{.data = m.g.constant(zeros({64, 8}, DType::int4)),
                                                         .scale = m.g.constant(zeros({64, 2}))});
  Value z = m.g.add(mil::linear{.x = y, .weight = w});
  ASSERT_TRUE(m.g.status()) << m.g.status().error().what;
  m.function->body.set_results({z});
  std::set<std::string> found;
  for (const Concern& c : concerns_of({m.program, Target::iOS16, *find_chip("M4")})) found.insert(std::string(c.check));
  for (const char* check : {"gather.rows", "mask", "weights.blocks", "opset"}) EXPECT_TRUE(found.count(check)) << check;
  Made well;
  well.placed(well.g.add(mil::relu{.x = well.input({4})}));
  EXPECT_TRUE(concerns_of({well.program, Target::iOS18, *find_chip("M4")}).empty());
}

TEST(ErrorTexts, AreExplained) {
  ASSERT_EQ(explain("Error: Weight file size (2525476480 bytes) exceeds the maximum (2147483648 bytes)").size(), 1u);
  EXPECT_TRUE(explain("all is well").empty());
}

}  // namespace
}  // namespace pomona::silicon
