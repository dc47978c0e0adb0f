#include "rewrite/chain_copy.h"

namespace pomona::rewrite {

Result<Value> NodeCopier::operand(Value from) {
  if (auto at = copies_.find(from); at != copies_.end()) return at->second;
  POM_REQUIRE(from.is_weight(), "value '{}' has not been copied", from.name());
  POM_TRY(node(*from.producer()));
  return copies_.at(from);
}

Status NodeCopier::block(const Block& from, Block& to) {
  NodeCopier inner(to);
  inner.copies_ = copies_;
  for (std::size_t i = 0; i < from.input_count(); ++i)
    inner.set(from.input(i), to.add_input(from.input(i).name(), from.input(i).type()));
  for (const auto& each : from.nodes()) POM_TRY(inner.node(*each));
  Values results;
  for (Value result : from.results()) results.push_back(POM_TRY(inner.operand(result)));
  to.set_results(std::move(results));
  return {};
}

Status NodeCopier::node(const Node& node) {
  Values inputs;
  for (Value input : node.inputs()) inputs.push_back(POM_TRY(operand(input)));
  g_.source = node.source;
  if (node.op->structural) {
    Value copy = g_.constant(node.literal, node.name);
    copy.set_name(node.output().name());
    set(node.output(), copy);
    return {};
  }
  std::vector<std::unique_ptr<Block>> blocks;
  for (const auto& each : node.blocks) {
    blocks.push_back(std::make_unique<Block>(&g_.block().function()));
    POM_TRY(block(*each, *blocks.back()));
  }
  g_.add_call(*node.op, node.attributes, std::move(inputs), node.counts(), node.name, std::move(blocks));
  POM_TRY(Status(g_.status()));
  Node& copy = *g_.block().nodes().back();
  for (std::size_t i = 0; i < node.output_count(); ++i) {
    copy.output(i).set_name(node.output(i).name());
    set(node.output(i), copy.output(i));
  }
  return {};
}

}  // namespace pomona::rewrite
