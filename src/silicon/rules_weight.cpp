#include "ir/op.h"
#include "silicon/rule.h"

namespace pomona::silicon {
namespace {

bool multiplies(const RuleAt& at) { return at.is_any_of({"linear", "matmul", "conv", "conv_transpose"}); }

const Node* decoder_of_weight(const RuleAt& at) {
  if (!multiplies(at)) return nullptr;
  for (std::string_view field : {"weight", "y", "x"})
    if (Value operand = at.operand(field))
      if (const Node* decoder = RuleAt::decoder(operand)) return decoder;
  return nullptr;
}

// Tables of their own for groups of channels.
std::int64_t table_count(const Node& decoder) {
  Value table = decoder.op->name == "constexpr_lut_to_dense" ? decoder.input("lut") : Value();
  if (!table || !all_known(table.shape()) || table.rank() < 2) return 1;
  std::int64_t count = 1;
  for (std::size_t i = 0; i + 2 < table.rank(); ++i) count *= table.shape()[i].value();
  return count;
}

const PlacementRule table[] = {
    {"ane.per_block", Engine::ane, Verdict::cannot, 'B',
     "the Neural Engine takes one scale per tensor or per channel, not per block",
     "compress with --granularity per_channel, or with look-up tables",
     "coremltools issue 2510 ('ANE only support per-cout/per-tensor quantization'); executorch llama readme",
     [](const RuleAt& at) {
       const Node* decoder = decoder_of_weight(at);
       return decoder && scales_blocks(*decoder);
     }},
    {"ane.linear_quantised", Engine::ane, Verdict::unlikely, 'C',
     "a compute plan on M4 showed linearly quantised weights on the CPU only; other reports have them on the engine",
     "look-up tables are the surer form for the Neural Engine", "stablehlo-coreml issue 110",
     [](const RuleAt& at) {
       const Node* decoder = decoder_of_weight(at);
       return decoder && decoder->op->name == "constexpr_blockwise_shift_scale" && !scales_blocks(*decoder) &&
              info(decoder->input("data").dtype()).bits < 8;
     }},
    {"ane.many_tables", Engine::ane, Verdict::prefers, 'A',
     "more tables make the Neural Engine slower; groups of 8 or 16 channels still gain",
     "compress with --group-size 16 or more", "Apple, Core ML Tools guide, palettization performance",
     [](const RuleAt& at) {
       const Node* decoder = decoder_of_weight(at);
       if (!decoder) return false;
       std::int64_t tables = table_count(*decoder);
       const Shape& shape = decoder->output().shape();
       return tables > 1 && !shape.empty() && shape[0].known() && shape[0].value() / tables < 8;
     }},
    {"gpu.activations", Engine::gpu, Verdict::prefers, 'A', "quantised activations slow the GPU and the CPU down",
     "use them where all runs on the Neural Engine", "Apple, Core ML Tools guide, quantization performance",
     [](const RuleAt& at) { return at.is_any_of({"quantize", "dequantize"}); }},
    {"ane.activations", Engine::ane, Verdict::prefers, 'A',
     "quantised activations run faster only on A17 Pro and M4 or later", "",
     "Apple, Core ML Tools guide, quantization performance",
     [](const RuleAt& at) { return at.is_any_of({"quantize", "dequantize"}) && at.chip.generation < 4; }},
};

}  // namespace

bool scales_blocks(const Node& decoder) {
  if (decoder.op->name != "constexpr_blockwise_shift_scale") return false;
  int axes = 0;
  for (Dim size : decoder.input("scale").shape()) axes += !(size == 1);
  return axes > 1;
}

std::span<const PlacementRule> weight_rules() { return table; }

}  // namespace pomona::silicon
