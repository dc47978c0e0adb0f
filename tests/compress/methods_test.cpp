// What data are used for beside choosing codes: each method leaves what the program computes, and lowers what
// compression costs its outputs.
#include <gmock/gmock.h>

#include <cstring>
#include <filesystem>

#include "api/files.h"
#include "compress/already.h"
#include "compress/bias_correction.h"
#include "compress/scaling.h"
#include "correlated_layer.h"
#include "cpu/runner.h"
#include "formats/gguf/imatrix.h"
#include "ir/walk.h"
#include "ops/activation.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/norm.h"

namespace pomona::compress {
namespace {

using ::testing::HasSubstr;

Tensor result(Function& function, const NamedTensors& inputs) {
  cpu::Runner runner(function, {});
  auto got = runner.run(inputs);
  EXPECT_TRUE(got) << describe(got.error());
  return got->at(0);
}

double relative_error(const Tensor& got, const Tensor& expected) {
  double error = 0, power = 0;
  for (std::size_t i = 0; i < got.count(); ++i) {
    double off = got.number(i) - expected.number(i);
    error += off * off;
    power += expected.number(i) * expected.number(i);
  }
  return std::sqrt(error / power);
}

// norm -> (gate, up) -> silu(gate) * up -> down; and a branch through relu: what language models and others are made
// of.
struct Mlp {
  Program program;
  Function& main;
  Mlp() : main(program.add_function("main", iOS18)) {
    Value x = main.body.add_input("x", tensor_type(DType::fp32, {32, 64}));
    Builder g(main);
    auto weight = [&](Sizes sizes, unsigned seed, const char* name) {
      return g.constant(normal(std::move(sizes), seed, 0.1), name);
    };
    // Some channels are far larger than others, as in language models.
    Tensor gamma = normal({64}, 1, 0.1);
    for (std::size_t c = 0; c < 64; c += 9) gamma.mutable_view<float>()[c] = 6;
    Value norm = g.add(
        mil::layer_norm{.x = x, .axes = {-1}, .gamma = g.constant(gamma, "gamma"), .beta = weight({64}, 2, "beta")},
        "norm");
    Value gate = g.add(mil::linear{.x = norm, .weight = weight({96, 64}, 3, "gate_w")}, "gate");
    Value up =
        g.add(mil::linear{.x = norm, .weight = weight({96, 64}, 4, "up_w"), .bias = weight({96}, 5, "up_b")}, "up");
    Value both = g.add(mil::mul{.x = g.add(mil::silu{.x = gate}), .y = up}, "both");
    Value down = g.add(mil::linear{.x = both, .weight = weight({64, 96}, 6, "down_w")}, "down");
    Value again = g.add(mil::linear{.x = g.add(mil::relu{.x = down}), .weight = weight({48, 64}, 7, "last_w")}, "last");
    main.body.set_results({again});
    EXPECT_TRUE(g.status());
  }
  static std::vector<NamedTensors> samples() {
    std::vector<NamedTensors> all;
    for (unsigned s = 0; s < 4; ++s) all.push_back({{"x", correlated(32, 64, 10 + 2 * s)}});
    return all;
  }
};

TEST(Scaling, FoldedIntoNeighboursTheProgramComputesWhatItDid) {
  for (ScalingMethod method : {ScalingMethod::awq, ScalingMethod::smooth_quant}) {
    Mlp plain, scaled;
    Calibration data(scaled.main, Mlp::samples());
    Recipe recipe = *one_scheme("linear", {{"dtype", std::string("int4")}, {"granularity", std::string("per_tensor")}});
    auto found = scale_inputs(scaled.program, data, recipe, {method, 0.5});
    ASSERT_TRUE(found) << describe(found.error());
    ASSERT_EQ(found->lines.size(), 3u);
    std::size_t folded = 0;
    for (const ScalingLine& line : found->lines) folded += line.note.empty();
    EXPECT_GE(folded, 1u);
    EXPECT_EQ(found->lines[0].weights, (std::vector<std::string>{"gate_w", "up_w"}));
    NamedTensors sample{{"x", correlated(32, 64, 77)}};
    EXPECT_LT(relative_error(result(scaled.main, sample), result(plain.main, sample)), 1e-5);
  }
}

TEST(Scaling, AwqLowersWhatCoarseCodesCost) {
  NamedTensors sample{{"x", correlated(32, 64, 77)}};
  Mlp plain;
  Tensor expected = result(plain.main, sample);
  auto loss = [&](bool awq) {
    Mlp net;
    Request request(*one_scheme("linear", {{"dtype", std::string("int4")}, {"weight_threshold", std::int64_t(1)}}));
    auto data = std::make_shared<Calibration>(net.main, Mlp::samples());
    if (awq) {
      EXPECT_TRUE(scale_inputs(net.program, *data, request.recipe, {}));
    }
    request.calibration = data;
    request.round = false;
    EXPECT_TRUE(compress(net.program, request));
    return relative_error(result(net.main, sample), expected);
  };
  EXPECT_LT(loss(true), loss(false));
}

TEST(Scaling, AnInputWithAnotherReaderIsLeftWithALine) {
  Layer layer;
  Builder g(layer.main);
  Value y = layer.main.body.results()[0];
  layer.main.body.set_results({y, g.add(mil::relu{.x = layer.main.body.input(std::size_t(0))}, "other")});
  Calibration data(layer.main, samples());
  auto found = scale_inputs(layer.program, data, *one_scheme("int8"), {});
  ASSERT_TRUE(found) << describe(found.error());
  ASSERT_EQ(found->lines.size(), 1u);
  EXPECT_THAT(found->lines[0].note, HasSubstr("reads it as well"));
}

TEST(BiasCorrection, MeansOfOutputsAreKept) {
  auto drift = [](bool corrected) {
    Layer layer;
    std::vector<NamedTensors> data = samples();
    for (NamedTensors& sample : data)
      for (float& x : sample.at("x").mutable_view<float>()) x = x + 3;
    std::vector<Tensor> was;
    for (const NamedTensors& sample : data) was.push_back(result(layer.main, sample));
    Request request(*one_scheme("linear", {{"dtype", std::string("int4")}, {"nbits", std::int64_t(3)}}));
    request.calibration = std::make_shared<Calibration>(layer.main, data);
    request.round = false;
    request.correct_bias = corrected;
    auto report = compress(layer.program, request);
    EXPECT_TRUE(report) << describe(report.error());
    EXPECT_EQ(report->lines[0].note.find("bias corrected") != std::string::npos, corrected);
    std::vector<double> means(48);
    for (std::size_t d = 0; d < data.size(); ++d) {
      Tensor is = result(layer.main, data[d]);
      for (std::size_t i = 0; i < is.count(); ++i) means[i % 48] += is.number(i) - was[d].number(i);
    }
    double sum = 0;
    for (double mean : means) sum += mean * mean;
    return sum;
  };
  EXPECT_LT(drift(true), 0.2 * drift(false));
}

TEST(SparseRounding, ZerosChosenWithDataCostLess) {
  std::pair<const char*, SchemeOptions> cases[] = {
      {"sparse50", {}},
      {"prune", {{"n_m_ratio", Ints{2, 4}}}},
      {"prune", {{"target_sparsity", 0.5}, {"budget", std::string("per_channel")}}},
      {"sparse50+lut4", {}},
      {"sparse50+int8", {}}};
  for (const auto& [scheme, options] : cases) {
    Layer by_size, by_data;
    auto request = [&, &name = scheme, &o = options] { return Request(*make_scheme(name, o)); };
    auto plain = compress(by_size.program, request());
    ASSERT_TRUE(plain) << describe(plain.error());
    Request with_data = request();
    with_data.calibration = std::make_shared<Calibration>(by_data.main, samples());
    auto report = compress(by_data.program, with_data);
    ASSERT_TRUE(report) << describe(report.error());
    EXPECT_THAT(report->lines[0].scheme, HasSubstr("50.0 % zeros")) << scheme;
    EXPECT_THAT(report->lines[0].scheme, HasSubstr("chosen with data")) << scheme;
    EXPECT_EQ(report->lines[0].bytes_after, plain->lines[0].bytes_after) << scheme;
    ASSERT_TRUE(decompress(by_data.program));
    Tensor pruned = *by_data.value().literal()->materialise();
    if (options.count("n_m_ratio"))
      for (std::size_t i = 0; i < pruned.count(); i += 4) {
        int zeros = 0;
        for (std::size_t k = i; k < i + 4; ++k) zeros += pruned.number(k) == 0;
        EXPECT_EQ(zeros, 2);
      }
    EXPECT_LT(by_data.loss(), 0.5 * by_size.loss()) << scheme;
  }
}

TEST(Refinement, CodesScalesAndTablesFittedToEachOtherCostLess) {
  for (const char* scheme : {"lut3", "linear", "lut4"}) {
    auto loss = [&](bool refine) {
      Layer layer;
      SchemeOptions options;
      if (scheme == std::string("linear")) options["dtype"] = std::string("int4");
      Request request(*make_scheme(scheme, options));
      request.calibration = std::make_shared<Calibration>(layer.main, samples());
      request.rounding.refine = refine;
      EXPECT_TRUE(compress(layer.program, request));
      return layer.loss();
    };
    EXPECT_LT(loss(true), loss(false)) << scheme;
  }
}

TEST(Rounding, TakesFormsOfSeveralStagesAndOldOnes) {
  for (const SchemeOptions& options : {SchemeOptions{{"nbits", std::int64_t(4)}, {"enable_per_channel_scale", true}},
                                       SchemeOptions{{"nbits", std::int64_t(4)}, {"lut_dtype", std::string("int8")}}}) {
    Layer plain, fitted;
    ASSERT_TRUE(compress(plain.program, Request(*make_scheme("palettize", options))));
    Request request(*make_scheme("palettize", options));
    request.calibration = std::make_shared<Calibration>(fitted.main, samples());
    auto report = compress(fitted.program, request);
    ASSERT_TRUE(report) << describe(report.error());
    EXPECT_THAT(report->lines[0].scheme, HasSubstr("rounded with data"));
    EXPECT_LT(fitted.loss(), 0.5 * plain.loss());
  }
}

// ---- importance

void append(std::string& bytes, const void* from, std::size_t size) {
  bytes.append(static_cast<const char*>(from), size);
}
void append(std::string& bytes, std::int32_t value) { append(bytes, &value, 4); }

TEST(Imatrix, ListsGiveMeansAndDamagedOnesAnError) {
  std::string file;
  append(file, 1);
  append(file, 19);
  file += "blk.0.ffn_up.weight";
  append(file, 4);  // calls
  append(file, 3);
  for (float sum : {8.0f, 0.0f, 2.0f}) append(file, &sum, 4);
  auto found = gguf::read_imatrix(Bytes::own(file));
  ASSERT_TRUE(found) << describe(found.error());
  EXPECT_EQ(found->mean_squares.at("blk.0.ffn_up.weight"), (std::vector<float>{2, 0, 0.5f}));
  for (std::size_t cut = 0; cut < file.size(); ++cut)
    EXPECT_FALSE(gguf::read_imatrix(Bytes::own(file.substr(0, cut)))) << cut;
}

TEST(Importance, TablesFollowTheFile) {
  auto error_of_first = [](float importance) {
    Layer layer;
    Request request(*make_scheme("palettize", {{"nbits", std::int64_t(2)}}));
    std::vector<float> factors(64, 1.0f);
    factors[0] = importance;
    request.importance["w"] = factors;
    auto report = compress(layer.program, request);
    EXPECT_TRUE(report) << describe(report.error());
    EXPECT_TRUE(decompress(layer.program));
    Tensor now = *layer.value().literal()->materialise();
    double error = 0;
    for (std::size_t r = 0; r < 48; ++r) error += std::pow(now.number(r * 64) - layer.weight.number(r * 64), 2);
    return error;
  };
  EXPECT_LT(error_of_first(1e4f), 0.5 * error_of_first(1));
}

// ---- compressed before

TEST(Already, ZerosStayAndTablesBecomeInt8) {
  Layer sparse;
  ASSERT_TRUE(compress(sparse.program, Request(*make_scheme("sparse50"))));
  Request request(*make_scheme("lut4"));
  request.already = already_compressed(sparse.program);
  ASSERT_TRUE(decompress(sparse.program));
  auto report = compress(sparse.program, request);
  ASSERT_TRUE(report) << describe(report.error());
  EXPECT_THAT(report->lines[0].scheme, HasSubstr("sparse 4-bit table"));

  Layer table;
  ASSERT_TRUE(compress(table.program, Request(*make_scheme("lut4"))));
  Request linear(*make_scheme("linear"));
  linear.already = already_compressed(table.program);
  ASSERT_TRUE(decompress(table.program));
  report = compress(table.program, linear);
  ASSERT_TRUE(report) << describe(report.error());
  EXPECT_THAT(report->lines[0].scheme, HasSubstr("int8 entries"));
  // The error is known once the weight has been encoded.
  each_node(table.program, [](const Node& node) {
    if (node.op->structural) {
      EXPECT_TRUE(node.literal.materialise());
    }
  });
  ASSERT_TRUE(report->lines[0].relative_error());
  EXPECT_LT(*report->lines[0].relative_error(), 0.01);
}

// ---- journals

TEST(Journal, WhatWasDoneIsTakenAndAnotherJobBeginsAnew) {
  auto folder = api::TemporaryFolder::make();
  ASSERT_TRUE(folder);
  std::string place = folder->path() + "/work";
  Layer layer;
  auto encode = [&] {
    return *encode_alone(*layer.value().producer(), layer.value().producer()->literal, **make_scheme("lut4"));
  };
  Encoded done = encode();
  Tensor decoded = *decode(done, iOS18);
  {
    auto journal = Journal::open(place, "job");
    ASSERT_TRUE(journal);
    Encoded other = encode();
    std::vector<float> shift;
    EXPECT_FALSE(*(*journal)->take(3, other, shift));
    ASSERT_TRUE((*journal)->keep(3, done, {1, 2}));
  }
  auto journal = Journal::open(place, "job");
  Encoded again = encode();
  std::vector<float> shift;
  EXPECT_TRUE(*(*journal)->take(3, again, shift));
  EXPECT_EQ(shift, (std::vector<float>{1, 2}));
  Tensor same = *decode(again, iOS18);
  EXPECT_EQ(std::memcmp(same.data(), decoded.data(), same.size_bytes()), 0);
  (*journal)->finish();
  EXPECT_FALSE(std::filesystem::exists(place));
  ASSERT_TRUE((*Journal::open(place, "job"))->keep(3, done, {}));
  EXPECT_FALSE(*(*Journal::open(place, "another"))->take(3, again, shift));
}

}  // namespace
}  // namespace pomona::compress
