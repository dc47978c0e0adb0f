// Compression with data: what the statistics are, and that they pay on the layer's outputs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "api/compress_config.h"
#include "compress/policy.h"
#include "ir/builder.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"

namespace pomona::compress {
namespace {

using ::testing::HasSubstr;

Tensor normal(Sizes sizes, unsigned seed, double deviation) {
  std::mt19937 random(seed);
  std::normal_distribution<double> draw(0, deviation);
  std::vector<double> numbers(std::size_t(element_count(sizes)));
  for (double& number : numbers) number = draw(random);
  return Tensor::from_numbers(DType::fp32, std::move(sizes), numbers);
}

// Inputs whose channels depend on each other and are of very different size.
Tensor correlated(std::int64_t rows, std::int64_t width, unsigned seed) {
  Tensor few = normal({rows, 12}, seed, 1), mix = normal({12, width}, 99, 1),
         noise = normal({rows, width}, seed + 1, 0.2);
  Tensor out(DType::fp32, {rows, width});
  auto to = out.mutable_view<float>();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < width; ++c) {
      double sum = noise.number(std::size_t(r * width + c));
      for (std::int64_t k = 0; k < 12; ++k)
        sum += few.number(std::size_t(r * 12 + k)) * mix.number(std::size_t(k * width + c));
      to[std::size_t(r * width + c)] = float(sum * std::exp(2 * std::sin(double(c))));
    }
  return out;
}

struct Layer {
  Program program;
  Function& main;
  Tensor weight = normal({48, 64}, 5, 0.05);

  Layer() : main(program.add_function("main", iOS18)) {
    Value x = main.body.add_input("x", tensor_type(DType::fp32, {32, 64}));
    Builder g(main);
    Value y = g.add(mil::linear{.x = x, .weight = g.constant(weight, "w")}, "y");
    main.body.set_results({y});
  }
  Value value() {
    for (const auto& node : main.body.nodes())
      if (node->output().name() == "w") return node->output();
    return {};
  }
  // The squared error of the layer's outputs on inputs that were not calibrated with.
  double loss() {
    EXPECT_TRUE(decompress(program));
    Tensor now = *value().literal()->materialise(), x = correlated(32, 64, 77);
    double error = 0;
    for (std::size_t r = 0; r < 32; ++r)
      for (std::size_t o = 0; o < 48; ++o) {
        double off = 0;
        for (std::size_t i = 0; i < 64; ++i)
          off += x.number(r * 64 + i) * (now.number(o * 64 + i) - weight.number(o * 64 + i));
        error += off * off;
      }
    return error;
  }
};

std::vector<NamedTensors> samples() {
  std::vector<NamedTensors> all;
  for (unsigned s = 0; s < 8; ++s) all.push_back({{"x", correlated(32, 64, 10 + 2 * s)}});
  return all;
}

TEST(Calibration, MomentsAndMatrixAreThoseOfTheInputs) {
  Layer layer;
  Calibration data(layer.main, samples());
  auto found = data.of(layer.value());
  ASSERT_TRUE(found) << describe(found.error());
  ASSERT_TRUE(*found);
  const Statistics& statistics = **found;
  double moment = 0, cross = 0;
  for (const NamedTensors& sample : samples())
    for (std::size_t r = 0; r < 32; ++r) {
      double a = sample.at("x").number(r * 64 + 3), b = sample.at("x").number(r * 64 + 9);
      moment += a * a / 256;
      cross += a * b / 256;
    }
  EXPECT_NEAR(statistics.second_moments[3], moment, 1e-4 * moment);
  EXPECT_NEAR(statistics.matrix[3 * 64 + 9], cross, 1e-3 * moment);
}

TEST(Calibration, DataHalveWhatTheOutputsLose) {
  for (const char* scheme : {"linear4", "blocks4", "lut3"}) {
    auto request = [&] {
      if (scheme == std::string("lut3")) return Request(*make_scheme("lut3"));
      SchemeOptions options{{"dtype", std::string("int4")}};
      if (scheme == std::string("blocks4")) options["granularity"] = std::string("per_block");
      return Request(*make_scheme("linear", options));
    };
    Layer plain, fitted;
    ASSERT_TRUE(compress(plain.program, request()));
    Request with_data = request();
    with_data.calibration = std::make_shared<Calibration>(fitted.main, samples());
    auto report = compress(fitted.program, with_data);
    ASSERT_TRUE(report) << describe(report.error());
    EXPECT_THAT(report->lines[0].scheme, HasSubstr("rounded with data"));
    EXPECT_LT(fitted.loss(), 0.5 * plain.loss()) << scheme;
  }
}

std::string error_of(const char* yaml) {
  auto document = api::parse_yaml(yaml);
  if (!document) return describe(document.error());
  auto recipe = api::recipe_of(*document);
  return recipe ? "" : describe(recipe.error());
}

TEST(Recipes, ChooseByNameThenTypeThenForAll) {
  auto document = api::parse_yaml(R"(
global: int8
types: {linear: lut4}
names:
  "re:other.*": none
  "w?": {scheme: linear, dtype: int4}
)");
  ASSERT_TRUE(document) << describe(document.error());
  auto recipe = api::recipe_of(*document);
  ASSERT_TRUE(recipe) << describe(recipe.error());
  Layer layer;
  std::vector<bool> used;
  EXPECT_EQ(choose(*recipe, layer.value(), used)->scheme, recipe->types.at("linear"));
  recipe->names.push_back({"w", nullptr});
  EXPECT_EQ(choose(*recipe, layer.value(), used)->scheme, nullptr);
  EXPECT_TRUE(used.back());
}

TEST(Recipes, DocumentsOfOthersAndWhatTheyMayNotSay) {
  EXPECT_EQ(error_of("config_type: OpPalettizerConfig\nglobal_config: {mode: KMEANS, nbits: 4}\n"
                     "op_type_configs: {conv: {mode: uniform, nbits: 1}, linear: null}"),
            "");
  EXPECT_EQ(error_of("config_type: OpThresholdPrunerConfig\nglobal_config: {threshold: 0.01}\n"
                     "op_type_configs: {conv: {config_type: OpMagnitudePrunerConfig, n_m_ratio: [3, 4]}}"),
            "");
  EXPECT_EQ(error_of("{\"global_config\": {\"weight_dtype\": \"int4\"}, \"module_type_configs\": {\"Linear\": null}}"),
            "");
  EXPECT_THAT(error_of("config_type: OpPalettizerConfig\nglobal_config: {nbits: 4, lut_function: f}"),
              HasSubstr("lut_function"));
  EXPECT_THAT(error_of("config_type: OpFancyConfig\nglobal_config: {nbits: 4}"), HasSubstr("OpFancyConfig"));
  EXPECT_THAT(error_of("global_config: {weight_dtype: fp8_e4m3}"), HasSubstr("fp8_e4m3"));
  EXPECT_THAT(error_of("global_config: {target_sparsity: 0.5, scheduler: {update_steps: [0]}}"),
              HasSubstr("scheduler"));
  EXPECT_THAT(error_of("scheme: int8\nnames: {a: int9}"), HasSubstr("int9"));
  EXPECT_THAT(error_of("scheme: int8\ntypes: {convolution: int8}"), HasSubstr("convolution"));
  EXPECT_THAT(error_of("scheme: int8\nnames: {\"re:(\": none}"), HasSubstr("no regular expression"));
  EXPECT_THAT(error_of("scheme: [int8"), HasSubstr("line"));
}

}  // namespace
}  // namespace pomona::compress
