#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <unordered_map>

#include "ir/call.h"
#include "ir/text.h"
#include "ir/text_lexer.h"

namespace pomona {
namespace {

constexpr int deepest_nesting = 64;
constexpr std::size_t most_dimensions = 64;

// The size expressions that Dim::text() prints.
class DimParser {
 public:
  explicit DimParser(std::string_view text) : lexer_(text) {}
  Result<Dim> whole() {
    Dim dim = POM_TRY(sum());
    if (!lexer_.at_end()) return lexer_.wrong("the expression does not end here");
    return dim;
  }

 private:
  Result<Dim> sum() {
    POM_REQUIRE(++depth_ < deepest_nesting, "a size expression is nested too deeply");
    bool negative = lexer_.accept("-");
    Dim total = POM_TRY(product());
    if (negative) total = Dim(0) - total;
    for (;;) {
      if (lexer_.accept("+"))
        total = total + POM_TRY(product());
      else if (lexer_.accept("-"))
        total = total - POM_TRY(product());
      else
        break;
    }
    --depth_;
    return total;
  }
  Result<Dim> product() {
    Dim total = POM_TRY(factor());
    while (lexer_.accept("*")) total = total * POM_TRY(factor());
    return total;
  }
  Result<Dim> factor() {
    if (lexer_.accept("(")) {
      Dim inside = POM_TRY(sum());
      POM_TRY(lexer_.expect(")"));
      return inside;
    }
    if (!lexer_.peek_word()) return Dim(POM_TRY(digits()));
    std::string_view name = POM_TRY(lexer_.word());
    if (!lexer_.accept("(")) return Dim::named(std::string(name));
    Dim a = POM_TRY(sum());
    POM_TRY(lexer_.expect(name == "floor" ? "/" : ","));
    Dim b = POM_TRY(sum());
    POM_TRY(lexer_.expect(")"));
    POM_REQUIRE(name == "min" || name == "max" || (name == "floor" && !(b == 0)), "'{}' is not a function of sizes",
                name);
    return name == "min" ? minimum(a, b) : name == "max" ? maximum(a, b) : floor_div(a, b);
  }
  Result<std::int64_t> digits() {
    std::int64_t value = 0;
    bool any = false;
    while (lexer_.peek() >= '0' && lexer_.peek() <= '9') {
      POM_REQUIRE(
          !__builtin_mul_overflow(value, 10, &value) && !__builtin_add_overflow(value, lexer_.peek() - '0', &value),
          "a size is too large");
      any = true;
      if (!lexer_.accept(std::string_view("0123456789").substr(std::size_t(lexer_.peek() - '0'), 1))) break;
    }
    if (!any) return lexer_.wrong("a size is expected");
    return value;
  }
  TextLexer lexer_;
  int depth_ = 0;
};

struct Scope {
  const Scope* outer = nullptr;
  std::unordered_map<std::string, Value> values = {};
  Value find(const std::string& name) const {
    for (const Scope* scope = this; scope; scope = scope->outer)
      if (auto at = scope->values.find(name); at != scope->values.end()) return at->second;
    return {};
  }
};

struct NamedType {
  std::string name;
  Type type;
};

class Parser {
 public:
  Parser(std::string_view text, const ParseOptions& options) : lexer_(text), options_(options) {}

  Result<Program> program() {
    Program program;
    POM_TRY(lexer_.expect("program"));
    POM_TRY(lexer_.expect("("));
    POM_TRY(lexer_.number());
    POM_TRY(lexer_.expect(")"));
    if (lexer_.accept("[")) POM_TRY(program_attributes(program));
    POM_TRY(lexer_.expect("{"));
    while (!lexer_.accept("}")) POM_TRY(function(program));
    if (!lexer_.at_end()) return lexer_.wrong("the program ends before this");
    POM_REQUIRE(!program.functions.empty(), "the program has no function");
    return program;
  }

 private:
  Status program_attributes(Program& program) {
    do {
      std::string_view key = POM_TRY(lexer_.word());
      POM_TRY(lexer_.expect("="));
      if (key == "buildInfo") {
        POM_TRY(dictionary(program.build_info));
      } else if (key == "defaultFunction") {
        Tensor name = POM_TRY(POM_TRY(literal()).materialise());
        if (name.is_list() || name.dtype() != DType::string || name.count() != 1)
          return lexer_.wrong("defaultFunction is not a string");
        program.default_function = name.text()[0];
      } else {
        return lexer_.wrong(fmt::format("a program has no attribute '{}'", key));
      }
    } while (lexer_.accept(","));
    return lexer_.expect("]");
  }

  Status dictionary(std::map<std::string, std::string>& entries) {
    Type type = POM_TRY(this->type());
    if (type.kind != Type::Kind::dictionary || type.dtype != DType::string)
      return lexer_.wrong("a dictionary of strings is expected");
    POM_TRY(lexer_.expect("("));
    POM_TRY(lexer_.expect("{"));
    while (lexer_.accept("{")) {
      std::string key = POM_TRY(lexer_.string());
      POM_TRY(lexer_.expect(","));
      entries[key] = POM_TRY(lexer_.string());
      POM_TRY(lexer_.expect("}"));
      if (!lexer_.accept(",")) break;
    }
    POM_TRY(lexer_.expect("}"));
    return lexer_.expect(")");
  }

  Result<Dim> dim() {
    if (!lexer_.accept("?")) {
      std::int64_t size = POM_TRY(lexer_.integer());
      if (size < 0) return lexer_.wrong("a size is negative");
      return Dim(size);
    }
    if (lexer_.peek() != '{') return Dim::unknown();
    POM_TRY(lexer_.expect("{"));
    if (lexer_.peek() == '"') {
      std::string symbol = POM_TRY(lexer_.string());
      POM_TRY(lexer_.expect("}"));
      return Dim::named(symbol);
    }
    std::string_view expression = POM_TRY(lexer_.until('}'));
    return POM_TRY_IN(DimParser(expression).whole(), "size '{}'", expression);
  }

  Result<DType> dtype() {
    std::string_view word = POM_TRY(lexer_.word());
    auto dtype = dtype_named(word);
    if (!dtype) return lexer_.wrong(fmt::format("'{}' is not a type", word));
    return *dtype;
  }

  // tensor<fp32, [1, 2]>, fp32, list<T, n>, dict<K, V>, state<T>
  Result<Type> type(int depth = 0) {
    if (depth > 2) return lexer_.wrong("types are nested too deeply");
    std::size_t place = lexer_.place();
    std::string_view word = POM_TRY(lexer_.word());
    if (auto scalar = dtype_named(word)) return Type{*scalar};
    if (word != "tensor" && word != "list" && word != "state" && word != "dict") {
      lexer_.return_to(place);
      return lexer_.wrong(fmt::format("'{}' is not a type", word));
    }
    Type type;
    POM_TRY(lexer_.expect("<"));
    if (word == "tensor") {
      type.dtype = POM_TRY(dtype());
      POM_TRY(lexer_.expect(","));
      POM_TRY(lexer_.expect("["));
      while (!lexer_.accept("]")) {
        type.shape.push_back(POM_TRY(dim()));
        if (type.shape.size() > most_dimensions) return lexer_.wrong("a tensor has too many dimensions");
        if (lexer_.peek() != ']') POM_TRY(lexer_.expect(","));
      }
    } else if (word == "list" || word == "state") {
      type = POM_TRY(this->type(depth + 1));
      if (type.kind != Type::Kind::tensor)
        return lexer_.wrong(fmt::format("a {} of something other than tensors", word));
      type.kind = word == "list" ? Type::Kind::list : Type::Kind::state;
      if (word == "list") {
        POM_TRY(lexer_.expect(","));
        type.length = POM_TRY(dim());
      }
    } else {
      type.kind = Type::Kind::dictionary;
      type.key = POM_TRY(dtype());
      POM_TRY(lexer_.expect(","));
      type.dtype = POM_TRY(dtype());
    }
    POM_TRY(lexer_.expect(">"));
    return type;
  }

  bool at_type() {
    std::size_t place = lexer_.place();
    auto word = lexer_.word();
    lexer_.return_to(place);
    return word && (dtype_named(*word) || *word == "tensor" || *word == "list" || *word == "dict" || *word == "state");
  }

  struct Elements {
    std::vector<double> reals;
    std::vector<std::int64_t> integers;
    std::vector<std::string> texts;
    std::size_t count = 0;
  };
  Status element(DType dtype, Elements& out) {
    ++out.count;
    if (dtype == DType::string) {
      out.texts.push_back(POM_TRY(lexer_.string()));
      return {};
    }
    std::string digits(POM_TRY(lexer_.number()));
    if (digits == "true" || digits == "false") digits = digits == "true" ? "1" : "0";
    const char *begin = digits.c_str(), *end = begin + digits.size();
    if (is_float(dtype)) {
      char* stop = nullptr;
      out.reals.push_back(std::strtod(begin, &stop));
      if (stop == end) return {};
    } else {
      std::int64_t value = 0;
      std::uint64_t large = 0;
      auto parsed = std::from_chars(begin, end, value);
      if (parsed.ec == std::errc::result_out_of_range && dtype == DType::uint64) {
        parsed = std::from_chars(begin, end, large);
        value = std::int64_t(large);
      }
      bool wide = dtype == DType::int64 || dtype == DType::uint64;
      bool fits = wide || (double(value) >= lowest_value(dtype) && double(value) <= highest_value(dtype));
      out.integers.push_back(value);
      if (parsed.ec == std::errc() && parsed.ptr == end && fits) return {};
    }
    return lexer_.wrong(fmt::format("'{}' is not a {}", digits, name(dtype)));
  }
  // Brackets only group; the shape says how many elements there are.
  Status elements(DType dtype, Elements& out, int depth = 0) {
    if (!lexer_.accept("[")) return element(dtype, out);
    if (depth > int(most_dimensions)) return lexer_.wrong("brackets are nested too deeply");
    while (!lexer_.accept("]")) {
      POM_TRY(elements(dtype, out, depth + 1));
      if (lexer_.peek() != ']') POM_TRY(lexer_.expect(","));
    }
    return {};
  }

  Result<Tensor> tensor_of(DType dtype, const Sizes& sizes, Elements elements) {
    if (std::uint64_t(element_count(sizes)) != elements.count)
      return lexer_.wrong(fmt::format("{} elements are given for a shape of {}", elements.count, to_string(sizes)));
    if (dtype == DType::string) return Tensor::strings(sizes, std::move(elements.texts));
    if (is_float(dtype)) return Tensor::from_numbers(dtype, sizes, elements.reals);
    Tensor tensor(dtype, sizes);
    std::size_t width = element_size_bytes(dtype);
    std::uint8_t* data = tensor.mutable_data();
    for (std::size_t i = 0; i < elements.integers.size(); ++i)
      std::memcpy(data + i * width, &elements.integers[i], width);
    return tensor;
  }

  Result<Sizes> literal_sizes(const Type& type) {
    std::int64_t count = 1;
    for (Dim dim : type.shape)
      if (!dim.known() || __builtin_mul_overflow(count, dim.value(), &count) || count > (1LL << 56))
        return lexer_.wrong("a literal has an impossible shape");
    return known_sizes(type.shape);
  }

  Result<Weight> literal() {
    Type type = POM_TRY(this->type());
    if (type.kind != Type::Kind::tensor && type.kind != Type::Kind::list)
      return lexer_.wrong("a literal is a tensor or a list");
    Sizes sizes = POM_TRY(literal_sizes(type));
    POM_TRY(lexer_.expect("("));
    Weight weight;
    if (type.kind == Type::Kind::list) {
      weight = POM_TRY(list_elements(type, sizes));
    } else if (lexer_.accept("ELIDED")) {
      std::string what = fmt::format("elided {}", elided_++);
      weight = Weight::derived({what, type.dtype, sizes, {}, [](std::span<const Tensor>) -> Result<Tensor> {
                                  return fail("this constant was left out of the text");
                                }});
    } else if (lexer_.accept("BLOBFILE")) {
      weight = POM_TRY(blob(type.dtype, sizes));
    } else {
      Elements parsed;
      POM_TRY(elements(type.dtype, parsed));
      weight = Weight(POM_TRY(tensor_of(type.dtype, sizes, std::move(parsed))));
    }
    POM_TRY(lexer_.expect(")"));
    return weight;
  }

  Result<Weight> list_elements(const Type& type, const Sizes& sizes) {
    std::vector<Tensor> list;
    POM_TRY(lexer_.expect("["));
    while (!lexer_.accept("]")) {
      Elements parsed;
      POM_TRY(elements(type.dtype, parsed));
      list.push_back(POM_TRY(tensor_of(type.dtype, sizes, std::move(parsed))));
      if (lexer_.peek() != ']') POM_TRY(lexer_.expect(","));
    }
    return Weight(Tensor::list(type.dtype, sizes, std::move(list)));
  }

  Result<Weight> blob(DType dtype, const Sizes& sizes) {
    TextBlob place;
    POM_TRY(lexer_.expect("("));
    for (std::string_view key : {"path", "offset"}) {
      POM_TRY(lexer_.expect(key));
      POM_TRY(lexer_.expect("="));
      Tensor value = POM_TRY(POM_TRY(literal()).materialise());
      bool text = !value.is_list() && value.dtype() == DType::string;
      if (value.is_list() || value.count() != 1 || text != (key == "path"))
        return lexer_.wrong(fmt::format("the {} of a weight file is of another type", key));
      if (text)
        place.path = value.text()[0];
      else
        place.offset = std::uint64_t(value.integers()[0]);
      if (key == "path") POM_TRY(lexer_.expect(","));
    }
    POM_TRY(lexer_.expect(")"));
    if (!options_.blob) return lexer_.wrong(fmt::format("the weight file '{}' is not at hand", place.path));
    return options_.blob(place, dtype, sizes);
  }

  Result<std::vector<NamedType>> inputs() {
    std::vector<NamedType> inputs;
    POM_TRY(lexer_.expect("("));
    while (!lexer_.accept(")")) {
      Type type = POM_TRY(this->type());
      inputs.push_back({std::string(POM_TRY(lexer_.word())), type});
      if (lexer_.peek() != ')') POM_TRY(lexer_.expect(","));
    }
    return inputs;
  }

  Status define(Scope& scope, const std::string& name, Value value) {
    if (!scope.values.emplace(name, value).second)
      return lexer_.wrong(fmt::format("the name '{}' is given to two values", name));
    return {};
  }

  Status function(Program& program) {
    POM_TRY(lexer_.expect("func"));
    std::string name(POM_TRY(lexer_.word()));
    POM_TRY(lexer_.expect("<"));
    std::string_view opset = POM_TRY(lexer_.word());
    POM_TRY(lexer_.expect(">"));
    auto target = target_named(opset);
    if (!target) return lexer_.wrong(fmt::format("'{}' is not an operator set", opset));
    if (program.function(name)) return lexer_.wrong(fmt::format("there are two functions '{}'", name));
    Function& function = program.add_function(name, *target);
    Scope scope;
    for (const NamedType& input : POM_TRY(inputs()))
      POM_TRY(define(scope, input.name, function.body.add_input(input.name, input.type)));
    POM_TRY_IN(body(function.body, scope, 0), "function '{}'", name);
    POM_TRY(lexer_.expect(";"));
    erase_unused_constants(function.body);
    return {};
  }

  // { operations } -> (results)
  Status body(Block& block, Scope& scope, int depth) {
    if (depth > deepest_nesting) return lexer_.wrong("blocks are nested too deeply");
    POM_TRY(lexer_.expect("{"));
    while (!lexer_.accept("}")) POM_TRY(operation(block, scope, depth));
    POM_TRY(lexer_.expect("->"));
    POM_TRY(lexer_.expect("("));
    Values results;
    while (!lexer_.accept(")")) {
      std::string name(POM_TRY(lexer_.word()));
      Value value = scope.find(name);
      if (!value) return lexer_.wrong(fmt::format("'{}' is not defined", name));
      results.push_back(value);
      if (lexer_.peek() != ')') POM_TRY(lexer_.expect(","));
    }
    block.set_results(std::move(results));
    return {};
  }

  Result<CallOperand> operand(const Scope& scope) {
    if (at_type()) return CallOperand{.literal = POM_TRY(literal())};
    std::string name(POM_TRY(lexer_.word()));
    Value value = scope.find(name);
    if (!value) return lexer_.wrong(fmt::format("'{}' is not defined", name));
    return CallOperand{.value = value};
  }

  Result<std::vector<CallArgument>> arguments(const Scope& scope) {
    std::vector<CallArgument> arguments;
    POM_TRY(lexer_.expect("("));
    while (!lexer_.accept(")")) {
      CallArgument argument{std::string(POM_TRY(lexer_.word())), {}};
      POM_TRY(lexer_.expect("="));
      if (lexer_.accept("(")) {
        while (!lexer_.accept(")")) {
          argument.operands.push_back(POM_TRY(operand(scope)));
          if (lexer_.peek() != ')') POM_TRY(lexer_.expect(","));
        }
      } else {
        argument.operands.push_back(POM_TRY(operand(scope)));
      }
      arguments.push_back(std::move(argument));
      if (lexer_.peek() != ')') POM_TRY(lexer_.expect(","));
    }
    return arguments;
  }

  Status operation(Block& block, Scope& scope, int depth) {
    Call call;
    while (at_type()) {
      CallResult result;
      result.declared = POM_TRY(type());
      result.name = POM_TRY(lexer_.word());
      call.results.push_back(std::move(result));
      if (!lexer_.accept(",")) {
        POM_TRY(lexer_.expect("="));
        break;
      }
    }
    std::string op_name(POM_TRY(lexer_.word()));
    std::size_t place = lexer_.place();
    call.arguments = POM_TRY(arguments(scope));
    if (lexer_.accept("[")) POM_TRY(attributes(call, scope));
    if (op_name == const_op().name) {
      POM_TRY(constant(block, scope, call));
      return lexer_.expect(";");
    }
    call.op = options_.find_op ? options_.find_op(op_name, block.function().opset) : nullptr;
    if (!call.op) {
      lexer_.return_to(place);
      Error error = lexer_.wrong(fmt::format("{} has no op '{}'", name(block.function().opset), op_name));
      std::string near = options_.nearest_op ? options_.nearest_op(op_name) : "";
      return near.empty() ? error : std::move(error).advise(fmt::format("the nearest name is '{}'", near));
    }
    if (lexer_.peek() == '(') call.fill_blocks = [&](Node& node) { return inner_blocks(node, scope, depth); };
    auto node = add_call(block, std::move(call));
    if (!node) {
      Error error = std::move(node).error();
      return std::move(error).in(lexer_.wrong("").what);
    }
    for (std::size_t i = 0; i < (*node)->output_count(); ++i)
      POM_TRY(define(scope, (*node)->output(i).name(), (*node)->output(i)));
    return lexer_.expect(";");
  }

  // name = string("..."), and for constants val = ...; other operands, as constexpr ops have them, become arguments.
  Status attributes(Call& call, const Scope& scope) {
    do {
      std::string key(POM_TRY(lexer_.word()));
      POM_TRY(lexer_.expect("="));
      CallOperand value = POM_TRY(operand(scope));
      if (key != "name") {
        call.arguments.push_back({key, {std::move(value)}});
        continue;
      }
      Tensor text = value.literal ? POM_TRY(value.literal.materialise()) : Tensor();
      if (text.is_list() || text.dtype() != DType::string || text.count() != 1)
        return lexer_.wrong("an op's name is not a string");
      call.name = text.text()[0];
    } while (lexer_.accept(","));
    return lexer_.expect("]");
  }

  Status constant(Block& block, Scope& scope, Call& call) {
    if (call.results.size() != 1 || call.arguments.size() != 1 || call.arguments[0].field != "val" ||
        !call.arguments[0].operands[0].literal)
      return lexer_.wrong("a const has one result and the attribute val");
    const CallResult& result = call.results[0];
    Weight literal = call.arguments[0].operands[0].literal;
    const Tensor* tensor = literal.in_memory();
    auto type = agreed_type(tensor ? tensor->type() : literal.type(), *result.declared);
    if (!type) return std::move(type).error().in(lexer_.wrong("").what);
    return define(scope, result.name, add_constant(block, std::move(literal), result.name, call.name));
  }

  Status inner_blocks(Node& node, const Scope& outer, int depth) {
    do {
      auto& block = node.blocks.emplace_back(std::make_unique<Block>(&node.block()->function(), &node));
      Scope scope{&outer};
      for (const NamedType& input : POM_TRY(inputs()))
        POM_TRY(define(scope, input.name, block->add_input(input.name, input.type)));
      POM_TRY(body(*block, scope, depth + 1));
    } while (lexer_.accept(","));
    return {};
  }

  TextLexer lexer_;
  const ParseOptions& options_;
  std::size_t elided_ = 0;
};

}  // namespace

Result<Program> parse_text(std::string_view text, const ParseOptions& options) {
  return Parser(text, options).program();
}

}  // namespace pomona
