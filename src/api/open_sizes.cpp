#include "api/open_sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "ir/op.h"
#include "ir/walk.h"

namespace pomona::api {
namespace {

std::set<std::string> symbols_of(const Type& type) {
  std::set<std::string> all;
  if (type.kind != Type::Kind::tensor) return all;
  for (const Dim& dim : type.shape)
    if (!dim.known())
      for (const std::string& name : dim.symbols()) all.insert(name);
  return all;
}

}  // namespace

std::string OpenSize::text(std::size_t of_ops) const {
  constexpr std::size_t shown = 4;
  std::vector<std::pair<std::string, std::size_t>> kinds(by_op.begin(), by_op.end());
  std::stable_sort(kinds.begin(), kinds.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string list, from;
  for (std::size_t i = 0; i < std::min(kinds.size(), shown); ++i)
    list += fmt::format("{}{} {}", i ? ", " : "", kinds[i].second, kinds[i].first);
  if (kinds.size() > shown) list += ", ...";
  for (const std::string& input : inputs) from += (from.empty() ? "" : ", ") + input;
  return fmt::format("size '{}' ({}) is open in {} of {} ops: {}; the first is {}", size,
                     from.empty() ? "decided by values" : from, ops, of_ops, list, first);
}

std::vector<OpenSize> open_sizes(const Function& function) {
  std::vector<OpenSize> all;
  std::map<std::string, std::size_t> at;
  auto entry = [&](const std::string& name) -> OpenSize& {
    auto [found, fresh] = at.try_emplace(name, all.size());
    if (fresh) all.emplace_back().size = name;
    return all[found->second];
  };
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    for (std::size_t d = 0; d < input.rank(); ++d)
      for (const std::string& name : input.shape()[d].symbols())
        entry(name).inputs.push_back(fmt::format("axis {} of '{}'", d, input.name()));
  }
  each_node(function.body, [&](const Node& node) {
    if (node.literal) return;
    std::set<std::string> names;
    for (std::size_t i = 0; i < node.output_count(); ++i) names.merge(symbols_of(node.output(i).type()));
    for (const std::string& name : names) {
      OpenSize& open = entry(name);
      if (open.ops++ == 0)
        open.first = node.source.empty() ? node.label() : fmt::format("{} ({})", node.label(), node.source);
      ++open.by_op[std::string(node.op->name)];
    }
  });
  std::erase_if(all, [](const OpenSize& open) { return open.ops == 0; });
  return all;
}

}  // namespace pomona::api
