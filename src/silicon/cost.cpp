#include "silicon/cost.h"

#include <algorithm>

#include "ir/op.h"

namespace pomona::silicon {
namespace {

std::uint64_t bytes_of(const Sizes& sizes, DType dtype) {
  return std::uint64_t(element_count(sizes)) * std::max<std::size_t>(1, info(dtype).bits / 8);
}

// The constants that a weight is decoded from, however many steps there are.
void add_weight(Value value, OpWork& work, int depth = 0) {
  if (const Weight* literal = value.literal()) {
    work.weight_bytes += literal->stored_size();
    return;
  }
  const Node* decoder = RuleAt::decoder(value);
  if (!decoder || depth > 4) return;
  if (depth == 0) work.scheme = decoder->op->name;
  for (Value operand : decoder->inputs()) add_weight(operand, work, depth + 1);
}

double elements(const RuleAt& at, std::size_t i) {
  return i < at.sizes.size() ? double(element_count(at.sizes[i])) : 0;
}

double last(const RuleAt& at, std::size_t i, std::size_t from_back) {
  return i < at.sizes.size() && at.sizes[i].size() > from_back ? double(at.sizes[i][at.sizes[i].size() - 1 - from_back])
                                                               : 1;
}

double flops_of(const RuleAt& at) {
  std::size_t result = at.node.inputs().size();
  double out = elements(at, result);
  if (at.is_any_of({"conv", "conv_quantized"})) {
    auto weight = at.operand("weight") ? at.sizes_of(at.operand("weight")) : std::nullopt;
    return weight && !weight->empty() && (*weight)[0] > 0
               ? 2 * out * double(element_count(*weight)) / double((*weight)[0])
               : out;
  }
  if (at.op() == "conv_transpose") {
    auto weight = at.sizes_of(at.operand("weight"));
    return weight && !weight->empty() && (*weight)[0] > 0
               ? 2 * elements(at, 0) * double(element_count(*weight)) / double((*weight)[0])
               : out;
  }
  if (at.op() == "linear") return 2 * out * last(at, 0, 0);
  if (at.op() == "matmul") {
    const auto* transposed = std::get_if<bool>(&at.node.attribute("transpose_x"));
    return 2 * out * last(at, 0, transposed && *transposed ? 1 : 0);
  }
  if (at.op() == "einsum") return 2 * out * last(at, 0, 0);
  if (at.op() == "scaled_dot_product_attention") return 4 * elements(at, 0) * last(at, 1, 1);
  if (at.is_any_of({"lstm", "gru", "rnn"})) {
    double weights = 0;
    for (std::size_t i = 1; i < result; ++i) weights += elements(at, i);
    return 2 * weights * double(at.sizes.empty() || at.sizes[0].empty() ? 1 : at.sizes[0][0]);
  }
  double largest = out;
  for (std::size_t i = 0; i < result; ++i)
    largest = std::max(largest, at.node.inputs()[i].literal() ? 0 : elements(at, i));
  bool heavy =
      at.is_any_of({"softmax", "layer_norm", "instance_norm", "gelu", "erf", "exp", "tanh", "sigmoid", "silu", "pow"});
  return largest * (heavy ? 8 : 1);
}

}  // namespace

OpWork work_of(const RuleAt& at) {
  OpWork work;
  const Values& inputs = at.node.inputs();
  bool table = at.op() == "gather";
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].type().kind != Type::Kind::tensor) continue;
    if (inputs[i].is_weight()) {
      if (table && i == 0) continue;  // a few rows are read
      add_weight(inputs[i], work);
      work.decoded_weight_bytes += std::uint64_t(element_count(at.sizes[i])) * 2;
    } else if (!(table && i == 0)) {
      work.activation_bytes += bytes_of(at.sizes[i], inputs[i].dtype());
    }
    work.int8_arithmetic |= i == 0 && info(inputs[i].dtype()).bits == 8;
  }
  for (std::size_t i = 0; i < at.node.output_count(); ++i) {
    Value result = at.node.output(i);
    if (result.type().kind == Type::Kind::tensor)
      work.activation_bytes += bytes_of(at.sizes[inputs.size() + i], result.dtype());
  }
  // What only gives memory another name costs nothing.
  if (at.is_any_of({"reshape", "squeeze", "expand_dims", "identity", "reshape_like", "read_state"}))
    work.activation_bytes = 0;
  work.flops = flops_of(at);
  return work;
}

CostModel::CostModel(const PlaceOptions& options) : generation_(options.chip->generation) {
  const Chip& chip = *options.chip;
  double cores = chip.cpu_performance_cores;
  bool two_dies = chip.tier == Tier::ultra;
  // fp16 at 45 % of the advertised operations (M4: 18.6 of 38 measured, maderix; M1: 4.8 of 11, arXiv 2606.22283).
  double ane = chip.ane_tops.value_or(42) / (two_dies ? 2 : 1) * 0.45e12;
  // One evaluation costs 230 us on M1, 110 us on M5 (ANEForge; arXiv 2606.22283).
  double start = std::max(70e-6, 260e-6 - 30e-6 * generation_);
  double gpu = gpu_teraflops(chip, options.gpu_cores) * 0.8e12;
  double bytes = bandwidth_gbs(chip, options.gpu_cores) * 1e9;
  ceilings_[std::size_t(Engine::ane)] = {ane, chip.ane_gbs.value_or(chip.tier >= Tier::max ? 110 : 62) * 1e9, start,
                                         0.5e-6};
  ceilings_[std::size_t(Engine::gpu)] = {gpu, bytes * 0.85, 80e-6, 5e-6};
  // The matrix units of the performance cores; the cores reach 60 to 120 GB/s of any chip.
  ceilings_[std::size_t(Engine::cpu)] = {cores * 0.2e12, std::min(bytes * 0.8, two_dies ? 240e9 : 110e9), 3e-6, 2e-6};
}

// Which compressed forms the Neural Engine reads as they are (ANEForge): M1 tables and sparse ones, M2 int8 as well, M3
// and later blocks too. Others are decoded to fp16 when the program is loaded.
bool CostModel::streams(std::string_view scheme) const {
  if (scheme.empty() || generation_ >= 3) return true;
  bool linear = scheme == "constexpr_blockwise_shift_scale" || scheme == "constexpr_affine_dequantize";
  return !linear || generation_ >= 2;
}

double CostModel::op_seconds(const OpWork& work, Engine engine) const {
  const Ceiling& ceiling = ceilings_[std::size_t(engine)];
  bool ane = engine == Engine::ane;
  double weights = double(ane && !streams(work.scheme) ? work.decoded_weight_bytes : work.weight_bytes);
  // Activations of up to 2 MB stay in the Neural Engine's own memory.
  double activations = double(work.activation_bytes);
  if (ane && activations < 2e6) activations = 0;
  double rate = ceiling.flops * (ane && work.int8_arithmetic && generation_ >= 4 ? 1.88 : 1);
  return ceiling.op + std::max(work.flops / rate, (weights + activations) / ceiling.bytes);
}

double CostModel::switch_seconds(Engine before, Engine engine, std::uint64_t bytes) const {
  if (before == engine) return 0;
  const Ceiling& ceiling = ceilings_[std::size_t(engine)];
  return ceiling.start + 2 * double(bytes) / ceilings_[std::size_t(Engine::cpu)].bytes;
}

}  // namespace pomona::silicon
