#include "silicon/rule.h"

#include <algorithm>

#include "ir/op.h"

namespace pomona::silicon {

std::string_view name(Engine engine) {
  constexpr std::string_view names[] = {"Neural Engine", "GPU", "CPU"};
  return names[std::size_t(engine)];
}

std::string_view name(Verdict verdict) {
  constexpr std::string_view names[] = {"can", "prefers another form", "only rewritten", "unlikely", "cannot"};
  return names[std::size_t(verdict)];
}

std::string_view RuleAt::op() const { return node.op->name; }

Value RuleAt::operand(std::string_view field) const {
  return node.op->input_index(field) ? node.input(field) : Value();
}

std::optional<Sizes> RuleAt::sizes_of(Value value) const {
  const Values& inputs = node.inputs();
  for (std::size_t i = 0; i < inputs.size() && i < sizes.size(); ++i)
    if (inputs[i] == value) return sizes[i];
  return {};
}

bool RuleAt::is_any_of(std::initializer_list<std::string_view> names) const {
  return std::find(names.begin(), names.end(), op()) != names.end();
}

const Node* RuleAt::decoder(Value value) {
  Node* producer = value ? value.producer() : nullptr;
  return producer && producer->op && producer->op->constexpr_op ? producer : nullptr;
}

std::span<const PlacementRule> placement_rules() {
  static const std::vector<PlacementRule> all = [] {
    std::vector<PlacementRule> rules;
    for (auto topic : {dtype_and_shape_rules(), op_rules(), weight_rules(), state_rules()})
      rules.insert(rules.end(), topic.begin(), topic.end());
    return rules;
  }();
  return all;
}

const PlacementRule* find_rule(std::string_view id) {
  for (const PlacementRule& rule : placement_rules())
    if (rule.id == id) return &rule;
  return nullptr;
}

std::string mend_text(const PlacementRule& rule) {
  std::string text(rule.mend);
  return rule.mended_by_convert ? text + " (`convert --for ane` does it)" : text;
}

}  // namespace pomona::silicon
