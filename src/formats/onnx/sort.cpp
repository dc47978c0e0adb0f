#include "formats/onnx/sort.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <unordered_map>

namespace pomona::onnx {
namespace {

// Calls `use` for every name a node reads, its subgraphs included. Names that a subgraph makes itself do no harm: they
// are unique in a valid file.
template <class Use>
void for_each_use(const NodeProto& node, const Use& use) {
  for (Text name : node.input)
    if (!name.empty()) use(name);
  for (const AttributeProto& a : node.attribute) {
    if (!a.g) continue;
    for (const NodeProto& inner : a.g->node) for_each_use(inner, use);
    for (const ValueInfoProto& output : a.g->output) use(output.name);
  }
}

}  // namespace

std::string source_of(const NodeProto& node, std::size_t index) {
  std::string op(node.op_type);
  if (!node.domain.empty() && node.domain != "ai.onnx") op = std::string(node.domain) + "::" + op;
  return node.name.empty() ? fmt::format("ONNX {} (node {})", op, index) : fmt::format("ONNX {} '{}'", op, node.name);
}

Result<std::vector<std::size_t>> sorted_nodes(const std::vector<NodeProto>& nodes) {
  std::unordered_map<Text, std::size_t> producer;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (Text name : nodes[i].output)
      if (!name.empty())
        POM_REQUIRE(producer.try_emplace(name, i).second, "'{}' is made by {} and by {}", name,
                    source_of(nodes[producer[name]], producer[name]), source_of(nodes[i], i));
  std::vector<std::vector<std::size_t>> consumers(nodes.size());
  std::vector<std::size_t> missing(nodes.size(), 0);
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for_each_use(nodes[i], [&](Text name) {
      auto at = producer.find(name);
      if (at == producer.end() || at->second == i) {
        // Read from itself: counted as never available, so that it is found below.
        if (at != producer.end() &&
            std::find(nodes[i].input.begin(), nodes[i].input.end(), name) != nodes[i].input.end())
          ++missing[i];
        return;
      }
      consumers[at->second].push_back(i);
      ++missing[i];
    });
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (missing[i] == 0) ready.push(i);
  std::vector<std::size_t> order;
  while (!ready.empty()) {
    std::size_t i = ready.top();
    ready.pop();
    order.push_back(i);
    for (std::size_t consumer : consumers[i])
      if (--missing[consumer] == 0) ready.push(consumer);
  }
  for (std::size_t i = 0; i < nodes.size(); ++i)
    POM_REQUIRE(missing[i] == 0, "{} depends on its own result", source_of(nodes[i], i));
  return order;
}

}  // namespace pomona::onnx
