#include <algorithm>

#include "ir/op.h"
#include "silicon/rule.h"

namespace pomona::silicon {
namespace {

constexpr std::string_view engine_rules = "Apple, coreai-models neural_engine_rules.md";

Ints attribute(const RuleAt& at, std::string_view field) {
  if (!at.node.op->attribute_index(field)) return {};
  const auto* ints = std::get_if<Ints>(&at.node.attribute(field));
  return ints ? *ints : Ints{};
}

bool product_of_twos_and_threes(std::int64_t n) {
  while (n > 1 && n % 2 == 0) n /= 2;
  while (n > 1 && n % 3 == 0) n /= 3;
  return n == 1;
}

std::int64_t largest(const Ints& values) {
  return values.empty() ? 1 : *std::max_element(values.begin(), values.end());
}

bool is_conv(const RuleAt& at) { return at.is_any_of({"conv", "conv_transpose"}); }

// The kernel's spatial sizes.
Sizes kernel_of(const RuleAt& at) {
  Value weight = at.operand("weight");
  auto sizes = weight ? at.sizes_of(weight) : std::nullopt;
  return sizes && sizes->size() > 2 ? Sizes(sizes->begin() + 2, sizes->end()) : Sizes{};
}

const PlacementRule table[] = {
    {"ane.control_flow", Engine::ane, Verdict::cannot, 'B', "control flow does not run on the Neural Engine",
     "take the branch when converting, or unroll the loop", "coremltools issue 1875; ANEForge",
     [](const RuleAt& at) { return at.is_any_of({"cond", "while_loop"}); }},
    {"gpu.control_flow", Engine::gpu, Verdict::cannot, 'B', "control flow is run by the CPU", "", "ANEForge",
     [](const RuleAt& at) { return at.is_any_of({"cond", "while_loop"}); }},
    {"cpu_only.lists", Engine::ane, Verdict::cannot, 'B', "lists live on the CPU", "", "coremltools issue 1875",
     [](const RuleAt& at) { return at.op().find("list") != std::string_view::npos; }},
    {"gpu.lists", Engine::gpu, Verdict::cannot, 'B', "lists live on the CPU", "", "coremltools issue 1875",
     [](const RuleAt& at) { return at.op().find("list") != std::string_view::npos; }},
    {"ane.sorting", Engine::ane, Verdict::cannot, 'B', "sorting does not run on the Neural Engine",
     "take it out of the model's middle: what follows goes back and forth", "rf-detr pull request 1495; ANEForge (M1)",
     [](const RuleAt& at) { return at.is_any_of({"topk", "argsort"}); }},
    {"ane.gather_nd", Engine::ane, Verdict::cannot, 'A', "gather_nd is rejected by the Neural Engine",
     "use slices or gather", "Apple, coreai-models common_issues.md",
     [](const RuleAt& at) { return at.op() == "gather_nd"; }},
    {"ane.scatter", Engine::ane, Verdict::cannot, 'B', "scatter does not run on the Neural Engine",
     "use concat or a mask", "coremltools issue 1875; ANEForge",
     [](const RuleAt& at) { return at.is_any_of({"scatter", "scatter_along_axis", "scatter_nd"}); }},
    {"ane.gather", Engine::ane, Verdict::rewritten, 'B', "gather with int32 indices does not run on the Neural Engine",
     "use 16-bit indices (iOS17), or leave the embedding outside the program",
     "rf-detr pull request 1495; community notes on 'Unsupported gather index type'",
     [](const RuleAt& at) {
       Value indices = at.operand("indices");
       return at.is_any_of({"gather", "gather_along_axis"}) && indices && !indices.literal() &&
              indices.dtype() == DType::int32;
     },
     true},
    {"ane.gather.rows", Engine::ane, Verdict::cannot, 'B',
     "indices are 16 bits on the Neural Engine: a table of more than 65,535 rows breaks or leaves it",
     "leave the embedding outside the program", "executorch pull requests 7616 and 6777; coremltools issue 2222",
     [](const RuleAt& at) {
       auto sizes = at.op() == "gather" && at.operand("x") ? at.sizes_of(at.operand("x")) : std::nullopt;
       return sizes && !sizes->empty() && (*sizes)[0] > 65535;
     }},
    {"ane.recurrent", Engine::ane, Verdict::cannot, 'B', "recurrent layers do not run on the Neural Engine", "",
     "coremltools issue 1875; ANEForge", [](const RuleAt& at) { return at.is_any_of({"lstm", "gru", "rnn"}); }},
    {"gpu.recurrent", Engine::gpu, Verdict::unlikely, 'C', "recurrent layers usually run on the CPU", "", "ANEForge",
     [](const RuleAt& at) { return at.is_any_of({"lstm", "gru", "rnn"}); }},
    {"ane.off", Engine::ane, Verdict::cannot, 'B', "this operation is reported off the Neural Engine", "",
     "coremltools issue 1875; rf-detr pull request 1495; ANEForge; ane-probe; hollance/neural-engine",
     [](const RuleAt& at) {
       return at.is_any_of({"non_zero",
                            "random_bernoulli",
                            "random_categorical",
                            "random_normal",
                            "random_uniform",
                            "reduce_prod",
                            "sliding_windows",
                            "logical_and",
                            "logical_or",
                            "logical_xor",
                            "asin",
                            "acos",
                            "atan",
                            "asinh",
                            "acosh",
                            "sinh",
                            "cosh",
                            "atanh",
                            "tan",
                            "non_maximum_suppression",
                            "classify",
                            "band_part",
                            "one_hot",
                            "range_1d",
                            "reverse_sequence",
                            "inverse",
                            "fill_like",
                            "shape",
                            "argsort"});
     }},
    {"gpu.off", Engine::gpu, Verdict::cannot, 'C', "this operation is reported on the CPU only", "",
     "coremltools issue 1875; ane-probe",
     [](const RuleAt& at) {
       return at.is_any_of({"non_zero", "non_maximum_suppression", "classify", "shape", "random_categorical"});
     }},
    {"ane.running_sum", Engine::ane, Verdict::rewritten, 'B', "running sums do not run on the Neural Engine",
     "a product with a triangle of ones does", "coremltools issue 1875; ANEForge; ane-probe",
     [](const RuleAt& at) { return at.op() == "cumsum"; }, true},
    {"ane.sampling", Engine::ane, Verdict::unlikely, 'B', "sampling by a grid leaves the Neural Engine on older chips",
     "resample before the model, or use resize", "coremltools issue 1875",
     [](const RuleAt& at) { return at.op() == "resample"; }},
    {"ane.crop", Engine::ane, Verdict::cannot, 'C', "crops and affine sampling need the Neural Engine of the A14 class",
     "crop before the model", "ANEForge; hollance/neural-engine",
     [](const RuleAt& at) { return at.is_any_of({"affine", "crop_resize"}) && at.chip.ane_class < 14; }},
    {"ane.sine", Engine::ane, Verdict::cannot, 'C', "sin and cos need the Neural Engine of the A15 class",
     "give the tables as constants or inputs", "ANEForge",
     [](const RuleAt& at) { return at.is_any_of({"sin", "cos"}) && at.chip.ane_class < 15; }},
    {"ane.dynamic_slice", Engine::ane, Verdict::cannot, 'C', "slices at positions that data give are rejected on M1",
     "", "ANEForge",
     [](const RuleAt& at) {
       if (!at.is_any_of({"slice_by_index", "slice_by_size"}) || at.chip.ane_class >= 15) return false;
       Value begin = at.operand("begin");
       return begin && !begin.literal();
     }},
    {"ane.stride", Engine::ane, Verdict::rewritten, 'A', "a convolution's stride is a product of twos and threes",
     "split the convolution", engine_rules,
     [](const RuleAt& at) {
       Ints strides = attribute(at, "strides");
       return is_conv(at) && std::any_of(strides.begin(), strides.end(),
                                         [](std::int64_t s) { return s > 32 || !product_of_twos_and_threes(s); });
     },
     true},
    {"ane.stride.palettized", Engine::ane, Verdict::cannot, 'A',
     "a convolution with table weights takes strides up to 2",
     "leave this weight uncompressed, or use linear quantisation", engine_rules,
     [](const RuleAt& at) {
       Value weight = at.operand("weight");
       const Node* decoder = is_conv(at) && weight ? RuleAt::decoder(weight) : nullptr;
       return decoder && decoder->op->name == "constexpr_lut_to_dense" && largest(attribute(at, "strides")) > 2;
     }},
    {"ane.kernel", Engine::ane, Verdict::rewritten, 'C', "a convolution's kernel is at most 13 (M1) or 15 wide",
     "factor it: k = k1 + k2 - 1", "ANEForge; Apple advises against wide kernels",
     [](const RuleAt& at) { return is_conv(at) && largest(kernel_of(at)) > (at.chip.ane_class < 15 ? 13 : 15); }, true},
    {"ane.dilation", Engine::ane, Verdict::prefers, 'A', "dilations other than products of 2 and 3 are slow",
     "factor the dilation into a chain of twos and threes", engine_rules,
     [](const RuleAt& at) {
       Ints dilations = attribute(at, "dilations");
       return is_conv(at) && std::any_of(dilations.begin(), dilations.end(),
                                         [](std::int64_t d) { return !product_of_twos_and_threes(d); });
     },
     true},
    {"ane.run_time_weight", Engine::ane, Verdict::unlikely, 'C',
     "a convolution whose weight is computed takes batch 1 only", "", "ANEForge",
     [](const RuleAt& at) {
       Value weight = at.operand("weight");
       return at.op() == "conv" && weight && !weight.is_weight() && !at.sizes.empty() && at.sizes[0][0] > 1;
     }},
    {"ane.depthwise", Engine::ane, Verdict::unlikely, 'C',
     "a convolution of 1x3 over 1024 channels, each for itself, was refused", "use fewer channels per convolution",
     "CoreML-LLM (one report)",
     [](const RuleAt& at) {
       if (at.op() != "conv") return false;
       const auto* groups = std::get_if<std::int64_t>(&at.node.attribute("groups"));
       Sizes kernel = kernel_of(at);
       return groups && *groups >= 1024 && kernel.size() == 2 && kernel[0] == 1 && kernel[1] == 3;
     }},
    {"ane.pool", Engine::ane, Verdict::rewritten, 'C', "pooling windows wider than 13 are off the Neural Engine",
     "pool twice, or use reduce_mean over all", "hollance/neural-engine (old)",
     [](const RuleAt& at) {
       return at.is_any_of({"avg_pool", "max_pool", "l2_pool"}) && largest(attribute(at, "kernel_sizes")) > 13;
     },
     true},
    {"ane.pool.stride", Engine::ane, Verdict::rewritten, 'A', "pooling strides are 1, 2 or 4", "pool in two steps",
     engine_rules,
     [](const RuleAt& at) {
       Ints strides = attribute(at, "strides");
       return at.is_any_of({"avg_pool", "max_pool", "l2_pool"}) &&
              std::any_of(strides.begin(), strides.end(), [](std::int64_t s) { return s != 1 && s != 2 && s != 4; });
     },
     true},
    {"ane.upsample", Engine::ane, Verdict::unlikely, 'C', "upsampling by more than 2 is off older Neural Engines",
     "upsample twice by 2", "hollance/neural-engine (old)",
     [](const RuleAt& at) {
       if (!at.is_any_of({"upsample_nearest_neighbor", "upsample_bilinear"}) || at.chip.ane_class >= 15) return false;
       std::size_t inputs = at.node.inputs().size();
       if (at.sizes.size() <= inputs || at.sizes[0].empty()) return false;
       return at.sizes[inputs].back() > 2 * at.sizes[0].back();
     },
     true},
    {"ane.reduction_depth", Engine::ane, Verdict::unlikely, 'C', "matrix products are admitted up to a depth of 16,384",
     "split along the inner axis", "larql pull request 312",
     [](const RuleAt& at) {
       return at.is_any_of({"linear", "matmul"}) && !at.sizes.empty() && !at.sizes[0].empty() &&
              at.sizes[0].back() > 16384;
     },
     true},
    {"ane.linear", Engine::ane, Verdict::prefers, 'A',
     "layers run best as 1x1 convolutions of (batch, channels, 1, sequence)",
     "for a language model, convert with --for ane; else write the layer so",
     "Apple, neural_engine_rules.md; ml-ane-transformers",
     [](const RuleAt& at) {
       return at.op() == "linear" && !at.sizes.empty() && element_count(at.sizes[0]) >= (1 << 18);
     }},
    {"ane.innermost", Engine::ane, Verdict::prefers, 'A', "a transpose that moves the innermost dim is the dearest",
     "keep the longest axis last throughout", engine_rules,
     [](const RuleAt& at) {
       Ints perm = attribute(at, "perm");
       if (at.op() != "transpose" || perm.empty() || at.sizes.empty()) return false;
       auto last = normal_axis(perm.back(), perm.size());
       return last && *last + 1 != perm.size() && element_count(at.sizes[0]) >= (1 << 18);
     }},
    {"ane.notch", Engine::ane, Verdict::prefers, 'C',
     "weights within 16 KiB of a whole number of MiB stream at a third of the rate (seen on M4)",
     "split the layer along its inputs", "stablehlo-coreml issue 110",
     [](const RuleAt& at) {
       Value weight = at.operand("weight");
       auto sizes = at.is_any_of({"linear", "conv"}) && weight ? at.sizes_of(weight) : std::nullopt;
       if (!sizes || sizes->size() < 2 || at.chip.generation != 4) return false;
       constexpr std::int64_t mebibyte = 1 << 20, near = 16 << 10;
       std::int64_t depth = element_count(*sizes) / std::max<std::int64_t>((*sizes)[0], 1);
       std::int64_t bytes = ((*sizes)[0] + 15) / 16 * depth * 2;
       return bytes >= mebibyte - near && (bytes % mebibyte <= near || bytes % mebibyte >= mebibyte - near);
     }},
    {"ane.softmax", Engine::ane, Verdict::prefers, 'A', "softmax over a spatial axis cannot be split well",
     "put the axis into the channels", engine_rules,
     [](const RuleAt& at) {
       if (at.op() != "softmax" || at.sizes.empty()) return false;
       const auto* axis = std::get_if<std::int64_t>(&at.node.attribute("axis"));
       auto normal = axis ? normal_axis(*axis, at.sizes[0].size()) : std::nullopt;
       return normal && at.sizes[0].size() == 4 && *normal != 1 && element_count(at.sizes[0]) > (1 << 22);
     }},
};

}  // namespace

std::span<const PlacementRule> op_rules() { return table; }

}  // namespace pomona::silicon
