// Compression with data: what the statistics are, and that they pay on the layer's outputs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/compress_config.h"
#include "correlated_layer.h"
#include "ops/elementwise_unary.h"

namespace pomona::compress {
namespace {

using ::testing::HasSubstr;

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

TEST(Calibration, OfVeryManyColumnsTheMomentsAreEnough) {
  Program program;
  Function& f = program.add_function("main", Target::iOS18);
  Builder g(f);
  constexpr std::int64_t columns = 20000;
  std::vector<double> numbers(columns);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = double(i % 7) - 3;
  Value x = f.body.add_input("x", tensor_type(DType::fp32, {1, columns}));
  Value weight = g.constant(Tensor::from_numbers(DType::fp32, {1, columns}, numbers), "w");
  f.body.set_results({g.add(mil::linear{.x = x, .weight = weight}, "y")});
  Calibration data(f, {{{"x", Tensor::from_numbers(DType::fp32, {1, columns}, numbers)}}});
  auto found = data.of(weight);
  ASSERT_TRUE(found && *found);
  EXPECT_TRUE((*found)->matrix.empty());
  EXPECT_EQ((*found)->second_moments[6], 9);
  Request request(*make_scheme("int8"));
  request.calibration = std::make_shared<Calibration>(data);
  auto report = compress(program, request);
  ASSERT_TRUE(report) << describe(report.error());
  EXPECT_THAT(report->lines[0].note, HasSubstr("rounded to nearest"));
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
