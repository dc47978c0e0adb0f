#include "rewrite/check_rule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ir/evaluate.h"
#include "ops/tensor_operation.h"

namespace pomona::rewrite {
namespace {

// Counts through all combinations of choices, of which each may depend on those before it.
class Choices {
 public:
  std::size_t choose(std::size_t count) {
    if (next_ == made_.size()) made_.push_back({0, count});
    return made_[next_++].first;
  }
  // False when all combinations have been seen.
  bool advance() {
    made_.resize(std::min(made_.size(), next_));
    next_ = 0;
    while (!made_.empty() && made_.back().first + 1 == made_.back().second) made_.pop_back();
    if (made_.empty()) return false;
    ++made_.back().first;
    return true;
  }
  std::string text() const {
    std::string text;
    for (auto [choice, count] : made_) text += fmt::format("{}{}/{}", text.empty() ? "" : " ", choice + 1, count);
    return text.empty() ? "the only one" : text;
  }

 private:
  std::vector<std::pair<std::size_t, std::size_t>> made_;
  std::size_t next_ = 0;
};

// The pattern as a program.
class Example {
 public:
  Example(const Rule& rule, Target opset, std::mt19937& random, Choices& choices, bool vary)
      : random_(random), choices_(choices), vary_(vary), function_(program.add_function("main", opset)) {
    Value root = build(rule.pattern);
    if (!root) return;
    // Results of a model keep their names, so the root is not one itself.
    Builder g(function_);
    function_.body.set_results({g.add(mil::identity{.x = root}, "result")});
  }

  Program program;
  Status status;
  std::string shapes;  // of the wildcards

  Result<Tensor> evaluate() {
    Evaluation run(function_);
    Tensors results = POM_TRY(run(inputs_));
    return results[0];
  }

 private:
  Value build(const Pattern& p) {
    if (p.kind == Pattern::Kind::either) return build(p.parts[choices_.choose(p.parts.size())]);
    for (const auto& [name, value] : known_)
      if (!p.name.empty() && name == p.name) return value;
    if (p.is_optional && choices_.choose(2) == 1) return {};
    if (p.kind == Pattern::Kind::any && !p.parts.empty()) {
      Value value = build(p.parts[0]);
      known_.emplace_back(p.name, value);
      return value;
    }
    Builder g(function_);
    Value value = p.kind == Pattern::Kind::call  ? build_call(p)
                  : p.kind == Pattern::Kind::any ? build_input(p)
                                                 : g.constant(example_tensor(p), std::string(p.name));
    if (!p.name.empty()) known_.emplace_back(p.name, value);
    return value;
  }

  Value build_call(const Pattern& p) {
    Values inputs;
    std::vector<std::uint32_t> counts;
    for (const Pattern& argument : p.parts) {
      Value value = build(argument);
      if (!status) return {};
      counts.push_back(value ? 1 : 0);
      if (value) inputs.push_back(value);
    }
    counts.resize(p.op->inputs.size());
    std::vector<Attribute> attributes = p.op->defaults;
    for (const auto* given : {&p.required, &p.example})
      for (const auto& [field, value] : *given) attributes[*p.op->attribute_index(field)] = value;
    Builder g(function_);
    Values outputs = g.add_call(*p.op, std::move(attributes), std::move(inputs), std::move(counts));
    if (!g.status()) status = g.status().error();
    return outputs.empty() ? Value() : outputs[0];
  }

  Value build_input(const Pattern& p) {
    Tensor tensor = example_tensor(p);
    std::string name = p.name.empty() ? fmt::format("input{}", inputs_.size()) : std::string(p.name);
    Value input = function_.body.add_input(name, tensor.type());
    inputs_[name] = tensor;
    return input;
  }

  Tensor example_tensor(const Pattern& p) {
    if (p.kind == Pattern::Kind::constant && !p.example.empty())
      return Tensor::ints(std::get<Ints>(p.example[0].second));
    Sizes sizes = known_sizes(p.type.shape);
    if (vary_) sizes = varied(std::move(sizes));
    shapes += fmt::format(" {}{}", p.name, to_string(sizes));
    std::vector<double> numbers(std::size_t(element_count(sizes)));
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> positive(0.5, 2);
    for (double& n : numbers)
      n = p.kind == Pattern::Kind::number  ? p.value
          : p.type.dtype == DType::boolean ? double(random_() % 4 != 0)
          : is_float(p.type.dtype)         ? (p.is_positive ? positive(random_) : normal(random_))
                                           : double(random_() % 7);
    return Tensor::from_numbers(p.type.dtype, sizes, numbers);
  }

  // Shapes with which ops may still broadcast: dims of 1, fewer dims, more dims, dims in another order.
  Sizes varied(Sizes sizes) {
    auto any_place = [&] { return sizes.begin() + std::ptrdiff_t(random_() % sizes.size()); };
    for (unsigned changes = random_() % 3; changes-- > 0;) switch (random_() % 5) {
        case 0:
          if (!sizes.empty()) *any_place() = 1;
          break;
        case 1:
          if (!sizes.empty()) sizes.erase(any_place());
          break;
        case 2:
          sizes.insert(sizes.begin(), 1);
          break;
        case 3:
          sizes.push_back(1);
          break;
        default:
          if (!sizes.empty()) std::iter_swap(any_place(), any_place());
      }
    return sizes;
  }

  std::mt19937& random_;
  Choices& choices_;
  bool vary_;
  Function& function_;
  NamedTensors inputs_;
  std::vector<std::pair<std::string_view, Value>> known_;
};

// |after - before| relative to 1 + |before|; infinite when shapes or NaNs differ.
double difference(const Tensor& before, const Tensor& after) {
  if (before.sizes() != after.sizes() || before.dtype() != after.dtype()) return HUGE_VAL;
  double worst = 0;
  for (std::size_t i = 0; i < before.count(); ++i) {
    double x = before.number(i), y = after.number(i);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    double error = std::fabs(x - y) / (1 + std::fabs(x));
    worst = std::max(worst, std::isnan(error) ? HUGE_VAL : error);
  }
  return worst;
}

struct Outcome {
  bool built = false, applied = false;
  std::string refusal;
  double error = 0;
};

Result<Outcome> try_once(const Rule& rule, Example& example) {
  Outcome outcome;
  if (!example.status) return outcome;
  auto before = example.evaluate();
  if (!before) return outcome;
  outcome.built = true;
  RuleTrace trace{rule.name, {}};
  const Rule* rules[] = {&rule};
  outcome.applied = POM_TRY(apply_rules(example.program, rules, &trace))[0] > 0;
  if (!trace.refusals.empty()) outcome.refusal = trace.refusals.back().reason;
  if (outcome.applied) outcome.error = difference(*before, POM_TRY(example.evaluate()));
  return outcome;
}

}  // namespace

Result<RuleCheck> check_rule(const Rule& rule, double tolerance) {
  RuleCheck check;
  std::mt19937 random(1);
  constexpr std::size_t most_spellings = 3000, varied_per_spelling = 20;
  for (Target opset : {rule.since, iOS18}) {
    Choices choices;
    std::size_t spellings = 0;
    do {
      for (std::size_t trial = 0; trial <= varied_per_spelling; ++trial) {
        bool vary = trial > 0;
        Choices again = choices;
        Example example(rule, opset, random, vary ? again : choices, vary);
        std::string where = fmt::format("rule '{}', spelling {} at {}:{}", rule.name, (vary ? again : choices).text(),
                                        name(opset), example.shapes);
        Outcome outcome = POM_TRY_IN(try_once(rule, example), "{}", where);
        if (!vary) {
          if (!example.status) return std::move(example.status).error().in(where);
          if (!outcome.built) return fail("the pattern cannot be evaluated").in(where);
          if (!outcome.applied) return fail("the rule does not apply: {}", outcome.refusal).in(where);
          ++check.spellings;
        } else {
          check.other_shapes += outcome.built;
          check.other_shapes_rewritten += outcome.applied;
        }
        check.worst_error = std::max(check.worst_error, outcome.error);
        if (!(outcome.error <= tolerance)) return fail("results are off by {}", outcome.error).in(where);
      }
      if (++spellings == most_spellings) return fail("rule '{}' has too many spellings", rule.name);
    } while (choices.advance());
  }
  return check;
}

}  // namespace pomona::rewrite
