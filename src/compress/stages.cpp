#include "compress/stages.h"

#include <algorithm>
#include <cstring>

#include "ir/builder.h"
#include "ops/constexpr.h"

namespace pomona::compress {
namespace {

// The codes where the mask is one, in a row.
Weight selected(const Weight& codes, const Weight& mask, std::int64_t ones) {
  return Weight::derived({"where the mask is one",
                          codes.dtype(),
                          {ones},
                          {codes, mask},
                          [ones](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor out(in[0].dtype(), {ones});
                            std::size_t width = element_size_bytes(in[0].dtype()), kept = 0;
                            const std::uint8_t* from = in[0].data();
                            const std::uint8_t* is_one = in[1].data();
                            std::uint8_t* to = out.mutable_data();
                            for (std::size_t i = 0; i < in[1].count(); ++i)
                              if (is_one[i] && kept < std::size_t(ones))
                                std::memcpy(to + kept++ * width, from + i * width, width);
                            POM_REQUIRE(kept == std::size_t(ones), "{} elements were kept instead of {}", kept, ones);
                            return out;
                          }});
}

Result<Stage> sparse_stage(const Stage& dense, const Weight& mask, std::int64_t ones) {
  auto pick = [&](std::string_view field) { return selected(dense.part(field)->weight, mask, ones); };
  if (dense.op == &def<mil::constexpr_blockwise_shift_scale>()) {
    std::vector<std::pair<std::string, Part>> parts{
        {"data_mask", mask}, {"nonzero_data", pick("data")}, {"scale", *dense.part("scale")}};
    if (const Part* offset = dense.part("offset")) parts.emplace_back("offset", *offset);
    return stage<mil::constexpr_sparse_blockwise_shift_scale>(std::move(parts));
  }
  POM_REQUIRE(dense.op == &def<mil::constexpr_lut_to_dense>(), "there is no sparse form of {}", dense.op->name);
  return stage<mil::constexpr_lut_to_sparse>(
      {{"indices_mask", mask}, {"indices_nonzero_data", pick("indices")}, {"lut", *dense.part("lut")}});
}

}  // namespace

const Part* Stage::part(std::string_view field) const {
  for (const auto& [name, part] : parts)
    if (name == field) return &part;
  return nullptr;
}

Stage make_stage(const OpDef& op, std::vector<std::pair<std::string, Part>> parts,
                 const std::vector<std::pair<std::string, Attribute>>& attributes) {
  Stage stage{&op, op.defaults, std::move(parts)};
  for (const auto& [name, value] : attributes) stage.attributes[*op.attribute_index(name)] = value;
  return stage;
}

Result<Value> build(const Encoded& encoded, Node& node) {
  Value before = node.output();
  Builder g(*node.block(), &node);
  g.source = node.source;
  std::vector<Values> made;
  for (const Stage& stage : encoded.stages) {
    Values inputs;
    std::vector<std::uint32_t> counts;
    for (const FieldInfo* field : stage.op->inputs) {
      const Part* part = stage.part(field->name);
      counts.push_back(part ? 1 : 0);
      if (part) inputs.push_back(part->weight ? g.constant(part->weight) : made[part->stage][part->output]);
    }
    bool last = &stage == &encoded.stages.back();
    made.push_back(
        g.add_call(*stage.op, stage.attributes, std::move(inputs), std::move(counts), last ? node.name : ""));
    POM_TRY(Status(g.status()));
  }
  Value after = made.back().back();
  POM_REQUIRE(after.type() == before.type(), "{} became {}", before.type().text(), after.type().text());
  after.set_name(before.name());
  return after;
}

Result<Tensor> decode(const Encoded& encoded, Target opset) {
  std::vector<Tensors> made;
  for (const Stage& stage : encoded.stages) {
    Tensors inputs;
    for (const FieldInfo* field : stage.op->inputs)
      if (const Part* part = stage.part(field->name))
        inputs.push_back(part->weight ? POM_TRY(part->weight.materialise()) : made[part->stage][part->output]);
    std::vector<Type> types;
    for (const Tensor& tensor : inputs) types.push_back(tensor.type());
    std::vector<std::vector<Operand>> operands;
    std::size_t next = 0;
    for (const FieldInfo* field : stage.op->inputs) {
      std::vector<Operand>& of_field = operands.emplace_back();
      if (stage.part(field->name)) of_field.push_back({{}, &types[next], &inputs[next]}), ++next;
    }
    made.push_back(POM_TRY(stage.op->eval(*stage.op, stage.attributes, operands, {opset, nullptr, nullptr})));
  }
  POM_REQUIRE(!made.empty(), "there is nothing to decode");
  return made.back().back();
}

Status make_sparse(Encoded& encoded, const Weight& mask, std::int64_t ones) {
  for (std::size_t i = 0; i < encoded.stages.size(); ++i) {
    bool codes = encoded.stages[i].op == &def<mil::constexpr_lut_to_dense>() ||
                 (encoded.stages[i].op == &def<mil::constexpr_blockwise_shift_scale>() &&
                  encoded.stages[i].part("data")->weight.sizes() == mask.sizes());
    if (!codes) continue;
    POM_REQUIRE(i + 1 == encoded.stages.size(), "there is no sparse form of {} behind it",
                encoded.stages.back().op->name);
    encoded.stages[i] = POM_TRY(sparse_stage(encoded.stages[i], mask, ones));
    encoded.add(stage<mil::constexpr_sparse_to_dense>({{"nonzero_data", Part(i, 1)}, {"mask", Part(i, 0)}}));
    return {};
  }
  return fail("there is no sparse form of it");
}

}  // namespace pomona::compress
