#include <algorithm>
#include <unordered_map>

#include "ir/builder.h"
#include "ops/activation.h"
#include "ops/axes.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "rewrite/passes/passes.h"
#include "rewrite/rule.h"

// A transpose can move down through ops that do not mind the order of dims, until it meets its inverse. Whether that
// pays is known only for a whole region: all such ops that hang together behind transposes T of one permutation.
//
//   before     a = relu(T(x))       b = a + T(y)        uses: T^-1(b), other(b)      3 transposes
//   after      a = relu(x)          b = a + y           uses: b, other(T(b))         1 transpose
//
// A region is changed when more transposes go than come.
namespace pomona::rewrite {
namespace {

Ints perm_of(const Node& node) {
  Ints perm = std::get<Ints>(node.attribute("perm"));
  for (auto& p : perm) p = std::int64_t(normal_axis(p, perm.size()).value_or(0));
  return perm;
}
Ints inverse_of(const Ints& perm) {
  Ints inverse(perm.size());
  for (std::size_t i = 0; i < perm.size(); ++i) inverse[std::size_t(perm[i])] = std::int64_t(i);
  return inverse;
}

// What becomes of a node whose data come in the order they had before the transpose.
enum class Role { opaque, transparent, absorbing };

bool is_reduction(const Node& node) { return node.op->name.starts_with("reduce_"); }
bool is_vector_of(Value value, std::size_t size) {
  auto integers = value.integers();
  return integers && integers->size() == size;
}

Role role_of(const Node& node, const Ints& perm) {
  std::size_t rank = perm.size();
  if (node.op->elementwise || is<mil::softmax>(&node)) return Role::transparent;
  if (is<mil::concat>(&node) || is<mil::split>(&node)) return Role::transparent;
  if (is_reduction(node)) {
    if (node.attribute("keep_dims") == Attribute(true)) return Role::transparent;
    auto axes = node.op->attribute_index("axes");
    if (!axes) return Role::opaque;
    auto chosen = mil::chosen_axes(std::get<Ints>(node.attributes[*axes]), rank);
    if (!chosen) return Role::opaque;
    Ints left;
    for (std::size_t i = 0; i < rank; ++i)
      if (!(*chosen)[i]) left.push_back(perm[i]);
    return std::is_sorted(left.begin(), left.end()) ? Role::absorbing : Role::opaque;
  }
  if (is<mil::pad>(&node)) {
    auto pad = node.input("pad").integers();
    bool constant = node.attribute("mode") == Attribute(std::string("constant"));
    return constant && pad && pad->size() <= 2 * rank ? Role::transparent : Role::opaque;
  }
  if (is<mil::slice_by_index>(&node)) {
    const Ints& squeeze = std::get<Ints>(node.attribute("squeeze_mask"));
    bool keeps_rank = std::count(squeeze.begin(), squeeze.end(), 0) == std::ptrdiff_t(squeeze.size());
    return keeps_rank && is_vector_of(node.input("begin"), rank) && is_vector_of(node.input("end"), rank)
               ? Role::transparent
               : Role::opaque;
  }
  return Role::opaque;
}

// Inputs that hold sizes and places, not data.
bool is_layout_input(const Node& node, std::size_t position) {
  return position > 0 && (is<mil::pad>(&node) || is<mil::slice_by_index>(&node));
}

Ints moved(const Ints& values, const Ints& perm) {
  Ints result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) result[std::size_t(perm[i])] = values[i];
  return result;
}

class TransposePass {
 public:
  explicit TransposePass(Block& block) : block_(block) {}

  Status run() {
    for (auto& node : block_.nodes()) label(*node);
    std::unordered_map<std::size_t, Region> regions;
    for (std::size_t i = 0; i < labels_.size(); ++i) regions[root(i)].values.push_back(i);
    std::vector<std::size_t> order;
    for (auto& [key, region] : regions) order.push_back(key);
    std::sort(order.begin(), order.end());
    for (std::size_t key : order)
      if (gain(regions[key]) > 0) POM_TRY(change(regions[key]));
    return {};
  }

 private:
  struct Label {
    Value value;
    Value source;  // what the transpose is of; empty for results of the region's own nodes
    Ints perm;
    std::size_t parent;
  };
  struct Region {
    std::vector<std::size_t> values;
  };

  std::size_t root(std::size_t i) {
    while (labels_[i].parent != i) i = labels_[i].parent = labels_[labels_[i].parent].parent;
    return i;
  }
  const Label* label_of(Value value) const {
    auto at = by_value_.find(&value.info());
    return at == by_value_.end() ? nullptr : &labels_[at->second];
  }
  std::size_t add(Value value, Value source, Ints perm) {
    labels_.push_back({value, source, std::move(perm), labels_.size()});
    by_value_[&value.info()] = labels_.size() - 1;
    return labels_.size() - 1;
  }

  void label(Node& node) {
    if (is<mil::transpose>(&node)) {
      Ints perm = perm_of(node);
      if (!std::is_sorted(perm.begin(), perm.end())) add(node.output(), node.input(0), std::move(perm));
      return;
    }
    const Ints* perm = nullptr;
    std::vector<std::size_t> inside;
    for (std::size_t i = 0; i < node.inputs().size(); ++i) {
      if (is_layout_input(node, i)) continue;
      const Label* known = label_of(node.inputs()[i]);
      if (!known) continue;
      if (perm && *perm != known->perm) return;
      perm = &known->perm;
      inside.push_back(by_value_.at(&node.inputs()[i].info()));
    }
    if (!perm || role_of(node, *perm) != Role::transparent || !all_inputs_fit(node, perm->size())) return;
    Ints own = *perm;
    for (std::size_t i = 0; i < node.output_count(); ++i) inside.push_back(add(node.output(i), Value(), own));
    for (std::size_t i : inside) labels_[root(i)].parent = root(inside[0]);
  }
  // Operands that are not behind the transpose must be constants or scalars.
  bool all_inputs_fit(const Node& node, std::size_t rank) const {
    for (std::size_t i = 0; i < node.inputs().size(); ++i) {
      Value input = node.inputs()[i];
      if (is_layout_input(node, i) || label_of(input) || input.rank() == 0) continue;
      if (!input.literal() || input.rank() > rank || !node.op->elementwise) return false;
    }
    return true;
  }

  bool inside(const Node* user) const {
    return user->op && user->output_count() && label_of(user->output()) && !is<mil::transpose>(user);
  }
  bool undoes(const Node* user, const Ints& perm) const {
    return is<mil::transpose>(user) && perm_of(*user) == inverse_of(perm);
  }
  bool absorbs(const Node* user, const Ints& perm) const {
    return user->op && user->block() == &block_ && !user->inputs().empty() && role_of(*user, perm) == Role::absorbing;
  }

  int gain(const Region& region) {
    int gain = 0;
    bool has_nodes = false;
    for (std::size_t i : region.values) {
      const Label& label = labels_[i];
      bool needs_transpose = false;
      for (const Node* user : label.value.users()) {
        if (undoes(user, label.perm)) ++gain;
        needs_transpose |= !inside(user) && !is<mil::transpose>(user) && !absorbs(user, label.perm);
      }
      has_nodes |= !label.source;
      if (label.source)
        gain += !needs_transpose;
      else
        gain -= needs_transpose;
    }
    return has_nodes ? gain : 0;
  }

  Status change(const Region& region) {
    std::vector<std::size_t> in_order = region.values;
    std::sort(in_order.begin(), in_order.end());
    for (std::size_t i : in_order) {
      // What is behind a transpose is taken from before it; a transpose that nobody needs any more is dead.
      const Label label = labels_[i];
      Value value = label.source ? label.source : label.value;
      if (!label.source && label.value.index() == 0) POM_TRY(untranspose(*label.value.producer(), label.perm));
      before_[&label.value.info()] = value;
      POM_TRY(serve_outside(label, value));
    }
    return {};
  }

  Status serve_outside(const Label& label, Value value) {
    std::vector<Node*> users = label.value.users();
    std::sort(users.begin(), users.end());
    users.erase(std::unique(users.begin(), users.end()), users.end());
    Value again;
    for (Node* user : users) {
      if (inside(user)) continue;
      if (undoes(user, label.perm) && take_name(user->output(), value)) {
        replace_uses(user->output(), value);
      } else if (absorbs(user, label.perm)) {
        user->set_input(0, value);
        map_axes(*user, label.perm);
        POM_TRY(infer_again(*user));
      } else if (!label.source) {
        if (!again) again = POM_TRY(transposed(value, label.perm));
        if (user != again.producer()) user->replace_inputs(label.value, again);
      }
    }
    return {};
  }

  Result<Value> transposed(Value value, const Ints& perm) {
    Node& producer = *value.producer();
    Builder g(block_, block_.next(producer));
    g.source = producer.source;
    std::string name = value.name();
    Value again = g.add(mil::transpose{.x = value, .perm = perm});
    POM_TRY(Status(g.status()));
    if (!name.empty()) {
      again.set_name(name);
      value.set_name(name + "_inside");
    }
    return again;
  }

  Status untranspose(Node& node, const Ints& perm) {
    Builder g(block_, &node);
    for (std::size_t i = 0; i < node.inputs().size(); ++i) {
      Value input = node.inputs()[i];
      auto known = before_.find(&input.info());
      if (is_layout_input(node, i)) {
        node.set_input(i, layout_constant(g, node, input, perm));
      } else if (known != before_.end()) {
        node.set_input(i, known->second);
      } else if (input.rank() > 0 && input.literal()->count() > 1) {
        Sizes sizes = input.literal()->sizes();
        sizes.insert(sizes.begin(), perm.size() - sizes.size(), 1);
        Value full = folded(g, g.add(mil::reshape{.x = input, .shape = g.ints(sizes)}));
        Value turned = full ? folded(g, g.add(mil::transpose{.x = full, .perm = inverse_of(perm)})) : Value();
        POM_TRY(Status(g.status()));
        node.set_input(i, turned);
      }
      POM_TRY(Status(g.status()));
    }
    map_axes(node, perm);
    return infer_again(node);
  }

  static Value layout_constant(Builder& g, const Node& node, Value constant, const Ints& perm) {
    Ints values = *constant.integers();
    if (!is<mil::pad>(&node)) return g.ints(moved(values, perm));
    values.insert(values.begin(), 2 * perm.size() - values.size(), 0);
    Ints result(values.size());
    for (std::size_t i = 0; i < perm.size(); ++i)
      for (std::size_t k : {0, 1}) result[2 * std::size_t(perm[i]) + k] = values[2 * i + k];
    return g.ints(result);
  }

  static void map_axes(Node& node, const Ints& perm) {
    auto mapped = [&](std::int64_t axis) { return perm[*normal_axis(axis, perm.size())]; };
    if (node.op->elementwise || is<mil::pad>(&node)) return;
    if (is<mil::slice_by_index>(&node)) {
      for (std::string_view field : {"stride", "begin_mask", "end_mask"}) {
        const Ints& values = std::get<Ints>(node.attribute(field));
        if (values.size() == perm.size()) node.set_attribute(field, moved(values, perm));
      }
      return;
    }
    if (node.op->attribute_index("axis")) {
      node.set_attribute("axis", mapped(std::get<std::int64_t>(node.attribute("axis"))));
    } else {
      Ints axes = std::get<Ints>(node.attribute("axes"));
      for (auto& axis : axes) axis = mapped(axis);
      std::sort(axes.begin(), axes.end());
      node.set_attribute("axes", axes);
    }
  }

  Block& block_;
  std::vector<Label> labels_;
  std::unordered_map<const ValueInfo*, std::size_t> by_value_;
  std::unordered_map<const ValueInfo*, Value> before_;  // each transposed value's form before the transpose
};

Status cancel_in(Block& block) {
  for (auto& node : block.nodes())
    for (auto& inner : node->blocks) POM_TRY(cancel_in(*inner));
  return TransposePass(block).run();
}

}  // namespace

Status cancel_transposes(Program& program) {
  for (auto& function : program.functions) POM_TRY_IN(cancel_in(function->body), "function '{}'", function->name);
  remove_dead(program);
  return {};
}

}  // namespace pomona::rewrite
