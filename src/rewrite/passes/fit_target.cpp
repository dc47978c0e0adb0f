#include <fmt/format.h>

#include <cmath>

#include "base/bits.h"
#include "ir/builder.h"
#include "ops/attention.h"
#include "ops/constexpr.h"
#include "rewrite/passes/attention_steps.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

// Tables of iOS16 hold packed indices and a shape, those of iOS18 indices that have the shape and the width.
Weight unpacked_indices(const Weight& packed, const Sizes& sizes, DType dtype) {
  unsigned bits = info(dtype).bits;
  return Weight::derived({fmt::format("{} bits unpacked", bits),
                          dtype,
                          sizes,
                          {packed},
                          [sizes, dtype, bits](std::span<const Tensor> in) -> Result<Tensor> {
                            Tensor indices(dtype, sizes);
                            POM_REQUIRE(in[0].count() * 8 >= indices.count() * bits,
                                        "{} bytes hold no {} indices of {} bits", in[0].count(), indices.count(), bits);
                            unpack_bits(in[0].view<std::uint8_t>(), bits, indices.mutable_view<std::uint8_t>());
                            return indices;
                          }});
}

Status renew_table(Node& node, Block& block) {
  auto op = view<mil::constexpr_lut_to_dense_iOS16>(node);
  const Weight *packed = node.input("indices").literal(), *table = node.input("lut").literal();
  POM_REQUIRE(packed && table, "its indices and its table are no constants");
  std::optional<DType> dtype;
  for (DType each : {DType::uint1, DType::uint2, DType::uint4, DType::uint6, DType::uint8})
    if (std::size_t(1) << info(each).bits == table->count()) dtype = each;
  POM_REQUIRE(dtype, "its table has {} entries, which is no width of an index", table->count());
  Sizes sizes(op.shape->begin(), op.shape->end()), table_sizes(sizes.size(), 1);
  table_sizes.push_back(std::int64_t(table->count()));
  table_sizes.push_back(1);
  Tensor entries = POM_TRY(table->materialise()).reshaped(table_sizes);
  Builder g(block, &node);
  Value indices = g.constant(unpacked_indices(*packed, sizes, *dtype), node.input("indices").name());
  Value renewed = g.add(mil::constexpr_lut_to_dense{.indices = indices, .lut = g.constant(entries)});
  POM_TRY(Status(g.status()));
  take_name(node.output(), renewed);
  replace_uses(node.output(), renewed);
  block.erase(node);
  return {};
}

class Fitting {
 public:
  explicit Fitting(Function& function) : function_(function) {}

  Status run() {
    POM_TRY(fit(function_.body));
    if (missing_.empty()) return {};
    std::string list;
    bool later = false;
    for (const auto& [what, found] : missing_) {
      bool gone = found.needs <= function_.opset;
      later = later || !gone;
      list += fmt::format("{}{} ({}{}, {} of them, first {})", list.empty() ? "" : "; ", what,
                          gone ? "another op since " : "", name(gone ? found.until : found.needs), found.count,
                          found.first);
    }
    return fail("{} does not have: {}", name(function_.opset), list)
        .advise(later ? "convert for a later target" : "convert for an earlier target");
  }

 private:
  Status fit(Block& block) {
    for (auto at = block.nodes().begin(); at != block.nodes().end();) {
      Node& node = **at++;
      for (auto& inner : node.blocks) POM_TRY(fit(*inner));
      Target needs = oldest_target(node);
      if (needs <= function_.opset && (node.op->until == never || function_.opset < node.op->until)) continue;
      if (is<mil::scaled_dot_product_attention>(&node)) {
        Builder g(block, &node);
        g.source = node.source;
        Value steps = attention_in_steps(node, g, -HUGE_VAL);
        POM_TRY_IN(Status(g.status()), "{}", node.label());
        take_name(node.output(), steps);
        replace_uses(node.output(), steps);
        block.erase(node);
        continue;
      }
      if (is<mil::constexpr_lut_to_dense_iOS16>(&node) && function_.opset >= iOS18) {
        POM_TRY_IN(renew_table(node, block), "{}", node.label());
        continue;
      }
      Missing& missing = missing_[std::string(node.op->name)];
      if (missing.count++ == 0) missing.first = node.label();
      missing.needs = std::max(missing.needs, needs);
      missing.until = node.op->until;
    }
    return {};
  }

  struct Missing {
    std::size_t count = 0;
    std::string first;
    Target needs = iOS15, until = never;
  };
  Function& function_;
  std::map<std::string, Missing> missing_;
};

}  // namespace

Status fit_target(Program& program) {
  for (auto& function : program.functions) POM_TRY_IN(Fitting(*function).run(), "function '{}'", function->name);
  return {};
}

}  // namespace pomona::rewrite
