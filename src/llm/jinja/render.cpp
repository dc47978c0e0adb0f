#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "llm/chat_template.h"
#include "llm/jinja/syntax.h"
#include "llm/tokenizers/unicode.h"

namespace pomona::llm::jinja {
namespace {

constexpr std::size_t most_steps = 1'000'000, most_bytes = std::size_t{64} << 20;
constexpr int deepest_call = 50;

enum class Flow : std::uint8_t { goes_on, leaves, next };

class Renderer {
 public:
  explicit Renderer(Entries variables) {
    scopes_.push_back(global_functions());
    for (auto& [name, value] : variables) assign(scopes_.back(), name, std::move(value));
  }

  Result<Flow> run(const Statements& statements, std::string& out) {
    POM_REQUIRE(++steps_ < most_steps && out.size() < most_bytes, "the template does not come to an end");
    for (const Statement& s : statements) {
      Flow flow = POM_TRY_IN(run_one(s, out), "line {}", s.line);
      if (flow != Flow::goes_on) return flow;
    }
    return Flow::goes_on;
  }

 private:
  using Scope = Entries;

  static void assign(Scope& scope, const std::string& name, Value value) {
    for (auto& [known, held] : scope)
      if (known == name) {
        held = std::move(value);
        return;
      }
    scope.emplace_back(name, std::move(value));
  }
  Value look_up(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      for (const auto& [known, value] : *scope)
        if (known == name) return value;
    return Value::undefined(name);
  }
  Status assign_target(const std::string& target, Value value) {
    std::size_t dot = target.find('.');
    if (dot == target.npos) {
      assign(scopes_.back(), target, std::move(value));
      return {};
    }
    Value space = look_up(target.substr(0, dot));
    POM_REQUIRE(space.mapping() && space.mapping()->is_namespace, "'{}' is no namespace", target.substr(0, dot));
    space.mapping()->set(target.substr(dot + 1), std::move(value));
    return {};
  }
  Status assign_targets(const std::vector<std::string>& targets, const Value& value) {
    if (targets.size() == 1) return assign_target(targets[0], value);
    List parts = POM_TRY(elements_of(value));
    POM_REQUIRE(parts.size() == targets.size(), "{} values cannot become {} variables", parts.size(), targets.size());
    for (std::size_t i = 0; i < parts.size(); ++i) POM_TRY(assign_target(targets[i], parts[i]));
    return {};
  }

  Result<Flow> run_one(const Statement& s, std::string& out) {
    switch (s.kind) {
      case Statement::Kind::text:
        out += s.text;
        return Flow::goes_on;
      case Statement::Kind::output:
        out += text_of(POM_TRY(value(*s.expression)));
        return Flow::goes_on;
      case Statement::Kind::branch:
        for (const auto& [condition, body] : s.branches)
          if (!condition || POM_TRY(value(*condition)).truth()) return run(body, out);
        return Flow::goes_on;
      case Statement::Kind::loop:
        return run_loop(s, out);
      case Statement::Kind::assignment: {
        std::string text;
        if (!s.expression) POM_TRY(run(s.body, text));
        POM_TRY(assign_targets(s.targets, s.expression ? POM_TRY(value(*s.expression)) : Value(text)));
        return Flow::goes_on;
      }
      case Statement::Kind::macro:
        assign(scopes_.back(), s.text, Value(Function([this, &s](const Arguments& a) { return call_macro(s, a); })));
        return Flow::goes_on;
      case Statement::Kind::call:
        out += text_of(POM_TRY(run_call(s)));
        return Flow::goes_on;
      case Statement::Kind::filter: {
        std::string text;
        POM_TRY(run(s.body, text));
        scopes_.push_back({{"", Value(text)}});
        Value made = POM_TRY(value(*s.expression));
        scopes_.pop_back();
        out += text_of(made);
        return Flow::goes_on;
      }
      case Statement::Kind::scope: {
        Scope own;
        for (const auto& [name, usual] : s.parameters) assign(own, name, POM_TRY(value(*usual)));
        scopes_.push_back(std::move(own));
        Flow flow = POM_TRY(run(s.body, out));
        scopes_.pop_back();
        return flow;
      }
      case Statement::Kind::leave:
        return Flow::leaves;
      case Statement::Kind::next:
        return Flow::next;
    }
    return Flow::goes_on;
  }

  static Value loop_facts(const List& all, std::size_t i, std::size_t depth) {
    auto whole = [](std::size_t n) { return Value(std::int64_t(n)); };
    Entries facts{{"index", whole(i + 1)},
                  {"index0", whole(i)},
                  {"first", Value(i == 0)},
                  {"last", Value(i + 1 == all.size())},
                  {"length", whole(all.size())},
                  {"revindex", whole(all.size() - i)},
                  {"revindex0", whole(all.size() - i - 1)},
                  {"depth", whole(depth)},
                  {"depth0", whole(depth - 1)},
                  {"previtem", i ? all[i - 1] : Value::undefined("previtem")},
                  {"nextitem", i + 1 < all.size() ? all[i + 1] : Value::undefined("nextitem")}};
    facts.emplace_back("cycle", Value(Function([i](const Arguments& a) -> Result<Value> {
                         POM_REQUIRE(!a.positional.empty(), "cycle needs values");
                         return a.positional[i % a.positional.size()];
                       })));
    return Value::mapping_of(std::move(facts));
  }

  Result<Flow> run_loop(const Statement& s, std::string& out) {
    List all = POM_TRY(elements_of(POM_TRY(value(*s.expression))));
    if (s.condition) {
      List kept;
      for (const Value& each : all) {
        scopes_.emplace_back();
        POM_TRY(assign_targets(s.targets, each));
        bool wanted = POM_TRY(value(*s.condition)).truth();
        scopes_.pop_back();
        if (wanted) kept.push_back(each);
      }
      all = std::move(kept);
    }
    if (all.empty()) return run(s.otherwise, out);
    ++loops_;
    for (std::size_t i = 0; i < all.size(); ++i) {
      scopes_.emplace_back();
      POM_TRY(assign_targets(s.targets, all[i]));
      assign(scopes_.back(), "loop", loop_facts(all, i, loops_));
      Flow flow = POM_TRY(run(s.body, out));
      scopes_.pop_back();
      if (flow == Flow::leaves) break;
    }
    --loops_;
    return Flow::goes_on;
  }

  // A macro is called that may call `caller`, whose body sees what is seen here.
  Result<Value> run_call(const Statement& s) {
    Value callee = POM_TRY(value(*s.expression->parts[0]));
    POM_REQUIRE(callee.function(), "'call' needs a macro, not {}", kind_of(callee));
    Arguments all = POM_TRY(arguments(*s.expression));
    all.named.emplace_back(
        "caller", Value(Function([this, &s, here = scopes_](const Arguments& a) { return call_body(s, a, here); })));
    return (*callee.function())(all);
  }

  Result<Value> call_macro(const Statement& macro, const Arguments& a) {
    // A macro sees its own names and the template's.
    return call_body(macro, a, {scopes_.front()});
  }
  Result<Value> call_body(const Statement& macro, const Arguments& a, std::vector<Scope> outer) {
    POM_REQUIRE(++calls_ < deepest_call, "macro '{}' calls itself too often", macro.text);
    POM_REQUIRE(a.positional.size() <= macro.parameters.size(), "macro '{}' takes {} values, not {}", macro.text,
                macro.parameters.size(), a.positional.size());
    outer.emplace_back();
    std::swap(scopes_, outer);
    for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
      const auto& [name, usual] = macro.parameters[i];
      Value given = a.at(i, name);
      bool absent = i >= a.positional.size() && given.is_undefined();
      assign(scopes_.back(), name, absent && usual ? POM_TRY(value(*usual)) : given);
    }
    for (const auto& [name, given] : a.named)
      if (name == "caller") assign(scopes_.back(), name, given);
    std::string text;
    auto done = run(macro.body, text);
    std::swap(scopes_, outer);
    --calls_;
    if (!done) return std::move(done).error();
    return Value(text);
  }

  Result<Value> value(const Expression& e) {
    POM_REQUIRE(++steps_ < most_steps, "the template does not come to an end");
    using Kind = Expression::Kind;
    switch (e.kind) {
      case Kind::literal:
        return e.value;
      case Kind::name:
        return look_up(e.text);
      case Kind::list: {
        List all;
        for (const auto& part : e.parts) all.push_back(POM_TRY(value(*part)));
        return e.text == "tuple" ? Value::tuple_of(std::move(all)) : Value::list_of(std::move(all));
      }
      case Kind::mapping: {
        Value made = Value::mapping_of();
        for (std::size_t i = 0; i + 1 < e.parts.size(); i += 2)
          made.mapping()->set(text_of(POM_TRY(value(*e.parts[i]))), POM_TRY(value(*e.parts[i + 1])));
        return made;
      }
      case Kind::attribute:
        return attribute(POM_TRY(value(*e.parts[0])), e.text);
      case Kind::subscript:
        return subscript(POM_TRY(value(*e.parts[0])), POM_TRY(value(*e.parts[1])));
      case Kind::slice:
        return slice(e);
      case Kind::call:
        return call(e);
      case Kind::filter:
        return apply_filter(e.text, POM_TRY(value(*e.parts[0])), POM_TRY(arguments(e)));
      case Kind::test:
        return Value(POM_TRY(apply_test(e.text, POM_TRY(value(*e.parts[0])), POM_TRY(arguments(e)))));
      case Kind::unary:
        return unary(e);
      case Kind::binary:
        return binary(e);
      case Kind::conditional:
        if (POM_TRY(value(*e.parts[1])).truth()) return value(*e.parts[0]);
        return e.parts[2] ? value(*e.parts[2]) : Result<Value>(Value());
    }
    return Value();
  }

  Result<Arguments> arguments(const Expression& e) {
    Arguments all;
    for (const auto& each : e.positional) all.positional.push_back(POM_TRY(value(*each)));
    for (const auto& [name, each] : e.named) all.named.emplace_back(name, POM_TRY(value(*each)));
    return all;
  }

  Result<Value> call(const Expression& e) {
    Value callee = POM_TRY(value(*e.parts[0]));
    const Expression& what = *e.parts[0];
    if (!callee.function()) {
      std::string kind(kind_of(callee));
      return fail("'{}' is {}, and cannot be called", what.text, kind);
    }
    return (*callee.function())(POM_TRY(arguments(e)));
  }

  static Result<Value> subscript(const Value& from, const Value& key) {
    POM_REQUIRE(!from.is_undefined(), "'{}' is undefined, and has no parts", from.undefined_name());
    if (from.mapping()) {
      if (const Value* found = from.mapping()->find(text_of(key))) return *found;
      return Value::undefined(text_of(key));
    }
    if (key.string()) return attribute(from, *key.string());
    if (!key.integer()) return Value();
    List all = POM_TRY(elements_of(from));
    std::int64_t at = *key.integer() < 0 ? *key.integer() + std::int64_t(all.size()) : *key.integer();
    if (at < 0 || at >= std::int64_t(all.size())) return Value::undefined(fmt::format("[{}]", *key.integer()));
    return all[std::size_t(at)];
  }

  Result<Value> slice(const Expression& e) {
    Value from = POM_TRY(value(*e.parts[0]));
    List all = POM_TRY(elements_of(from)), kept;
    std::int64_t size = std::int64_t(all.size()), step = 1;
    std::optional<std::int64_t> bounds[3];
    for (std::size_t i = 0; i < 3; ++i)
      if (e.parts[i + 1]) {
        Value bound = POM_TRY(value(*e.parts[i + 1]));
        POM_REQUIRE(bound.integer() || bound.is_none(), "a slice's bounds are whole numbers, not {}", kind_of(bound));
        if (bound.integer()) bounds[i] = *bound.integer();
      }
    if (bounds[2]) step = *bounds[2];
    POM_REQUIRE(step != 0, "the step of a slice is 0");
    auto place = [&](std::optional<std::int64_t> bound, std::int64_t otherwise) {
      if (!bound) return otherwise;
      std::int64_t at = *bound < 0 ? *bound + size : *bound;
      return step > 0 ? std::clamp<std::int64_t>(at, 0, size) : std::clamp<std::int64_t>(at, -1, size - 1);
    };
    std::int64_t begin = place(bounds[0], step > 0 ? 0 : size - 1), end = place(bounds[1], step > 0 ? size : -1);
    for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) kept.push_back(all[std::size_t(i)]);
    if (from.is_tuple()) return Value::tuple_of(std::move(kept));
    if (!from.string()) return Value::list_of(std::move(kept));
    std::string text;
    for (const Value& each : kept) text += *each.string();
    return Value(text);
  }

  Result<Value> unary(const Expression& e) {
    Value operand = POM_TRY(value(*e.parts[0]));
    if (e.text == "not") return Value(!operand.truth());
    double n = 0;
    POM_REQUIRE(operand.number(n), "'{}' needs a number, not {}", e.text, kind_of(operand));
    if (e.text == "+") return operand;
    return operand.real() ? Value(-n) : Value(-std::int64_t(n));
  }

  Result<Value> binary(const Expression& e) {
    Value a = POM_TRY(value(*e.parts[0]));
    if (e.text == "and") return a.truth() ? value(*e.parts[1]) : Result<Value>(a);
    if (e.text == "or") return a.truth() ? Result<Value>(a) : value(*e.parts[1]);
    Value b = POM_TRY(value(*e.parts[1]));
    if (e.text == "~") return Value(text_of(a) + text_of(b));
    if (e.text == "in" || e.text == "not in") return Value(POM_TRY(apply_test("in", a, {{b}, {}})) == (e.text == "in"));
    for (std::string_view op : {"==", "!=", "<", ">", "<=", ">="})
      if (e.text == op) return Value(POM_TRY(apply_test(e.text, a, {{b}, {}})));
    return arithmetic(e.text, a, b);
  }

  static Result<Value> arithmetic(const std::string& op, const Value& a, const Value& b) {
    if (op == "+" && a.string() && b.string()) return Value(*a.string() + *b.string());
    if (op == "+" && a.list() && b.list()) {
      List all = *a.list();
      all.insert(all.end(), b.list()->begin(), b.list()->end());
      return a.is_tuple() && b.is_tuple() ? Value::tuple_of(std::move(all)) : Value::list_of(std::move(all));
    }
    if (op == "%" && a.string()) return Value(POM_TRY(formatted(*a.string(), b)));
    if (op == "*" && a.list() && b.integer()) {
      POM_REQUIRE(double(a.list()->size()) * double(*b.integer()) < double(most_steps), "a list becomes too long");
      List all;
      for (std::int64_t i = 0; i < *b.integer(); ++i) all.insert(all.end(), a.list()->begin(), a.list()->end());
      return a.is_tuple() ? Value::tuple_of(std::move(all)) : Value::list_of(std::move(all));
    }
    if (op == "*" && a.string() && b.integer()) {
      POM_REQUIRE(double(a.string()->size()) * double(*b.integer()) < double(most_bytes), "a text becomes too long");
      std::string text;
      for (std::int64_t i = 0; i < *b.integer(); ++i) text += *a.string();
      return Value(text);
    }
    double x = 0, y = 0;
    POM_REQUIRE(a.number(x) && b.number(y), "'{}' is not known of {} and {}", op, kind_of(a), kind_of(b));
    bool whole = !a.real() && !b.real();
    auto number = [whole](double v) { return whole ? Value(std::int64_t(v)) : Value(v); };
    if (op == "+") return number(x + y);
    if (op == "-") return number(x - y);
    if (op == "*") return number(x * y);
    if (op == "**") return y < 0 ? Value(std::pow(x, y)) : number(std::pow(x, y));
    POM_REQUIRE(y != 0, "a division by 0");
    if (op == "/") return Value(x / y);
    if (op == "//") return number(std::floor(x / y));
    return number(x - std::floor(x / y) * y);
  }

  std::vector<Scope> scopes_;
  std::size_t steps_ = 0, loops_ = 0;
  int calls_ = 0;
};

}  // namespace

Result<std::string> render(const Template& parsed, Entries variables) {
  Renderer renderer(std::move(variables));
  std::string out;
  POM_TRY(renderer.run(parsed.statements, out));
  return out;
}

}  // namespace pomona::llm::jinja

namespace pomona::llm {

Result<ChatTemplate> ChatTemplate::parse(std::string_view text) {
  ChatTemplate made;
  made.template_ = std::make_shared<const jinja::Template>(POM_TRY(jinja::parse(text)));
  return made;
}

Result<std::string> ChatTemplate::render(const nlohmann::ordered_json& variables) const {
  jinja::Entries entries;
  for (const auto& [name, value] : variables.items()) entries.emplace_back(name, jinja::value_of(value));
  return jinja::render(*template_, std::move(entries));
}

}  // namespace pomona::llm
