#include "ir/program.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/op.h"

namespace pomona {
namespace {

void forget_use(Value value, Node* user) {
  auto& users = value.info().users;
  auto at = std::find(users.rbegin(), users.rend(), user);
  if (at == users.rend()) return;
  *at = users.back();
  users.pop_back();
}

}  // namespace

const Weight* Value::literal() const {
  const Node* node = producer();
  return node && node->op->structural ? &node->literal : nullptr;
}
std::optional<Ints> Value::integers() const {
  const Weight* weight = literal();
  if (!weight || is_float(weight->dtype()) || weight->dtype() == DType::string) return {};
  auto tensor = weight->materialise();
  if (!tensor) return {};
  return tensor->integers();
}
std::optional<double> Value::number() const {
  const Weight* weight = literal();
  if (!weight || weight->count() == 0 || weight->count() > 4096 || weight->dtype() == DType::string) return {};
  if (weight->in_memory() && weight->in_memory()->is_list()) return {};
  auto tensor = weight->materialise();
  if (!tensor) return {};
  double first = tensor->number(0);
  for (std::size_t i = 1; i < tensor->count(); ++i)
    if (tensor->number(i) != first) return {};
  return first;
}
bool Value::is_weight() const {
  const Node* node = producer();
  return node && (node->op->structural || node->op->constexpr_op);
}

Node::Node(const OpDef* def, Block* block) : op(def), block_(block) {}
Node::~Node() {
  blocks.clear();
  for (Value value : inputs_) forget_use(value, this);
}
Value Node::input(std::size_t field) const {
  std::size_t position = 0;
  for (std::size_t i = 0; i < field; ++i) position += counts_[i];
  return field < counts_.size() && counts_[field] ? inputs_[position] : Value();
}
Value Node::input(std::string_view field) const {
  auto index = op->input_index(field);
  return index ? input(*index) : Value();
}
Values Node::inputs_of(std::size_t field) const {
  std::size_t position = 0;
  for (std::size_t i = 0; i < field; ++i) position += counts_[i];
  auto first = inputs_.begin() + std::ptrdiff_t(position);
  return {first, first + counts_[field]};
}
void Node::set_inputs(Values inputs, std::vector<std::uint32_t> counts) {
  for (Value value : inputs) value.info().users.push_back(this);
  for (Value value : inputs_) forget_use(value, this);
  inputs_ = std::move(inputs);
  counts_ = std::move(counts);
}
void Node::set_input(std::size_t position, Value value) {
  value.info().users.push_back(this);
  forget_use(inputs_[position], this);
  inputs_[position] = value;
}
void Node::set_input(std::string_view field, Value value) {
  std::size_t index = *op->input_index(field), position = 0;
  for (std::size_t i = 0; i < index; ++i) position += counts_[i];
  if (counts_[index] == 1 && value) return set_input(position, value);
  Values inputs = inputs_;
  auto first = inputs.begin() + std::ptrdiff_t(position);
  auto at = inputs.erase(first, first + counts_[index]);
  if (value) inputs.insert(at, value);
  std::vector<std::uint32_t> counts = counts_;
  counts[index] = value ? 1 : 0;
  set_inputs(std::move(inputs), std::move(counts));
}
void Node::replace_inputs(Value before, Value after) {
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    if (inputs_[i] == before) set_input(i, after);
}
void Node::set_output_types(const std::vector<Type>& types) {
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (i == outputs_.size()) {
      outputs_.push_back(std::make_unique<ValueInfo>());
      outputs_[i]->producer = this;
      outputs_[i]->index = i;
      outputs_[i]->block = block_;
    }
    outputs_[i]->type = types[i];
  }
}
const Attribute& Node::attribute(std::string_view field) const { return attributes[*op->attribute_index(field)]; }
void Node::set_attribute(std::string_view field, Attribute value) {
  attributes[*op->attribute_index(field)] = std::move(value);
}
std::string Node::label() const {
  std::string text(op ? op->name : "return");
  std::string own = !name.empty() ? name : output_count() ? output().name() : "";
  if (!own.empty()) text += " '" + own + "'";
  if (!source.empty()) text += " (" + source + ")";
  return text;
}

Block::Block(Function* function, Node* owner) : function_(function), owner_(owner), return_(new Node(nullptr, this)) {}
Block::~Block() {
  // All uses go before any value: a program that breaks the order of definitions is destroyed like any other. From the
  // last to the first, as forgetting a use looks from the end.
  drop_uses();
  return_.reset();
  while (!nodes_.empty()) nodes_.pop_back();
}
void Block::drop_uses() {
  return_->set_inputs({}, {});
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
    for (auto& inner : (*node)->blocks) inner->drop_uses();
    (*node)->set_inputs({}, {});
  }
}
Value Block::add_input(std::string name, Type type) {
  auto& info = inputs_.emplace_back(std::make_unique<ValueInfo>());
  info->type = std::move(type);
  info->name = std::move(name);
  info->index = inputs_.size() - 1;
  info->block = this;
  return Value(info.get());
}
Value Block::input(std::string_view name) const {
  for (const auto& info : inputs_)
    if (info->name == name) return Value(info.get());
  return {};
}
void Block::remove_input(std::size_t i) {
  inputs_.erase(inputs_.begin() + std::ptrdiff_t(i));
  for (std::size_t k = i; k < inputs_.size(); ++k) inputs_[k]->index = k;
}
void Block::set_results(Values results) {
  auto count = std::uint32_t(results.size());
  return_->set_inputs(std::move(results), {count});
}
Node& Block::insert(const OpDef* op, Node* place) {
  auto at = nodes_.insert(place ? place->place_ : nodes_.end(), std::unique_ptr<Node>(new Node(op, this)));
  (*at)->place_ = at;
  return **at;
}
void Block::erase(Node& node) { nodes_.erase(node.place_); }
void Block::move_before(Node& node, Node& place) { nodes_.splice(place.place_, nodes_, node.place_); }
Node* Block::next(const Node& node) {
  auto at = std::next(node.place_);
  return at == nodes_.end() ? nullptr : at->get();
}
Node* Block::previous(const Node& node) {
  return node.place_ == nodes_.begin() ? nullptr : std::prev(node.place_)->get();
}
Node* Block::behind(Value value) {
  if (value.producer()) return next(*value.producer());
  return nodes_.empty() ? nullptr : nodes_.front().get();
}

void replace_uses(Value before, Value after) {
  if (before == after) return;
  // From the last use backwards: forgetting a use looks from the end.
  std::vector<Node*> users = before.users();
  for (auto user = users.rbegin(); user != users.rend(); ++user) (*user)->replace_inputs(before, after);
}

Function& Program::add_function(std::string name, Target opset) {
  return *functions.emplace_back(std::make_unique<Function>(std::move(name), opset));
}
Function* Program::function(std::string_view name) {
  for (auto& function : functions)
    if (function->name == name) return function.get();
  return nullptr;
}
Function& Program::main() {
  if (Function* named = default_function.empty() ? nullptr : function(default_function)) return *named;
  if (Function* named = function("main")) return *named;
  return *functions.front();
}

}  // namespace pomona
