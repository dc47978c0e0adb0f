#include <algorithm>
#include <cstdlib>

#include "llm/jinja/syntax.h"

namespace pomona::llm::jinja {
namespace {

constexpr int deepest = 100;
using Kind = Expression::Kind;

ExpressionPointer make(Kind kind, std::string text = {}) {
  auto e = std::make_unique<Expression>();
  e->kind = kind;
  e->text = std::move(text);
  return e;
}
template <class... P>
ExpressionPointer make_of(Kind kind, std::string text, P... parts) {
  ExpressionPointer e = make(kind, std::move(text));
  (e->parts.push_back(std::move(parts)), ...);
  return e;
}
ExpressionPointer constant(Value value) {
  ExpressionPointer e = make(Kind::literal);
  e->value = std::move(value);
  return e;
}

using Parsed = Result<ExpressionPointer>;

// Jinja's grammar of expressions, the loosest first.
class Expressions {
 public:
  explicit Expressions(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& now() const { return tokens_[at_]; }
  bool is(std::string_view text) const {
    return now().text == text && (now().kind == Token::Kind::symbol || now().kind == Token::Kind::name);
  }
  bool take(std::string_view text) {
    if (!is(text)) return false;
    ++at_;
    return true;
  }
  Status expect(std::string_view text) {
    POM_REQUIRE(take(text), "'{}' is expected, not '{}'", text, now().text);
    return {};
  }
  Result<std::string> name() {
    POM_REQUIRE(now().kind == Token::Kind::name, "a name is expected, not '{}'", now().text);
    return tokens_[at_++].text;
  }
  Status finish() {
    POM_REQUIRE(now().kind == Token::Kind::end, "'{}' is not expected here", now().text);
    return {};
  }

  // `tuples`: "a, b" is a list.
  Parsed expression(bool tuples = false) {
    ExpressionPointer first = POM_TRY(conditional());
    if (!tuples || !is(",")) return first;
    ExpressionPointer list = make_of(Kind::list, "tuple", std::move(first));
    while (take(","))
      if (now().kind != Token::Kind::end) list->parts.push_back(POM_TRY(conditional()));
    return list;
  }
  // Filters of the variable "", one after the other.
  Parsed filters() {
    ExpressionPointer value = make(Kind::name);
    do value = POM_TRY(filtered(std::move(value)));
    while (take("|"));
    return value;
  }
  // Without "if", which a loop's filter begins with.
  Parsed alternative() { return binary(0); }

 private:
  Parsed conditional() {
    POM_REQUIRE(++depth_ < deepest, "an expression is nested more than {} deep", deepest);
    ExpressionPointer value = POM_TRY(binary(0));
    while (take("if")) {
      ExpressionPointer condition = POM_TRY(binary(0)), otherwise;
      if (take("else")) otherwise = POM_TRY(conditional());
      value = make_of(Kind::conditional, "", std::move(value), std::move(condition), std::move(otherwise));
    }
    --depth_;
    return value;
  }

  // or, and, not, comparisons, sums, ~, products, powers.
  Parsed binary(int level) {
    static const std::vector<std::vector<std::string_view>> operators = {
        {"or"}, {"and"}, {}, {"==", "!=", "<", ">", "<=", ">=", "in", "not"}, {"+", "-"}, {"~"}, {"*", "/", "//", "%"},
        {"**"}};
    constexpr int of_not = 2;
    if (level == of_not) {
      if (!take("not")) return binary(level + 1);
      POM_REQUIRE(++depth_ < deepest, "an expression is nested more than {} deep", deepest);
      ExpressionPointer operand = POM_TRY(binary(level));
      --depth_;
      return make_of(Kind::unary, "not", std::move(operand));
    }
    if (level == int(operators.size())) return unary();
    ExpressionPointer left = POM_TRY(binary(level + 1));
    for (;;) {
      std::string found;
      for (std::string_view op : operators[std::size_t(level)])
        if (is(op)) found = op;
      if (found.empty()) return left;
      if (found == "not" && tokens_[at_ + 1].text != "in") return left;
      ++at_;
      if (found == "not") {
        ++at_;
        found = "not in";
      }
      ExpressionPointer right = POM_TRY(binary(level + 1));
      left = make_of(Kind::binary, found, std::move(left), std::move(right));
    }
  }

  // Filters and tests are of a number with its sign.
  Parsed unary(bool filters = true) {
    for (const char* sign : {"-", "+"})
      if (take(sign)) {
        POM_REQUIRE(++depth_ < deepest, "an expression is nested more than {} deep", deepest);
        ExpressionPointer operand = POM_TRY(unary(false));
        --depth_;
        ExpressionPointer made = make_of(Kind::unary, sign, std::move(operand));
        return filters ? followed(std::move(made)) : std::move(made);
      }
    return followed(POM_TRY(primary()), filters);
  }

  // Attributes, subscripts, calls, filters and tests.
  Parsed followed(ExpressionPointer value, bool filters = true) {
    for (;;) {
      if (!filters && (is("|") || is("is"))) return value;
      if (take(".")) {
        if (now().kind == Token::Kind::integer)
          value = make_of(Kind::subscript, "", std::move(value),
                          constant(Value(std::int64_t(std::atoll(tokens_[at_++].text.c_str())))));
        else
          value = make_of(Kind::attribute, POM_TRY(name()), std::move(value));
      } else if (take("[")) {
        value = POM_TRY(subscript(std::move(value)));
      } else if (take("(")) {
        value = make_of(Kind::call, "", std::move(value));
        POM_TRY(arguments(*value));
      } else if (take("|")) {
        value = POM_TRY(filtered(std::move(value)));
      } else if (is("is")) {
        ++at_;
        value = POM_TRY(test(std::move(value)));
      } else {
        return value;
      }
    }
  }

  Parsed filtered(ExpressionPointer value) {
    std::string filter = POM_TRY(name());
    POM_REQUIRE(is_filter(filter), "the filter '{}' is not known", filter);
    value = make_of(Kind::filter, filter, std::move(value));
    if (take("(")) POM_TRY(arguments(*value));
    return value;
  }

  Parsed test(ExpressionPointer value) {
    bool negated = take("not");
    std::string which = POM_TRY(name());
    POM_REQUIRE(is_test(which), "the test '{}' is not known", which);
    ExpressionPointer made = make_of(Kind::test, which, std::move(value));
    bool operand = now().kind == Token::Kind::string || now().kind == Token::Kind::integer || is("[") ||
                   (now().kind == Token::Kind::name && !is("else") && !is("or") && !is("and") && !is("if") &&
                    !is("is") && !is("not") && !is("in"));
    if (take("("))
      POM_TRY(arguments(*made));
    else if (operand)
      made->positional.push_back(POM_TRY(primary()));
    return negated ? make_of(Kind::unary, "not", std::move(made)) : std::move(made);
  }

  Parsed subscript(ExpressionPointer value) {
    ExpressionPointer bounds[3];
    int colons = 0;
    while (!is("]")) {
      if (take(":")) {
        POM_REQUIRE(++colons <= 2, "a slice has too many parts");
        continue;
      }
      bounds[colons] = POM_TRY(conditional());
    }
    POM_TRY(expect("]"));
    if (colons)
      return make_of(Kind::slice, "", std::move(value), std::move(bounds[0]), std::move(bounds[1]),
                     std::move(bounds[2]));
    POM_REQUIRE(bounds[0], "a subscript is empty");
    return make_of(Kind::subscript, "", std::move(value), std::move(bounds[0]));
  }

  Status arguments(Expression& call) {
    while (!take(")")) {
      POM_REQUIRE(!is("*") && !is("**"), "arguments by '*' are not known");
      if (now().kind == Token::Kind::name && tokens_[at_ + 1].text == "=" &&
          tokens_[at_ + 1].kind == Token::Kind::symbol) {
        std::string key = POM_TRY(name());
        ++at_;
        call.named.emplace_back(key, POM_TRY(conditional()));
      } else {
        call.positional.push_back(POM_TRY(conditional()));
      }
      if (!is(")")) POM_TRY(expect(","));
    }
    return {};
  }

  Parsed primary() {
    Token token = now();
    if (token.kind != Token::Kind::end) ++at_;
    switch (token.kind) {
      case Token::Kind::string: {
        std::string text = token.text;
        while (now().kind == Token::Kind::string) text += tokens_[at_++].text;
        return constant(Value(text));
      }
      case Token::Kind::integer:
        return constant(Value(std::int64_t(std::atoll(token.text.c_str()))));
      case Token::Kind::real:
        return constant(Value(std::strtod(token.text.c_str(), nullptr)));
      case Token::Kind::name:
        if (token.text == "true" || token.text == "True") return constant(Value(true));
        if (token.text == "false" || token.text == "False") return constant(Value(false));
        if (token.text == "none" || token.text == "None") return constant(Value(None{}));
        return make(Kind::name, token.text);
      default:
        break;
    }
    if (token.text == "(") return group();
    if (token.text == "[") return sequence("]", make(Kind::list));
    if (token.text == "{") return mapping();
    return fail("'{}' is not expected here", token.text.empty() ? "the end" : token.text);
  }

  Parsed group() {
    if (take(")")) return make(Kind::list, "tuple");
    ExpressionPointer first = POM_TRY(conditional());
    if (take(")")) return first;
    POM_TRY(expect(","));
    ExpressionPointer list = make_of(Kind::list, "tuple", std::move(first));
    return sequence(")", std::move(list));
  }
  Parsed sequence(std::string_view close, ExpressionPointer list) {
    while (!take(close)) {
      list->parts.push_back(POM_TRY(conditional()));
      if (!is(close)) POM_TRY(expect(","));
    }
    return list;
  }
  Parsed mapping() {
    ExpressionPointer made = make(Kind::mapping);
    while (!take("}")) {
      made->parts.push_back(POM_TRY(conditional()));
      POM_TRY(expect(":"));
      made->parts.push_back(POM_TRY(conditional()));
      if (!is("}")) POM_TRY(expect(","));
    }
    return made;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

class Blocks {
 public:
  explicit Blocks(std::vector<Piece> pieces) : pieces_(std::move(pieces)) {}

  // Until a block that begins with one of `ends`, which is left to the caller (its words in last_).
  Result<Statements> until(const std::vector<std::string_view>& ends) {
    POM_REQUIRE(++depth_ < deepest, "blocks are nested more than {} deep", deepest);
    Statements all;
    while (at_ < pieces_.size()) {
      Piece& piece = pieces_[at_++];
      line_ = piece.line;
      if (piece.kind == Piece::Kind::text) {
        all.push_back({.kind = Statement::Kind::text, .text = std::move(piece.text), .line = line_});
        continue;
      }
      Expressions words(POM_TRY_IN(tokens_of(piece.text), "line {}", line_));
      if (piece.kind == Piece::Kind::output) {
        Statement output{.kind = Statement::Kind::output, .line = line_};
        output.expression = POM_TRY_IN(words.expression(true), "line {}", line_);
        POM_TRY_IN(words.finish(), "line {}", line_);
        all.push_back(std::move(output));
        continue;
      }
      std::string word = POM_TRY_IN(words.name(), "line {}", line_);
      if (std::find(ends.begin(), ends.end(), word) != ends.end()) {
        last_ = word;
        last_words_ = std::make_unique<Expressions>(std::move(words));
        --depth_;
        return all;
      }
      std::size_t line = line_;
      POM_TRY_IN(statement(word, words, all), "line {}", line);
    }
    POM_REQUIRE(ends.empty(), "'{}' is missing at the end", ends.back());
    --depth_;
    return all;
  }

 private:
  Status statement(const std::string& word, Expressions& words, Statements& all) {
    Statement made{.line = line_};
    if (word == "if") {
      POM_TRY(branch(words, made));
    } else if (word == "for") {
      POM_TRY(loop(words, made));
    } else if (word == "set") {
      POM_TRY(assignment(words, made));
    } else if (word == "macro") {
      POM_TRY(macro(words, made));
    } else if (word == "call") {
      POM_TRY(call(words, made));
    } else if (word == "filter") {
      made.kind = Statement::Kind::filter;
      made.expression = POM_TRY(words.filters());
      POM_TRY(words.finish());
      made.body = POM_TRY(until({"endfilter"}));
    } else if (word == "with") {
      POM_TRY(with(words, made));
    } else if (word == "break" || word == "continue") {
      made.kind = word == "break" ? Statement::Kind::leave : Statement::Kind::next;
    } else if (word == "generation") {
      for (Statement& each : POM_TRY(until({"endgeneration"}))) all.push_back(std::move(each));
      return {};
    } else {
      return fail("the statement '{}' is not known", word);
    }
    all.push_back(std::move(made));
    return {};
  }

  Status branch(Expressions& words, Statement& made) {
    made.kind = Statement::Kind::branch;
    ExpressionPointer condition = POM_TRY(words.expression(true));
    POM_TRY(words.finish());
    for (;;) {
      Statements body = POM_TRY(until({"elif", "else", "endif"}));
      made.branches.emplace_back(std::move(condition), std::move(body));
      if (last_ == "endif") return {};
      if (last_ == "elif") {
        condition = POM_TRY(last_words_->expression(true));
        POM_TRY(last_words_->finish());
        continue;
      }
      made.branches.emplace_back(nullptr, POM_TRY(until({"endif"})));
      return {};
    }
  }

  Status targets(Expressions& words, Statement& made) {
    bool group = words.take("(");
    do {
      std::string target = POM_TRY(words.name());
      if (words.take(".")) target += "." + POM_TRY(words.name());
      made.targets.push_back(target);
    } while (words.take(","));
    return group ? words.expect(")") : Status{};
  }

  Status loop(Expressions& words, Statement& made) {
    made.kind = Statement::Kind::loop;
    POM_TRY(targets(words, made));
    POM_TRY(words.expect("in"));
    made.expression = POM_TRY(words.alternative());
    if (words.take("if")) made.condition = POM_TRY(words.expression());
    POM_REQUIRE(!words.is("recursive"), "recursive loops are not known");
    POM_TRY(words.finish());
    made.body = POM_TRY(until({"else", "endfor"}));
    if (last_ == "else") made.otherwise = POM_TRY(until({"endfor"}));
    return {};
  }

  Status assignment(Expressions& words, Statement& made) {
    made.kind = Statement::Kind::assignment;
    POM_TRY(targets(words, made));
    if (words.take("=")) {
      made.expression = POM_TRY(words.expression(true));
      return words.finish();
    }
    POM_TRY(words.finish());
    made.body = POM_TRY(until({"endset"}));
    return {};
  }

  Status macro(Expressions& words, Statement& made) {
    made.kind = Statement::Kind::macro;
    made.text = POM_TRY(words.name());
    POM_TRY(words.expect("("));
    POM_TRY(parameters(words, made));
    POM_TRY(words.finish());
    made.body = POM_TRY(until({"endmacro"}));
    return {};
  }
  static Status parameters(Expressions& words, Statement& made) {
    while (!words.take(")")) {
      std::string parameter = POM_TRY(words.name());
      ExpressionPointer usual;
      if (words.take("=")) usual = POM_TRY(words.expression());
      made.parameters.emplace_back(parameter, std::move(usual));
      if (!words.is(")")) POM_TRY(words.expect(","));
    }
    return {};
  }

  Status call(Expressions& words, Statement& made) {
    made.kind = Statement::Kind::call;
    made.text = "caller";
    if (words.take("(")) POM_TRY(parameters(words, made));
    made.expression = POM_TRY(words.expression());
    POM_REQUIRE(made.expression->kind == Kind::call, "'call' needs a macro that is called");
    POM_TRY(words.finish());
    made.body = POM_TRY(until({"endcall"}));
    return {};
  }

  Status with(Expressions& words, Statement& made) {
    made.kind = Statement::Kind::scope;
    while (words.now().kind != Token::Kind::end) {
      std::string name = POM_TRY(words.name());
      POM_TRY(words.expect("="));
      made.parameters.emplace_back(name, POM_TRY(words.expression()));
      if (words.now().kind != Token::Kind::end) POM_TRY(words.expect(","));
    }
    made.body = POM_TRY(until({"endwith"}));
    return {};
  }

  std::vector<Piece> pieces_;
  std::size_t at_ = 0, line_ = 1;
  std::string last_;
  std::unique_ptr<Expressions> last_words_;
  int depth_ = 0;
};

}  // namespace

Result<Template> parse(std::string_view source) {
  Blocks blocks(POM_TRY(pieces_of(source)));
  return Template{POM_TRY(blocks.until({}))};
}

}  // namespace pomona::llm::jinja
