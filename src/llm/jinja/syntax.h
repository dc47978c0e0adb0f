// A template's tree, and the parser that makes it.
//
//   Template t = POM_TRY(parse("{% for m in messages %}{{ m.content }}{% endfor %}"));
//   std::string text = POM_TRY(render(t, variables));
#pragma once
#include <memory>

#include "llm/jinja/value.h"

namespace pomona::llm::jinja {

struct Expression {
  enum class Kind : std::uint8_t {
    literal,      // value
    name,         // text
    list,         // parts; a tuple if text says so
    mapping,      // parts: key, value, key, value
    attribute,    // parts[0] . text
    subscript,    // parts[0] [ parts[1] ]
    slice,        // parts[0] [ parts[1] : parts[2] : parts[3] ], absent ones null
    call,         // parts[0] ( arguments )
    filter,       // parts[0] | text ( arguments )
    test,         // parts[0] is text ( arguments )
    unary,        // text: "-", "+", "not"
    binary,       // text: the operator; "and" and "or" too
    conditional,  // parts[0] if parts[1] else parts[2] (may be null)
  } kind = Kind::literal;
  std::string text;
  Value value;
  std::vector<std::unique_ptr<Expression>> parts;
  std::vector<std::unique_ptr<Expression>> positional;
  std::vector<std::pair<std::string, std::unique_ptr<Expression>>> named;
};
using ExpressionPointer = std::unique_ptr<Expression>;

struct Statement;
using Statements = std::vector<Statement>;
struct Statement {
  enum class Kind : std::uint8_t {
    text,        // text
    output,      // expression
    branch,      // if: branches of condition and body; the last may have no condition
    loop,        // targets in expression (if condition): body, otherwise
    assignment,  // set targets = expression; or, without one, = what body renders
    macro,       // text ( parameters ): body
    call,        // expression, with what body renders as `caller` ( parameters )
    filter,      // expression, in which the variable "" is what body renders
    scope,       // with parameters, as their defaults say: body
    leave,       // break
    next,        // continue
  } kind = Kind::text;
  std::string text;
  std::vector<std::string> targets;  // "ns.x" assigns to a namespace
  ExpressionPointer expression, condition;
  Statements body, otherwise;
  std::vector<std::pair<ExpressionPointer, Statements>> branches;
  std::vector<std::pair<std::string, ExpressionPointer>> parameters;  // with defaults
  std::size_t line = 1;
};

struct Template {
  Statements statements;
};

// A piece of the source: text, what stands within {{ }}, or within {% %}.
struct Piece {
  enum class Kind : std::uint8_t { text, output, block } kind = Kind::text;
  std::string text;
  std::size_t line = 1;
};
Result<std::vector<Piece>> pieces_of(std::string_view source);

struct Token {
  enum class Kind : std::uint8_t { name, integer, real, string, symbol, end } kind = Kind::end;
  std::string text;
};
Result<std::vector<Token>> tokens_of(std::string_view expression);

Result<Template> parse(std::string_view source);
Result<std::string> render(const Template& parsed, Entries variables);

}  // namespace pomona::llm::jinja
