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
#include "silicon/known_bad.h"
#include "silicon/placement.h"
#include "silicon/rule_book.h"

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

// Everything known is held by records that exist, or says why it is not; and every record is from what is known.
TEST(Rules, TheBookIsKept) {
  std::set<std::string> ids, checks_there, kept;
  for (const Check& check : checks()) checks_there.insert(std::string(check.id));
  for (const BookEntry& entry : rule_book()) {
    EXPECT_TRUE(ids.insert(std::string(entry.id)).second) << entry.id;
    EXPECT_TRUE(entry.confidence >= 'A' && entry.confidence <= 'C') << entry.id;
    EXPECT_TRUE(!entry.records.empty() || entry.otherwise.size() > 15) << entry.id << " has neither record nor reason";
    for (std::string_view record : entry.records) {
      std::size_t space = record.find(' ');
      std::string kind(record.substr(0, space)), name(record.substr(space + 1));
      kept.insert(name);
      bool there = kind == "rule"    ? find_rule(name) != nullptr
                   : kind == "check" ? checks_there.count(name) > 0
                   : kind == "bad"   ? is_known_bad(name)
                                     : kind == "error" && !explain(name).empty();
      EXPECT_TRUE(there) << entry.id << ": " << record;
    }
  }
  std::map<std::string, std::size_t> chapters;
  for (const std::string& id : ids) ++chapters[id.substr(0, id.find('.'))];
  EXPECT_EQ(chapters, (std::map<std::string, std::size_t>{{"format", 15},
                                                          {"system", 7},
                                                          {"weights", 13},
                                                          {"shape", 16},
                                                          {"op", 16},
                                                          {"llm", 8},
                                                          {"size", 7},
                                                          {"speed", 7},
                                                          {"error", 13}}));
  for (const PlacementRule& rule : placement_rules())
    EXPECT_TRUE(rule.engine != Engine::ane || kept.count(std::string(rule.id)) || rule.id == "cpu_only.lists")
        << rule.id;
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
  struct Pasted {
    const char *text, *means;
  };
  for (auto [text, means] : {
           Pasted{"Error: Weight file size (2525476480 bytes) exceeds the maximum (2147483648 bytes)", "2 GiB"},
           {"ANECCompile() FAILED", "compiler refuses"},
           {"E5RT: ANECCompile(model) : error code: \xe2\x88\x92"
            "14",
            "compiler refuses"},
           {"ANE compile returned status=-14 for /var/x", "compiler refuses"},
           {"Status Code = \"-14\"", "compiler refuses"},
           {"program load failed, status 0x1D", "more than one state"},
           {"IOReturn: 0x20004.", "too large"},
           {"ANE only support per-cout/per-tensor quantization", "scale per block"},
           {"Core ML only supports tensors with rank \xe2\x89\xa4 5. Layer x has rank 6", "rank 6"},
           {"CoreML does not support input dim > 16384. Input:x", "axis longer"},
           {"Cannot support standalone slice_update", "cache update"},
           {"Unsupported tensor data type:  INT32", "int32"},
           {"Unsupported gather index type", "indices are int32"},
           {"Invalid output tensor format: fp32", "fp32"},
           {"Unable to parse ML Program: Unknown opset 'CoreML8'", "older than"},
           {"in the operator set: opset CoreML9 is not known here", "older than"},
           {"The input feature k_cache must be an MLState", "as an array"},
           {"error: 'mps.dequantize' op failed to verify", "per-channel scales"},
           {"zsh: killed     python3 predict.py", "memory"},
           {"Process finished with exit code 137 (interrupted by signal 9: SIGKILL)", "memory"},
           {"Model prediction is only available on macOS", "Macs only"},
       }) {
    auto found = explain(text);
    ASSERT_EQ(found.size(), 1u) << text;
    EXPECT_NE(found[0].error->meaning.find(means), std::string_view::npos) << text;
    EXPECT_FALSE(found[0].error->advice.empty());
  }
  for (const char* text : {"all is well", "status -140", "code 0x1d4", "rank 5", ""})
    EXPECT_TRUE(explain(text).empty()) << text;
}

}  // namespace
}  // namespace pomona::silicon
