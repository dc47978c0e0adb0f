// Rewrite rules as data. A pattern is built from op structs and can be matched, and also *built*, so that every rule
// is checked against the reference evaluation without anyone writing a test for it (check_rule.h).
//
//   Pattern x = any("x");
//   const Rule silu{.name = "silu", .doc = "x * sigmoid(x)", .pattern = op<mil::mul>(x, op<mil::sigmoid>(x)),
//                   .replace = [](const Match& m, Builder& g) { return g.add(mil::silu{.x = m["x"]}); }};
//   POM_TRY(apply_rules(program, std::array{&silu}));
//
// Patterns see ops through their operands. Operands of commutative ops match in either order. A node inside a match
// must have no users outside of it, or it would be computed twice; shared() lifts that for one whose work is nothing.
// What a pattern cannot say (shapes, axes) is said by the rule's `condition`. A replacement of another type than the
// value it replaces is undone, so a rule need not think of every way to broadcast.
//
// No rule sees more than its pattern: what depends on the whole program is a pass (passes/passes.h).
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ir/builder.h"

namespace pomona::rewrite {

struct Pattern;

// Patterns inside a pattern. Copies share them, as patterns are made of copies of smaller ones.
class Parts {
 public:
  Parts() = default;
  Parts(std::vector<Pattern> patterns);
  inline std::size_t size() const;
  bool empty() const { return size() == 0; }
  inline const Pattern& operator[](std::size_t i) const;
  inline const Pattern* begin() const;
  inline const Pattern* end() const;

 private:
  std::shared_ptr<const std::vector<Pattern>> patterns_;
};

struct Pattern {
  enum class Kind : std::uint8_t {
    any,       // any value
    constant,  // a literal
    number,    // a literal whose elements are all equal
    call,      // a result of `op`
    either,    // the first of `parts` that matches
  } kind = Kind::any;
  std::string_view name;  // the same name stands for the same value everywhere in a pattern
  const OpDef* op = nullptr;
  Parts parts;  // a call's arguments, field by field; alternatives; or what examples of `any` are
  std::vector<std::pair<std::string_view, Attribute>> required, example;
  bool is_optional = false;  // an argument that may be absent
  bool is_shared = false;    // may have users outside of the match
  bool is_positive = false;  // as an example: of positive numbers
  bool is_given = false;     // number: must be `value`
  double value = 0;
  Type type;  // as an example

  Pattern named(std::string_view n) const {
    return changed([&](Pattern& p) { p.name = n; });
  }
  // An attribute that the node must have, or has in examples only.
  Pattern with(std::string_view field, Attribute v) const {
    return changed([&](Pattern& p) { p.required.emplace_back(field, std::move(v)); });
  }
  Pattern such_as(std::string_view field, Attribute v) const {
    return changed([&](Pattern& p) { p.example.emplace_back(field, std::move(v)); });
  }
  // A wildcard whose examples are built like this.
  Pattern like(Pattern built) const {
    return changed([&](Pattern& p) { p.parts = std::vector{std::move(built)}; });
  }
  Pattern shared() const {
    return changed([](Pattern& p) { p.is_shared = true; });
  }
  Pattern positive() const {
    return changed([](Pattern& p) { p.is_positive = true; });
  }

 private:
  template <class Change>
  Pattern changed(Change change) const {
    Pattern p = *this;
    change(p);
    return p;
  }
};

inline Parts::Parts(std::vector<Pattern> patterns)
    : patterns_(std::make_shared<const std::vector<Pattern>>(std::move(patterns))) {}
inline std::size_t Parts::size() const { return patterns_ ? patterns_->size() : 0; }
inline const Pattern& Parts::operator[](std::size_t i) const { return (*patterns_)[i]; }
inline const Pattern* Parts::begin() const { return patterns_ ? patterns_->data() : nullptr; }
inline const Pattern* Parts::end() const { return begin() + size(); }

// Wildcards; the sizes are those of examples.
Pattern any(std::string_view name, Sizes sizes = {2, 3, 4}, DType dtype = DType::fp32);
Pattern constant(std::string_view name, Sizes sizes, DType dtype = DType::fp32);
// A literal of equal numbers: this one (to 5 digits, 3 in fp16), or any.
Pattern number(double value);
Pattern number(std::string_view name, double example);
// Literal integers; only these when there is no name.
Pattern integers(std::string_view name, Ints example);
// A literal bool, everywhere the same.
Pattern flag(bool value);
Pattern either(std::vector<Pattern> alternatives);
Pattern maybe(Pattern argument);
template <class Op, class... Patterns>
Pattern op(Patterns... arguments) {
  Pattern p;
  p.kind = Pattern::Kind::call;
  p.op = &def<Op>();
  std::vector<Pattern> parts;
  parts.reserve(sizeof...(arguments));
  (parts.push_back(std::move(arguments)), ...);
  p.parts = std::move(parts);
  return p;
}

// What a pattern's names stand for.
class Match {
 public:
  Node* root = nullptr;
  std::vector<std::pair<std::string_view, Value>> names;
  std::vector<Node*> inner;  // nodes of the pattern other than the root that must have no users outside

  // An empty handle for what is absent.
  Value operator[](std::string_view name) const;
  // The node that makes the named value.
  const Node& node(std::string_view name) const { return *(*this)[name].producer(); }
  // The number in the literal of this name.
  double number(std::string_view name) const { return (*this)[name].number().value_or(0); }
  Target opset() const { return root->block()->function().opset; }
  Value result() const { return root->output(); }
};

struct Rule {
  std::string_view name, doc;
  Pattern pattern;
  // Why the rule does not apply here after all; empty when it does.
  std::function<std::string_view(const Match&)> condition = nullptr;
  // The value that takes the root's place; its nodes are added before the root.
  std::function<Value(const Match&, Builder&)> replace = nullptr;
  Target since = iOS15;
};

// A node at which a rule was tried and did not apply, and why: `--why RULE`.
struct Refusal {
  std::string node, reason;
  std::size_t depth = 0;  // nodes of the pattern that did match
};
struct RuleTrace {
  std::string_view rule;
  std::vector<Refusal> refusals;
};

// Whether the pattern matches with its root at this node.
bool match(const Pattern& pattern, Node& root, Match& found, Refusal* refusal = nullptr);

using RuleList = std::span<const Rule* const>;
// Applies the rules until none does, in time proportional to nodes and changes. Returns how often each one applied.
Result<std::vector<std::size_t>> apply_rules(Program& program, RuleList rules, RuleTrace* trace = nullptr);

// For replacements: the constant that this value, computed from constants, is (as a recipe when large).
Value folded(Builder& g, Value value);

}  // namespace pomona::rewrite
