// Schemes, the policy, and what is kept of encoded weights until it is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/half.h"
#include "compress/policy.h"
#include "ir/builder.h"
#include "ir/evaluate.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/linear.h"

namespace pomona::compress {
namespace {

using ::testing::HasSubstr;

Tensor random_tensor(DType dtype, Sizes sizes, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0.01, 0.05);
  std::vector<double> numbers(std::size_t(element_count(sizes)));
  for (double& number : numbers) number = normal(random);
  return Tensor::from_numbers(dtype, std::move(sizes), numbers);
}

std::shared_ptr<const Scheme> scheme(std::string_view name, const SchemeOptions& options = {}) {
  auto made = make_scheme(name, options);
  EXPECT_TRUE(made) << describe(made.error());
  return made ? *made : nullptr;
}

std::string error_of(std::string_view name, const SchemeOptions& options = {}) {
  auto made = make_scheme(name, options);
  return made ? "" : describe(made.error());
}

// What the constexpr nodes made of a weight stand for.
Tensor decoded(Value value) {
  Tensors inputs;
  for (Value input : value.producer()->inputs()) inputs.push_back(*input.literal()->materialise());
  auto results = evaluate_node(*value.producer(), inputs, {value.block()->function().opset, value.producer(), nullptr});
  EXPECT_TRUE(results) << describe(results.error());
  return (*results)[0];
}

struct Example {
  Program program;
  Function& main;
  Value x;
  Tensor dense, matrix, transposed;

  explicit Example(Target opset, DType dtype = DType::fp16) : main(program.add_function("main", opset)) {
    x = main.body.add_input("x", tensor_type(dtype, {1, 64}));
    dense = random_tensor(dtype, {96, 64}, 1);
    matrix = random_tensor(dtype, {96, 48}, 2);
    transposed = random_tensor(dtype, {48, 30, 3}, 3);
    Builder g(main);
    Value bias = g.constant(random_tensor(dtype, {96}, 4), "bias");
    Value y = g.add(mil::linear{.x = x, .weight = g.constant(dense, "dense"), .bias = bias});
    y = g.add(mil::matmul{.x = y, .y = g.constant(matrix, "matrix")}, "y");
    Value image = g.add(mil::matmul{.x = g.constant(random_tensor(dtype, {1, 48, 1}, 5), "column"), .y = y}, "image");
    Value z = g.add(mil::conv_transpose{.x = image, .weight = g.constant(transposed, "transposed")}, "z");
    EXPECT_TRUE(g.status()) << describe(g.status().error());
    main.body.set_results({z});
  }
  Value value(std::string_view name) {
    for (const auto& node : main.body.nodes())
      if (node->output().name() == name) return node->output();
    return {};
  }
  Result<Report> compress(std::string_view name, const SchemeOptions& options = {}) {
    return pomona::compress::compress(program, {scheme(name, options)});
  }
};

const WeightLine& line_of(const Report& report, std::string_view name) {
  static const WeightLine none;
  for (const WeightLine& line : report.lines)
    if (line.name == name) return line;
  ADD_FAILURE() << "no line for " << name;
  return none;
}

TEST(Schemes, NamesAndOptions) {
  EXPECT_THAT(error_of("int5"),
              HasSubstr("there is no scheme 'int5'; there are linear, palettize, prune, activations, int8"));
  EXPECT_THAT(error_of("w3a3"), HasSubstr("w3a3"));
  EXPECT_THAT(error_of("sparse100"), HasSubstr("there is no scheme 'sparse100'"));
  EXPECT_THAT(error_of("int8+lut4"), HasSubstr("is no pair of schemes"));
  EXPECT_THAT(error_of("prune", {{"target_sparsity", 1.5}}), HasSubstr("target_sparsity is 1.5"));
  EXPECT_EQ(error_of("sparse50+lut4+int8"), "");
  EXPECT_THAT(error_of("linear", {{"block-size", std::int64_t(3)}}), HasSubstr("block_size"));
  EXPECT_THAT(error_of("linear", {{"dtype", std::string("int3")}}), HasSubstr("dtype is int8, uint8, int4 or uint4"));
  EXPECT_THAT(error_of("linear", {{"nbits", std::int64_t(9)}}), HasSubstr("nbits is 2 to 8 in int8, not 9"));
  EXPECT_THAT(error_of("linear", {{"range", std::string("max")}}),
              HasSubstr("range is minmax, mse, percentile or hqq"));
  EXPECT_THAT(error_of("palettize"), HasSubstr("nbits is missing"));
  EXPECT_THAT(error_of("palettize", {{"nbits", std::int64_t(5)}}), HasSubstr("nbits is 1, 2, 3, 4, 6 or 8, not 5"));
  EXPECT_THAT(error_of("lut4", {{"cluster_dim", std::int64_t(0)}}), HasSubstr("cluster_dim is 0"));
  for (const ShortName& each : short_names()) EXPECT_EQ(error_of(each.name), "");
}

TEST(Schemes, DivisorsNearestToTheWantedSize) {
  EXPECT_EQ(nearest_divisor(64, 32), 32);
  EXPECT_EQ(nearest_divisor(30, 32), 30);
  EXPECT_EQ(nearest_divisor(31, 32), 31);
  EXPECT_EQ(nearest_divisor(48, 32), 24);
  EXPECT_EQ(nearest_divisor(1, 32), 1);
  EXPECT_EQ(nearest_divisor(37, 16), 1);
}

// The stored form decodes to within the error that the report states, for every short name and both float dtypes.
TEST(Policy, ReportedErrorsAreThoseOfTheDecodedWeights) {
  for (DType dtype : {DType::fp16, DType::fp32})
    for (const ShortName& each : short_names()) {
      if ((*make_scheme(each.name))->activations()) continue;  // they need data
      if (each.scheme == "prune") continue;
      Example example(iOS18, dtype);
      auto report = example.compress(each.name);
      ASSERT_TRUE(report) << describe(report.error());
      for (auto [name, original] : {std::pair("dense", &example.dense), std::pair("matrix", &example.matrix),
                                    std::pair("transposed", &example.transposed)}) {
        const WeightLine& line = line_of(*report, name);
        ASSERT_TRUE(line.compressed()) << each.name << " " << name << ": " << line.note;
        EXPECT_FALSE(line.relative_error());
        Value value = example.value(name);
        ASSERT_TRUE(value) << name;
        Tensor now = decoded(value);
        double error = 0, signal = 0;
        for (std::size_t i = 0; i < now.count(); ++i) {
          double off = now.number(i) - original->number(i);
          error += off * off;
          signal += original->number(i) * original->number(i);
        }
        ASSERT_TRUE(line.relative_error());
        double relative = std::sqrt(error / signal);
        EXPECT_NEAR(*line.relative_error(), relative, 0.02 * relative + 3e-4) << each.name << " " << name;
        EXPECT_LT(relative, each.name.find('1') != std::string_view::npos   ? 0.7
                            : each.name.find('2') != std::string_view::npos ? 0.4
                            : each.name.find('3') != std::string_view::npos ? 0.25
                            : each.name.find('4') != std::string_view::npos ? 0.13
                                                                            : 0.04);
        EXPECT_LT(line.bytes_after, line.bytes_before);
      }
    }
}

// The same with what is left of pruned weights, and through several constexpr ops.
TEST(Policy, ReportedErrorsOfChainsAreThoseOfTheDecodedWeights) {
  for (const char* name :
       {"sparse50", "sparse30+lut4", "sparse60+int8", "sparse50+lut4+int8", "sparse50+uint4", "lut6+int8"}) {
    Example example(iOS18);
    auto report = example.compress(name);
    ASSERT_TRUE(report) << describe(report.error());
    auto plain = decompress(example.program);
    ASSERT_TRUE(plain) << describe(plain.error());
    Tensor now = *example.value("dense").literal()->materialise();
    double error = 0, signal = 0;
    for (std::size_t i = 0; i < now.count(); ++i) {
      double off = now.number(i) - example.dense.number(i);
      error += off * off;
      signal += example.dense.number(i) * example.dense.number(i);
    }
    const WeightLine& line = line_of(*report, "dense");
    ASSERT_TRUE(line.relative_error()) << name << " " << line.note;
    EXPECT_NEAR(*line.relative_error(), std::sqrt(error / signal), 1e-3 * std::sqrt(error / signal)) << name;
    EXPECT_LT(line.bytes_after, line.bytes_before) << name;
  }
}

TEST(Policy, OneBudgetForAllWeightsIsKept) {
  Example example(iOS18);
  auto report = example.compress("prune", {{"target_sparsity", 0.6}, {"budget", std::string("global")}});
  ASSERT_TRUE(report) << describe(report.error());
  ASSERT_TRUE(decompress(example.program));
  double zeros = 0, all = 0;
  for (const char* name : {"dense", "matrix", "transposed"}) {
    Tensor now = *example.value(name).literal()->materialise();
    for (double number : now.numbers()) zeros += number == 0, all += 1;
  }
  EXPECT_NEAR(zeros / all, 0.6, 0.005);
}

TEST(Policy, ChannelsLieWhereTheUserHasThem) {
  Example example(iOS18);
  auto report = example.compress("int8");
  ASSERT_TRUE(report);
  auto scale_sizes = [&](std::string_view name) {
    return example.value(name).producer()->input("scale").literal()->sizes();
  };
  EXPECT_EQ(scale_sizes("dense"), (Sizes{96, 1}));
  EXPECT_EQ(scale_sizes("matrix"), (Sizes{1, 48}));
  EXPECT_EQ(scale_sizes("transposed"), (Sizes{1, 30, 1}));
  Example blocks(iOS18);
  ASSERT_TRUE(blocks.compress("int4"));
  auto block_scales = [&](std::string_view name) {
    return blocks.value(name).producer()->input("scale").literal()->sizes();
  };
  EXPECT_EQ(block_scales("dense"), (Sizes{96, 2}));
  EXPECT_EQ(block_scales("matrix"), (Sizes{3, 48}));
  EXPECT_EQ(block_scales("transposed"), (Sizes{2, 30, 1}));
  Example groups(iOS18);
  auto grouped = groups.compress("lut4");
  ASSERT_TRUE(grouped);
  EXPECT_EQ(groups.value("transposed").producer()->input("lut").literal()->sizes(), (Sizes{1, 2, 1, 16, 1}));
  EXPECT_EQ(line_of(*grouped, "transposed").note, "axis 1 of size 30 cannot be cut into groups of 16: 15 is used");
}

TEST(Policy, EveryWeightHasALine) {
  Example example(iOS18);
  Builder g(example.main);
  Tensor infinite = random_tensor(DType::fp16, {64, 64}, 6);
  infinite.set_number(77, INFINITY);
  Value mask = g.add(mil::add{.x = g.constant(infinite, "mask"), .y = example.x});
  Value huge = g.add(
      mil::add{.x = g.constant(Tensor::from_numbers(DType::fp16, {64, 64}, std::vector<double>(4096, 65504)), "huge"),
               .y = example.x});
  Value shared = g.constant(random_tensor(DType::fp16, {64, 64}, 7), "shared");
  Value one = g.add(mil::linear{.x = example.x, .weight = shared}),
        two = g.add(mil::matmul{.x = example.x, .y = shared});
  Value returned = g.constant(random_tensor(DType::fp16, {64, 64}, 8), "returned");
  Value numbers = g.constant(Tensor(DType::int32, {64, 64}), "numbers");
  Value sum = g.add(mil::add{.x = numbers, .y = numbers});
  ASSERT_TRUE(g.status()) << describe(g.status().error());
  Values results = example.main.body.results();
  results.insert(results.end(), {mask, huge, one, two, returned, sum});
  example.main.body.set_results(results);

  auto report = example.compress("int8");
  ASSERT_TRUE(report) << describe(report.error());
  auto note = [&](std::string_view name) { return line_of(*report, name).note; };
  EXPECT_EQ(report->lines.size(), 10u);
  EXPECT_EQ(note("bias"), "rank 1");
  EXPECT_EQ(note("column"), "48 elements, and weight_threshold is 2048");
  EXPECT_EQ(note("mask"), "its element 77 is NaN or infinite");
  EXPECT_THAT(note("huge"), HasSubstr("too near the end of fp16"));
  EXPECT_THAT(note("shared"), HasSubstr("different axes"));
  EXPECT_EQ(note("returned"), "the model returns it");
  EXPECT_EQ(note("numbers"), "its elements are int32");
  for (const char* name : {"dense", "matrix", "transposed"}) EXPECT_TRUE(line_of(*report, name).compressed());

  auto again = example.compress("lut4");
  ASSERT_TRUE(again) << describe(again.error());
  EXPECT_EQ(again->lines.size(), 10u);
  EXPECT_EQ(line_of(*again, "dense").note, "already compressed (constexpr_blockwise_shift_scale)");
  EXPECT_EQ(line_of(*again, "dense").bytes_after, 96 * 64 + 96 * 2u);
  // Per tensor, nobody needs to agree on channels.
  Example free(iOS18);
  Builder h(free.main);
  Value both = h.constant(random_tensor(DType::fp16, {64, 64}, 7), "shared");
  free.main.body.set_results(
      {h.add(mil::linear{.x = free.x, .weight = both}), h.add(mil::matmul{.x = free.x, .y = both})});
  auto per_tensor = free.compress("int8-per-tensor");
  ASSERT_TRUE(per_tensor);
  EXPECT_TRUE(line_of(*per_tensor, "shared").compressed());
}

TEST(Policy, OlderProgramsGetTheOlderForms) {
  Example linear(iOS17);
  ASSERT_TRUE(linear.compress("int8"));
  EXPECT_EQ(linear.value("dense").producer()->op->name, "constexpr_affine_dequantize");
  EXPECT_EQ(linear.value("transposed").producer()->attribute("axis"), Attribute(std::int64_t(1)));
  Example table(iOS16);
  ASSERT_TRUE(table.compress("lut4-per-tensor"));
  const Node* node = table.value("dense").producer();
  EXPECT_EQ(node->input("indices").literal()->sizes(), Sizes{96 * 64 / 2});
  EXPECT_EQ(decoded(table.value("dense")).sizes(), (Sizes{96, 64}));

  auto refusal = [](Target opset, std::string_view name) {
    Example example(opset);
    auto report = example.compress(name);
    return report ? "" : describe(report.error());
  };
  EXPECT_THAT(refusal(iOS17, "int4"), HasSubstr("the program is for iOS17, but int4 weights need iOS18"));
  EXPECT_THAT(refusal(iOS17, "int4"), HasSubstr("--target iOS18"));
  EXPECT_THAT(refusal(iOS17, "lut4"), HasSubstr("tables per group of channels need iOS18"));
  EXPECT_THAT(refusal(iOS16, "lut3"), HasSubstr("need iOS18"));
  EXPECT_THAT(refusal(iOS15, "int8"), HasSubstr("compressed weights need iOS16"));
}

TEST(Policy, EqualWeightsAreEncodedOnce) {
  Program program;
  Tensor weight = random_tensor(DType::fp16, {96, 64}, 1);
  for (const char* name : {"first", "second"}) {
    Function& function = program.add_function(name, iOS18);
    Value x = function.body.add_input("x", tensor_type(DType::fp16, {1, 64}));
    Builder g(function);
    function.body.set_results({g.add(mil::linear{.x = x, .weight = g.constant(weight, "w")}, "y")});
  }
  auto report = compress(program, {scheme("int4")});
  ASSERT_TRUE(report);
  ASSERT_EQ(report->lines.size(), 2u);
  EXPECT_EQ(report->lines[0].bytes_after, 96 * 64 / 2 + 96 * 2 * 2u);
  EXPECT_EQ(report->lines[1].bytes_before + report->lines[1].bytes_after, 0u);
  EXPECT_EQ(report->lines[1].note, "the same bytes as another weight");
  auto data = [&](std::size_t i) {
    return program.functions[i]
        ->body.results()[0]
        .producer()
        ->input("weight")
        .producer()
        ->input("data")
        .literal()
        ->identity();
  };
  EXPECT_EQ(data(0), data(1));
}

TEST(Policy, UniqueTablesLoseNothing) {
  Example example(iOS18);
  Tensor levels(DType::fp16, {64, 64});
  levels.mutable_data();
  for (std::size_t i = 0; i < levels.count(); ++i) levels.set_number(i, double(i * i % 37) / 16);
  Builder g(example.main);
  example.main.body.set_results({g.add(mil::linear{.x = example.x, .weight = g.constant(levels, "levels")})});
  auto report = example.compress("palettize", {{"mode", std::string("unique")}});
  ASSERT_TRUE(report);
  EXPECT_TRUE(decoded(example.value("levels")).same_bits(levels));
  EXPECT_EQ(line_of(*report, "levels").snr_decibel(), INFINITY);
  EXPECT_EQ(line_of(*report, "levels").scheme, "6-bit table per tensor");
  EXPECT_THAT(line_of(*report, "dense").note, HasSubstr("distinct values, and a table holds 256"));
}

TEST(Decompress, GivesWhatTheProgramComputedWith) {
  for (const char* name : {"int8", "uint4", "lut3", "lut6"}) {
    Example example(iOS18);
    ASSERT_TRUE(example.compress(name));
    std::map<std::string, Tensor> before;
    for (const char* weight : {"dense", "matrix", "transposed"}) before[weight] = decoded(example.value(weight));
    auto count = decompress(example.program);
    ASSERT_TRUE(count) << describe(count.error());
    EXPECT_EQ(*count, 3u);
    for (const auto& [weight, tensor] : before) {
      const Weight* literal = example.value(weight).literal();
      ASSERT_TRUE(literal);
      EXPECT_TRUE(literal->materialise()->same_bits(tensor)) << name << " " << weight;
    }
    for (const auto& node : example.main.body.nodes()) EXPECT_FALSE(node->op->constexpr_op);
  }
}

struct Counted {
  int runs = 0;
  std::vector<Weight> parts;

  Counted(const std::shared_ptr<Shelf>& shelf, const char* what, std::int64_t size)
      : parts(parts_of(
            what, {Weight(Tensor::scalar(DType::fp32, 1))},
            {{DType::uint8, {size}}, {DType::uint8, {size}}, {DType::fp32, {2}}},
            [this, size](std::span<const Tensor>) -> Result<Tensors> {
              ++runs;
              return Tensors{Tensor(DType::uint8, {size}), Tensor(DType::uint8, {size}), Tensor(DType::fp32, {2})};
            },
            shelf)) {}
  void take(std::size_t i) { ASSERT_TRUE(parts[i].materialise()); }
};

TEST(Parts, AreMadeTogetherAndReleased) {
  auto shelf = std::make_shared<Shelf>();
  Counted counted(shelf, "a", 5000);
  for (std::size_t i : {0, 1, 2}) counted.take(i);
  EXPECT_EQ(counted.runs, 1);
  counted.take(2);  // small parts stay
  EXPECT_EQ(counted.runs, 1);
  counted.take(1);  // large ones do not
  EXPECT_EQ(counted.runs, 2);
  EXPECT_NE(counted.parts[0].identity(), counted.parts[1].identity());
}

TEST(Parts, WaitOnAShelfOfLimitedSize) {
  auto shelf = std::make_shared<Shelf>(25000);
  Counted a(shelf, "a", 5000), b(shelf, "b", 5000), c(shelf, "c", 5000);
  a.take(0);
  b.take(0);
  a.take(1);
  EXPECT_EQ(a.runs, 1);
  b.take(2);
  c.take(0);  // 30 kB: b is older than c and still within the limit
  b.take(1);
  EXPECT_EQ(b.runs, 1);
  Counted d(shelf, "d", 20000);
  d.take(0);  // larger than the limit, but the newest
  c.take(1);
  EXPECT_EQ(c.runs, 2);
  Counted e(shelf, "e", 20000);
  e.take(0);
  e.take(1);
  EXPECT_EQ(e.runs, 1);
  d.take(1);
  EXPECT_EQ(d.runs, 2);
}

}  // namespace
}  // namespace pomona::compress
