#include "compress/already.h"

#include "compress/joint.h"
#include "compress/prune.h"
#include "ops/constexpr.h"

namespace pomona::compress {
namespace {

SchemeOptions table_options(const Node& node) {
  SchemeOptions options{{"mode", std::string("unique")}, {"lut_dtype", std::string("int8")}};
  Value table = node.input("lut"), result = node.output();
  for (std::size_t d = 0; d < result.rank() && d < table.rank(); ++d) {
    std::int64_t groups = table.shape()[d].value();
    if (groups == 1) continue;
    options["granularity"] = std::string("per_grouped_channel");
    options["channel_axis"] = std::int64_t(d);
    options["group_size"] = result.shape()[d].value() / groups;
  }
  if (std::int64_t vector = table.shape().back().value(); vector > 1) options["cluster_dim"] = vector;
  return options;
}

void look_at(const Block& block, Already& already) {
  for (const auto& node : block.nodes()) {
    for (const auto& inner : node->blocks) look_at(*inner, already);
    if (is<mil::constexpr_sparse_to_dense>(node.get()) || is<mil::constexpr_sparse_to_dense_iOS16>(node.get()))
      already.sparse.insert(node->output().name());
    if (is<mil::constexpr_lut_to_dense>(node.get()) && all_known(node->input("lut").shape()))
      already.tables[node->output().name()] = table_options(*node);
  }
}

}  // namespace

Already already_compressed(const Program& program) {
  Already already;
  for (const auto& function : program.functions) look_at(function->body, already);
  return already;
}

Result<std::shared_ptr<const Scheme>> keeping(const Already& already, const std::string& weight,
                                              const std::shared_ptr<const Scheme>& scheme) {
  if (already.sparse.count(weight) && scheme->scheme_name() != "prune") {
    auto zeros = POM_TRY(make_prune({{"threshold", 0.0}, {"minimum_sparsity_percentile", 0.0}}));
    return make_joint(zeros, scheme);
  }
  auto table = already.tables.find(weight);
  if (table == already.tables.end() || scheme->scheme_name() != "linear") return scheme;
  return POM_TRY_IN(make_scheme("palettize", table->second), "keeping its table");
}

}  // namespace pomona::compress
