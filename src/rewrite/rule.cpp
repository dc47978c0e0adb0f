#include "rewrite/rule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "rewrite/passes/passes.h"

namespace pomona::rewrite {

Pattern any(std::string_view name, Sizes sizes, DType dtype) {
  Pattern p;
  p.name = name;
  p.type = tensor_type(dtype, to_shape(sizes));
  return p;
}
Pattern constant(std::string_view name, Sizes sizes, DType dtype) {
  Pattern p = any(name, std::move(sizes), dtype);
  p.kind = Pattern::Kind::constant;
  return p;
}
Pattern number(std::string_view name, double example) {
  Pattern p = any(name, {});
  p.kind = Pattern::Kind::number;
  p.value = example;
  return p;
}
Pattern number(double value) {
  Pattern p = number("", value);
  p.is_given = true;
  return p;
}
Pattern integers(std::string_view name, Ints example) {
  Pattern p = any(name, {std::int64_t(example.size())}, DType::int32);
  p.kind = Pattern::Kind::constant;
  p.example.emplace_back("", std::move(example));
  return p;
}
Pattern flag(bool value) {
  Pattern p = number(value);
  p.type.dtype = DType::boolean;
  return p;
}
Pattern either(std::vector<Pattern> alternatives) {
  Pattern p;
  p.kind = Pattern::Kind::either;
  p.parts = std::move(alternatives);
  return p;
}
Pattern maybe(Pattern argument) {
  argument.is_optional = true;
  return argument;
}

Value Match::operator[](std::string_view name) const {
  for (const auto& [known, value] : names)
    if (known == name) return value;
  return {};
}

namespace {

bool is_near(double found, double wanted, DType dtype) {
  double tolerance = dtype == DType::fp16 ? 1e-3 : is_float(dtype) ? 1e-5 : 0;
  return std::fabs(found - wanted) <= tolerance * std::fabs(wanted);
}

// What is still to be matched, as a list on the stack: trying an alternative means going on with another list.
struct Goal {
  const Pattern* pattern;
  Value value;
  const Goal* next;
};

class Matcher {
 public:
  Matcher(Match& match, Refusal* refusal) : match_(match), refusal_(refusal) {}

  bool solve(const Goal* goal) {
    if (!goal) return nobody_else_uses();
    const Pattern& p = *goal->pattern;
    if (p.kind == Pattern::Kind::either)
      return std::any_of(p.parts.begin(), p.parts.end(), [&](const Pattern& alternative) {
        Goal next{&alternative, goal->value, goal->next};
        return solve(&next);
      });
    if (!goal->value) return p.is_optional && solve(goal->next);
    if (!p.name.empty())
      if (Value known = match_[p.name])
        return known == goal->value
                   ? solve(goal->next)
                   : refuse([&] { return fmt::format("'{}' is not '{}' everywhere", p.name, known.name()); });
    if (p.kind == Pattern::Kind::call) return solve_call(p, *goal);
    if (!fits(p, goal->value)) return false;
    return bind_and(p, goal->value, [&] { return solve(goal->next); });
  }

 private:
  template <class Then>
  bool bind_and(const Pattern& p, Value value, Then then) {
    if (p.name.empty()) return then();
    match_.names.emplace_back(p.name, value);
    if (then()) return true;
    match_.names.pop_back();
    return false;
  }

  bool fits(const Pattern& p, Value value) {
    if (p.kind == Pattern::Kind::any) return true;
    if (!value.literal()) return refuse([&] { return fmt::format("'{}' is not a constant", value.name()); });
    if (p.kind == Pattern::Kind::constant) return true;
    auto found = value.number();
    if (!found) return refuse([&] { return fmt::format("the elements of '{}' are not all equal", value.name()); });
    if (p.is_given && !is_near(*found, p.value, value.dtype()))
      return refuse([&] { return fmt::format("'{}' is {}, not {}", value.name(), *found, p.value); });
    return true;
  }

  bool solve_call(const Pattern& p, const Goal& goal) {
    Node* node = goal.value.producer();
    if (!node || node->op != p.op || goal.value.index() != 0)
      return refuse([&] {
        return fmt::format("'{}' comes from {}, not {}", goal.value.name(), node ? node->op->name : "outside",
                           p.op->name);
      });
    for (const auto& [field, wanted] : p.required)
      if (node->attribute(field) != wanted)
        return refuse([&] {
          return fmt::format("{} has {} = {}, not {}", node->label(), field, to_string(node->attribute(field)),
                             to_string(wanted));
        });
    bool is_inner = node != match_.root && !p.is_shared;
    if (is_inner) match_.inner.push_back(node);
    ++depth_;
    bool done = bind_and(p, goal.value, [&] { return solve_arguments(p, *node, goal.next); });
    --depth_;
    if (!done && is_inner) match_.inner.pop_back();
    return done;
  }

  bool solve_arguments(const Pattern& p, const Node& node, const Goal* rest) {
    for (std::size_t field = 0; field < node.counts().size(); ++field)
      if (node.counts()[field] > (field < p.parts.size() ? 1 : 0))
        return refuse([&] { return fmt::format("{} has more for '{}'", node.label(), node.op->inputs[field]->name); });
    if (solve_in_order(p, node, rest, false)) return true;
    return p.op->commutative && p.parts.size() == 2 && solve_in_order(p, node, rest, true);
  }
  bool solve_in_order(const Pattern& p, const Node& node, const Goal* rest, bool swapped) {
    std::vector<Goal> goals(p.parts.size());
    for (std::size_t i = goals.size(); i-- > 0;) {
      goals[i] = {&p.parts[i], node.input(swapped ? goals.size() - 1 - i : i), rest};
      rest = &goals[i];
    }
    return solve(rest);
  }

  bool nobody_else_uses() {
    for (const Node* node : match_.inner)
      for (std::size_t i = 0; i < node->output_count(); ++i)
        for (const Node* user : node->output(i).users())
          if (user != match_.root && std::find(match_.inner.begin(), match_.inner.end(), user) == match_.inner.end())
            return refuse([&] { return fmt::format("{} is also used by {}", node->label(), user->label()); });
    return true;
  }

  template <class Reason>
  bool refuse(Reason reason) {
    if (refusal_ && (refusal_->reason.empty() || depth_ > refusal_->depth)) {
      refusal_->depth = depth_;
      refusal_->reason = reason();
    }
    return false;
  }

  Match& match_;
  Refusal* refusal_;
  std::size_t depth_ = 0;
};

// The nodes still to be looked at, in the order they came. A node is in it once; its mark says where.
class Worklist {
 public:
  void add(Node* node) {
    if (node->mark) return;
    order_.push_back(node);
    node->mark = std::uint32_t(order_.size());
  }
  void forget(Node* node) {
    if (node->mark) order_[node->mark - 1] = nullptr;
    node->mark = 0;
  }
  Node* take() {
    while (next_ < order_.size()) {
      Node* node = order_[next_++];
      if (!node) continue;
      node->mark = 0;
      return node;
    }
    order_.clear();
    next_ = 0;
    return nullptr;
  }
  ~Worklist() {
    while (take()) {
    }
  }

 private:
  std::vector<Node*> order_;
  std::size_t next_ = 0;
};

// The ops a rule's root can be of.
std::vector<const OpDef*> root_ops(const Pattern& p) {
  if (p.kind == Pattern::Kind::call) return {p.op};
  std::vector<const OpDef*> all;
  for (const Pattern& alternative : p.parts)
    for (const OpDef* op : root_ops(alternative))
      if (std::find(all.begin(), all.end(), op) == all.end()) all.push_back(op);
  return all;
}

class Driver {
 public:
  Driver(RuleList rules, RuleTrace* trace) : rules_(rules), trace_(trace), applied_(rules.size()) {
    for (std::size_t i = 0; i < rules.size(); ++i)
      for (const OpDef* op : root_ops(rules[i]->pattern)) by_root_[op].push_back(i);
  }

  Result<std::vector<std::size_t>> run(Program& program) {
    for (auto& function : program.functions) add_all(function->body);
    // Far beyond what rules that make programs smaller need.
    std::size_t limit = 100 * node_count_ + 1000, changes = 0;
    while (Node* node = work_.take()) {
      auto candidates = by_root_.find(node->op);
      if (candidates == by_root_.end()) continue;
      for (std::size_t i : candidates->second) {
        if (!POM_TRY_IN(try_rule(i, *node), "rewrite rule '{}'", rules_[i]->name)) continue;
        if (++changes > limit)
          return fail("rewrite rule '{}' and others undo each other", rules_[i]->name).blame(Fault::bug);
        break;
      }
    }
    return std::move(applied_);
  }

 private:
  // Most nodes are no rule's root.
  void add(Node* node) {
    if (node && node->op && by_root_.count(node->op)) work_.add(node);
  }

  void add_all(Block& block) {
    for (auto& node : block.nodes()) {
      add(node.get());
      ++node_count_;
      for (auto& inner : node->blocks) add_all(*inner);
    }
  }

  Result<bool> try_rule(std::size_t i, Node& node) {
    const Rule& rule = *rules_[i];
    Target opset = node.block()->function().opset;
    Refusal refusal, *wanted = trace_ && trace_->rule == rule.name ? &refusal : nullptr;
    if (wanted) refusal.node = node.label();
    Match found;
    std::string_view reason;
    bool matches = opset >= rule.since && match(rule.pattern, node, found, wanted);
    if (opset < rule.since) refusal.reason = "the target is too old";
    if (matches && rule.condition && !(reason = rule.condition(found)).empty()) {
      refusal.reason = reason;
      matches = false;
    }
    if (matches) matches = POM_TRY(replace(rule, found, refusal));
    if (matches) ++applied_[i];
    if (!matches && wanted) trace_->refusals.push_back(std::move(refusal));
    return matches;
  }

  Result<bool> replace(const Rule& rule, const Match& found, Refusal& refusal) {
    Node& root = *found.root;
    Block& block = *root.block();
    // The replacement's nodes come between this one and the root.
    Node& mark = block.insert(&const_op(), &root);
    Builder g(block, &root);
    g.source = root.source;
    Value before = root.output(), after = rule.replace(found, g);
    refusal.reason = !g.status()                     ? g.status().error().what
                     : !after                        ? "the replacement cannot be made"
                     : before.type() != after.type() ? fmt::format("the result would be {} instead of {}",
                                                                   after.type().text(), before.type().text())
                     : !take_name(before, after)     ? "both values are results of the model"
                                                     : "";
    std::vector<Node*> added;
    for (Node* node = block.next(mark); node != &root; node = block.next(*node)) added.push_back(node);
    block.erase(mark);
    if (!refusal.reason.empty()) {
      for (auto node = added.rbegin(); node != added.rend(); ++node) block.erase(**node);
      return false;
    }
    for (Node* node : added) {
      add(node);
      for (Value input : node->inputs()) touch(input);
    }
    replace_uses(before, after);
    add(after.producer());
    add_users(after);
    remove_if_unused(root);
    return true;
  }

  // A change may complete a pattern whose root is some way down; patterns are not deep.
  void add_users(Value value) {
    constexpr std::size_t most = 64;
    std::vector<Node*> found;
    auto reach = [&](Value v) {
      for (Node* user : v.users()) {
        if (found.size() >= most) return;
        if (user->op && std::find(found.begin(), found.end(), user) == found.end()) found.push_back(user);
      }
    };
    reach(value);
    for (std::size_t i = 0; i < found.size(); ++i)
      for (std::size_t k = 0; k < found[i]->output_count(); ++k) reach(found[i]->output(k));
    for (Node* node : found) add(node);
  }

  // Rules may ask whether a value has other users, so all of its users are worth another look.
  void touch(Value value) {
    constexpr std::size_t few = 4;
    add(value.producer());
    if (value.users().size() <= few)
      for (Node* user : value.users()) add(user);
  }

  void remove_if_unused(Node& first) {
    std::vector<Node*> pending{&first};
    while (!pending.empty()) {
      Node* node = pending.back();
      pending.pop_back();
      bool used = node->op->side_effects || !node->blocks.empty();
      for (std::size_t i = 0; i < node->output_count(); ++i) used |= !node->output(i).users().empty();
      if (used) continue;
      Values inputs = node->inputs();
      work_.forget(node);
      node->block()->erase(*node);
      std::sort(inputs.begin(), inputs.end());
      inputs.erase(std::unique(inputs.begin(), inputs.end()), inputs.end());
      for (Value input : inputs) {
        touch(input);
        // The same producer may be behind several of the inputs.
        Node* producer = input.producer();
        if (producer && input.users().empty() && std::find(pending.begin(), pending.end(), producer) == pending.end())
          pending.push_back(producer);
      }
    }
  }

  RuleList rules_;
  RuleTrace* trace_;
  std::vector<std::size_t> applied_;
  std::unordered_map<const OpDef*, std::vector<std::size_t>> by_root_;
  Worklist work_;
  std::size_t node_count_ = 0;
};

}  // namespace

bool match(const Pattern& pattern, Node& root, Match& found, Refusal* refusal) {
  found = {};
  found.root = &root;
  Goal goal{&pattern, root.output(), nullptr};
  return Matcher(found, refusal).solve(&goal);
}

Result<std::vector<std::size_t>> apply_rules(Program& program, RuleList rules, RuleTrace* trace) {
  return Driver(rules, trace).run(program);
}

Value folded(Builder& g, Value value) {
  if (!value || value.literal()) return value;
  Node& node = *value.producer();
  if (!is_foldable(node)) return g.refuse(fail("'{}' is not made of constants", value.name()));
  auto constants = fold_node(node);
  if (!constants) return g.refuse(std::move(constants).error());
  node.block()->erase(node);
  return constants->at(0);
}

}  // namespace pomona::rewrite
