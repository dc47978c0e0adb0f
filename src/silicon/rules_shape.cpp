#include <algorithm>

#include "ir/op.h"
#include "silicon/rule.h"

namespace pomona::silicon {
namespace {

constexpr std::string_view engine_rules = "Apple, coreai-models neural_engine_rules.md";

bool any_type(const RuleAt& at, bool (*wrong)(DType)) {
  auto is_wrong = [&](Value v) { return v && !v.literal() && v.type().kind == Type::Kind::tensor && wrong(v.dtype()); };
  for (Value input : at.node.inputs())
    if (is_wrong(input)) return true;
  for (std::size_t i = 0; i < at.node.output_count(); ++i)
    if (is_wrong(at.node.output(i))) return true;
  return false;
}

// Looks at every operand and result; constants too, as their axes count.
bool any_sizes(const RuleAt& at, bool (*wrong)(const Sizes&, const RuleAt&)) {
  return std::any_of(at.sizes.begin(), at.sizes.end(), [&](const Sizes& sizes) { return wrong(sizes, at); });
}

bool is_single(DType dtype) { return dtype == DType::fp32 || dtype == DType::fp64 || dtype == DType::bf16; }
bool is_wide_integer(DType dtype) {
  return dtype == DType::int32 || dtype == DType::uint32 || dtype == DType::int64 || dtype == DType::uint64;
}

// A shape of int32 that becomes an operand of an op that only reads sizes is no data on the engine.
bool computes_shapes(const RuleAt& at) { return at.is_any_of({"shape", "range_1d"}); }

const PlacementRule table[] = {
    {"ane.fp32", Engine::ane, Verdict::cannot, 'A', "the Neural Engine computes in fp16, int8 and int16; this is fp32",
     "convert with --precision fp16", engine_rules, [](const RuleAt& at) { return any_type(at, is_single); }},
    {"ane.int32", Engine::ane, Verdict::cannot, 'B', "the Neural Engine has no int32 data",
     "int16 or uint16 indices need iOS17", "community notes on 'Unsupported tensor data type: int32'; ANEForge",
     [](const RuleAt& at) {
       return !computes_shapes(at) && !at.is_any_of({"gather", "gather_along_axis"}) && any_type(at, is_wide_integer);
     }},
    {"ane.bool", Engine::ane, Verdict::unlikely, 'C', "bool inputs and outputs are not on the Neural Engine",
     "give masks as fp16 values", "ANEForge",
     [](const RuleAt& at) {
       auto at_border = [](Value v) { return v.dtype() == DType::boolean && !v.producer() && !v.block()->owner(); };
       return std::any_of(at.node.inputs().begin(), at.node.inputs().end(), at_border);
     }},
    {"ane.flexible", Engine::ane, Verdict::rewritten, 'A',
     "the Neural Engine wants every size fixed; this one is a range",
     "fix the shape with --input, or list the sizes with --enumerate",
     "Apple, neural_engine_rules.md; executorch's partitioner",
     [](const RuleAt& at) { return at.flexible && !at.enumerated; }, true},
    {"ane.axis", Engine::ane, Verdict::cannot, 'B',
     "an axis is longer than this Neural Engine takes (16,384; 65,536 from the A16 class on)",
     "split the layer, for a language model's head with --split-head", "ANEForge; onnxruntime issue 19543",
     [](const RuleAt& at) {
       if (at.is_any_of({"gather"})) return false;  // its table is held in memory; ane.gather.rows is about that
       return any_sizes(at, [](const Sizes& sizes, const RuleAt& rule) {
         return std::any_of(sizes.begin(), sizes.end(),
                            [&](std::int64_t size) { return size > ane_axis_limit(rule.chip); });
       });
     }},
    {"any.rank", Engine::ane, Verdict::cannot, 'A', "Core ML takes tensors of at most rank 5", "merge axes",
     "coremltools mil/program.py",
     [](const RuleAt& at) {
       return any_sizes(at, [](const Sizes& sizes, const RuleAt&) { return sizes.size() > 5; });
     }},
    {"gpu.rank", Engine::gpu, Verdict::cannot, 'A', "Core ML takes tensors of at most rank 5", "merge axes",
     "coremltools mil/program.py",
     [](const RuleAt& at) {
       return any_sizes(at, [](const Sizes& sizes, const RuleAt&) { return sizes.size() > 5; });
     }},
    {"ane.sdpa", Engine::ane, Verdict::prefers, 'A', "attention over several heads at once is not fused there",
     "write it out as products and a softmax", engine_rules,
     [](const RuleAt& at) { return at.op() == "scaled_dot_product_attention"; }, true},
    {"ane.sdpa.rank5", Engine::ane, Verdict::unlikely, 'B',
     "attention of rank 5 is slower, and on iOS 26 it lost accuracy", "write it out as products and a softmax",
     "executorch llama readme and issue 15833",
     [](const RuleAt& at) {
       return at.op() == "scaled_dot_product_attention" && !at.sizes.empty() && at.sizes[0].size() >= 5;
     },
     true},
    {"ane.sdpa.small", Engine::ane, Verdict::unlikely, 'C',
     "the attention op goes to the Neural Engine only from about 2 million elements of query, key and value each on",
     "write it out as products and a softmax", "vx-lang issue 437",
     [](const RuleAt& at) {
       if (at.op() != "scaled_dot_product_attention" || at.sizes.size() < 3) return false;
       return std::any_of(at.sizes.begin(), at.sizes.begin() + 3,
                          [](const Sizes& sizes) { return element_count(sizes) < 2'000'000; });
     },
     true},
    {"ane.last_axis", Engine::ane, Verdict::prefers, 'A',
     "a last axis of 1 is padded to 64 bytes: 32 times the memory in fp16", "put the longest axis last", engine_rules,
     [](const RuleAt& at) {
       for (std::size_t i = at.node.inputs().size(); i < at.sizes.size(); ++i)
         if (at.sizes[i].size() >= 3 && at.sizes[i].back() == 1 && element_count(at.sizes[i]) >= 16384) return true;
       return false;
     }},
};

}  // namespace

std::span<const PlacementRule> dtype_and_shape_rules() { return table; }

}  // namespace pomona::silicon
