#include "ir/text.h"

#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ir/verify.h"
#include "ops/activation.h"
#include "ops/catalogue.h"
#include "ops/tensor_operation.h"

namespace pomona {
namespace {

const ParseOptions options{.find_op = mil::find_op, .nearest_op = mil::nearest_op};

Result<Program> parsed(const std::string& body) { return parse_text("program(1.0)\n{\n" + body + "\n}\n", options); }

void expect_fixed_point(const std::string& text) {
  auto program = parse_text(text, options);
  ASSERT_TRUE(program) << describe(program.error()) << "\n" << text;
  EXPECT_EQ(to_text(*program), text);
}

TEST(Text, PrintsAsMilDoes) {
  Program program;
  program.build_info = {{"maker", "a \"test\""}};
  Function& main = program.add_function("main", Target::iOS17);
  Value x = main.body.add_input("x", tensor_type(DType::fp16, {1, Dim::named("n"), Dim::named("odd name")}));
  Builder g(main);
  Value slope = g.constant(Tensor::from_numbers(DType::fp16, {1}, {0.25}), "slope");
  Value y = g.add(mil::prelu{.x = x, .alpha = slope}, "layer/0");
  y = g.add(mil::leaky_relu{.x = y, .alpha = 0.5}, "y");
  main.body.set_results({y});
  ASSERT_TRUE(g.status()) << describe(g.status().error());
  std::string text = to_text(program);
  EXPECT_EQ(text, R"MIL(program(1.0)
[buildInfo = dict<string, string>({{"maker", "a \"test\""}})]
{
    func main<ios17>(tensor<fp16, [1, ?{n}, ?{"odd name"}]> x) {
        tensor<fp16, [1]> slope = const()[name = string("slope"), val = tensor<fp16, [1]>([0x1p-2])];
        tensor<fp16, [1, ?{n}, ?{"odd name"}]> layer_0 = prelu(x = x, alpha = slope)[name = string("layer_0")];
        tensor<fp16, [1, ?{n}, ?{"odd name"}]> y = leaky_relu(x = layer_0, alpha = fp32(0x1p-1))[name = string("y")];
    } -> (y);
}
)MIL");
  expect_fixed_point(text);
}

TEST(Text, ReadsWhatCompiledModelsHave) {
  auto program = parsed(R"MIL(
    func main<ios16>(tensor<fp32, [2, 3]> x) {
        tensor<fp32, []> a = const()[name = tensor<string, []>("a"), val = tensor<fp32, []>(0x1p-1)];
        tensor<int32, [1]> axis = const()[name = string("axis"), val = tensor<int32, [1]>([1])];
        tensor<fp32, [2, 3]> h = leaky_relu(alpha = a, x = x)[name = string("h")];
        tensor<fp32, [2, 3]> y = softmax(axis = axis, x = h)[name = string("y")];
    } -> (y);)MIL");
  ASSERT_TRUE(program) << describe(program.error());
  auto y = Evaluation(program->main())({{"x", Tensor::from_numbers(DType::fp32, {2, 3}, {0, 0, 0, -2, -2, -2})}});
  ASSERT_TRUE(y);
  EXPECT_FLOAT_EQ(float((*y)[0].number(0)), 1.0f / 3);
  expect_fixed_point(to_text(*program));
}

TEST(Text, ControlFlowListsAndTuples) {
  auto program = parsed(R"MIL(
    func main<ios18>(tensor<fp32, [2]> x, bool up, state<tensor<fp16, [2]>> total) {
        tensor<fp32, [2]> y = cond(pred = up)[name = string("y")] () {
            tensor<fp32, [2]> a = relu(x = x)[name = string("a")];
        } -> (a), () {
            tensor<fp32, [2]> b = sigmoid(x = x)[name = string("b")];
        } -> (b);
        tensor<fp32, [4]> z = concat(values = (x, y), axis = int32(0), interleave = bool(false))[name = string("z")];
        tensor<fp32, [2]> low, tensor<fp32, [2]> high = split(x = z, num_splits = int32(2), axis = int32(0))[name = string("parts")];
        tensor<fp16, [2]> now = read_state(input = total)[name = string("now")];
        write_state(input = total, data = now)[name = string("write")];
    } -> (low, high);)MIL");
  ASSERT_TRUE(program) << describe(program.error());
  expect_fixed_point(to_text(*program));
}

TEST(Text, ElidedConstantsParseAndCannotBeComputed) {
  Program program;
  Function& main = program.add_function("main", Target::iOS17);
  Value x = main.body.add_input("x", tensor_type(DType::fp32, {1, 100, 2}));
  Builder g(main);
  main.body.set_results({g.add(mil::prelu{.x = x, .alpha = g.constant(Tensor(DType::fp32, {100}), "w")}, "y")});
  ASSERT_TRUE(g.status());
  std::string text = to_text(program);
  EXPECT_NE(text.find("val = tensor<fp32, [100]>(ELIDED)"), text.npos);
  expect_fixed_point(text);
  auto back = parse_text(text, options);
  ASSERT_TRUE(back);
  auto run = Evaluation(back->main())({{"x", Tensor(DType::fp32, {1, 100, 2})}});
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().what, "this constant was left out of the text");
}

TEST(Text, ErrorsNameLineAndColumn) {
  auto what = [](const std::string& body) {
    auto program = parsed(body);
    return program ? "" : program.error().what;
  };
  EXPECT_EQ(what("func main<ios17>(fp32 x) { fp32 y = rellu(x = x); } -> (y);"),
            "line 3, column 42: iOS17 has no op 'rellu'");
  EXPECT_EQ(what("func main<ios17>(fp32 x) { } -> (y);"), "line 3, column 35: 'y' is not defined");
  EXPECT_EQ(what("func main<ios17>(fp32 x) { fp32 y = relu(x = z); } -> (y);"),
            "line 3, column 47: 'z' is not defined");
  EXPECT_EQ(what("func main<ios17>(fp31 x) { } -> (x);"), "line 3, column 18: 'fp31' is not a type");
  EXPECT_EQ(what("func main<ios17>(fp32 x) { int8 y = const()[name = string(\"y\"), val = int8(128)]; } -> (y);"),
            "line 3, column 79: '128' is not a int8");
}

TEST(Text, EveryTruncationIsAnError) {
  std::string text =
      "program(1.0)\n{ func main<ios17>(tensor<fp32, [2, ?{n}]> x) { tensor<fp32, [2, ?{n}]> y = "
      "leaky_relu(x = x, alpha = fp32(0x1p-3))[name = string(\"y\")]; } -> (y); }";
  ASSERT_TRUE(parse_text(text, options));
  for (std::size_t length = 0; length < text.size(); ++length)
    EXPECT_FALSE(parse_text(text.substr(0, length), options)) << length;
}

std::string finding(const Function& function) {
  Findings findings = findings_of(function);
  return findings.empty() ? "" : std::string(findings[0].rule) + ": " + findings[0].place + ": " + findings[0].text;
}

TEST(Verify, FindsWhatIsWrong) {
  struct Wrong {
    const char *body, *finding;
  };
  const Wrong cases[] = {
      {"func main<ios17>(fp32 x) { fp32 y = relu(x = x); } -> (y);", ""},
      {"func main<ios17>(fp32 x) { } -> ();", "results: results: the function returns nothing"},
      {"func main<ios15>(fp16 x) { fp16 y = relu(x = x); } -> (y);",
       "interface: input 'x': tensor<fp16, []> may not be passed in or out with iOS15"},
      {"func main<ios18>(state<tensor<fp32, [2]>> s) { tensor<fp32, [2]> y = read_state(input = s); } -> (y);",
       "states: input 's': a state is fp16 or int8, not fp32"},
      {"func main<ios16>(tensor<fp32, [1, 1, 1, 1, 1, 1]> x) { tensor<fp32, [1, 1, 1, 1, 1, 1]> y = relu(x = x); } -> (y);",
       "ranks: input 'x': 'x' is tensor<fp32, [1, 1, 1, 1, 1, 1]>, of a rank above 5"},
      {"func main<ios16>(tensor<fp32, [1, 2, 1]> x, tensor<fp32, [2]> a) { tensor<fp32, [1, 2, 1]> y = prelu(x = x, alpha = a); } "
       "-> (y);",
       "constants: prelu 'y': input 'alpha' must be constant, but 'a' is computed"},
  };
  for (const Wrong& each : cases) {
    auto program = parsed(each.body);
    ASSERT_TRUE(program) << each.body << "\n" << describe(program.error());
    EXPECT_EQ(finding(program->main()), each.finding) << each.body;
  }
}

TEST(Verify, SeesUsesBeforeDefinitionsAndForeignTypes) {
  auto program = parsed("func main<ios17>(fp32 x) { fp32 a = relu(x = x); fp32 b = relu(x = a); } -> (b);");
  ASSERT_TRUE(program);
  Block& body = program->main().body;
  Node &a = *body.nodes().front(), &b = *body.nodes().back();
  b.output().info().type.dtype = DType::fp16;
  EXPECT_EQ(finding(program->main()),
            "types: relu 'b': result 0 is held to be tensor<fp16, []>, but is tensor<fp32, []>");
  b.output().info().type.dtype = DType::fp32;
  body.move_before(b, a);
  EXPECT_EQ(finding(program->main()), "order: relu 'b': 'a' is used where it is not yet made");
  auto status = verify(*program);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().what,
            "function 'main' breaks a rule\n  order: relu 'b': 'a' is used where it is not yet made");
}

}  // namespace
}  // namespace pomona
