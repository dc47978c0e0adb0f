#include "cli/print_sizes.h"

#include <nlohmann/json.hpp>

#include <fmt/format.h>

namespace pomona::cli {

Json open_sizes_json(const std::vector<api::OpenSize>& sizes) {
  Json json = Json::array();
  for (const api::OpenSize& open : sizes)
    json.push_back({{"size", open.size},
                    {"inputs", open.inputs},
                    {"ops", open.ops},
                    {"by_op", open.by_op},
                    {"first", open.first}});
  return json;
}

Strings open_sizes_text(const std::vector<api::OpenSize>& sizes, std::size_t of_ops, bool all) {
  constexpr std::size_t shown = 4;
  Strings sentences;
  for (const api::OpenSize& open : sizes)
    if (all || sentences.size() < shown) sentences.push_back(open.text(of_ops));
  if (sentences.size() < sizes.size())
    sentences.push_back(fmt::format("and {} more open sizes (--verbose)", sizes.size() - sentences.size()));
  return sentences;
}

}  // namespace pomona::cli
