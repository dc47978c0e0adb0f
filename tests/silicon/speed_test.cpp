// Predicted speeds against measurements that the constants were not fitted to, and tables as users write them.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/bytes.h"
#include "silicon/llm_shape.h"
#include "silicon/speed_rows.h"

namespace pomona::silicon {
namespace {

// llama.cpp discussion 4167, rows of M4 and M5: the built-in constants come from M1 to M3.
struct Measured {
  const char* chip;
  int cores;
  const char* quant;
  double bits, gib;
  const char* phase;
  double tokens_per_s;
};
constexpr Measured m4_rows[] = {
    {"M4", 10, "F16", 16, 12.55, "prompt", 230.18},     {"M4", 10, "F16", 16, 12.55, "decode", 7.43},
    {"M4", 10, "Q8_0", 8.5, 6.67, "prompt", 223.64},    {"M4", 10, "Q8_0", 8.5, 6.67, "decode", 13.54},
    {"M4", 10, "Q4_0", 4.54, 3.56, "prompt", 221.29},   {"M4", 10, "Q4_0", 4.54, 3.56, "decode", 24.11},
    {"M4 Max", 40, "F16", 16, 12.55, "prompt", 922.83}, {"M4 Max", 40, "F16", 16, 12.55, "decode", 31.64},
    {"M4 Max", 40, "Q8_0", 8.5, 6.67, "decode", 54.05}, {"M4 Max", 40, "Q4_0", 4.54, 3.56, "decode", 83.06},
    {"M4 Max", 32, "F16", 16, 12.55, "decode", 24.3},   {"M4 Max", 32, "Q4_0", 4.54, 3.56, "decode", 70.0},
    {"M4 Pro", 20, "Q4_0", 4.54, 3.56, "prompt", 440},  {"M4 Pro", 20, "Q4_0", 4.54, 3.56, "decode", 50.7},
    {"M5 Pro", 20, "F16", 16, 12.55, "decode", 21.6},   {"M5 Pro", 20, "Q8_0", 8.5, 6.67, "decode", 38.9},
    {"M5 Pro", 20, "Q4_0", 4.54, 3.56, "decode", 66.3}, {"M5 Max", 40, "F16", 16, 12.55, "decode", 37.1},
    {"M5 Max", 40, "Q8_0", 8.5, 6.67, "decode", 72.4},  {"M5 Max", 40, "Q4_0", 4.54, 3.56, "decode", 119.9},
};

SpeedCase row_of(const Measured& m) {
  SpeedCase row;
  row.chip = m.chip;
  row.gpu_cores = m.cores;
  row.runtime = "llama.cpp-metal";
  row.model = "LLaMA-2-7B";
  row.params_b = 6.74;
  row.quant = m.quant;
  row.bits_per_weight = m.bits;
  row.weight_gib = m.gib;
  row.phase = m.phase;
  row.build = "8e672ef (2023-11)";
  return row;
}

TEST(Speed, LaterChipThanTheFittedOnes) {
  for (const Measured& m : m4_rows) {
    auto speed = predict_speed(row_of(m), default_speed_constants());
    ASSERT_TRUE(speed) << speed.error().what;
    EXPECT_NEAR(speed->tokens_per_s / m.tokens_per_s, 1, 0.12) << m.chip << " " << m.quant << " " << m.phase;
    EXPECT_LT(speed->low, m.tokens_per_s);
    EXPECT_GT(speed->high, m.tokens_per_s);
  }
}

TEST(Speed, FirstNeuralEnginePackageOnALaterChip) {  // coreml-llm-cli's README: M4 iPad, 7.76 tokens/s
  SpeedCase row = row_of(m4_rows[5]);
  row.chip = "M4";
  row.runtime = "coreml-ane";
  row.quant = "4-bit LUT";
  row.bits_per_weight = 4;
  row.weight_gib = 3.6;
  row.test = "80 new tokens, 64-token padded steps";
  row.build = "model v1";
  auto speed = predict_speed(row, default_speed_constants());
  ASSERT_TRUE(speed) << speed.error().what;
  EXPECT_NEAR(speed->tokens_per_s / 7.76, 1, 0.2);
  EXPECT_LT(speed->low, 7.76);
  EXPECT_GT(speed->high, 7.76);
}

// The published rows that the constants come from, each chip predicted by constants fitted without it.
TEST(Speed, AChipLeftOut) {
  Bytes text = *map_file(std::string(std::getenv("POMONA_SOURCE")) + "/tests/silicon/llm_speed.csv");
  auto table = read_speed_table(text.text());
  ASSERT_TRUE(table) << table.error().what;
  EXPECT_EQ(table->cases.size(), 299u);
  auto study = fit_speed(table->cases);
  ASSERT_TRUE(study) << study.error().what;
  std::size_t held = 0;
  for (const LeftOut& left : study->left_out) {
    if (left.chips < 2 || left.rows < 10) continue;
    ++held;
    EXPECT_LE(left.median_error, 0.06) << left.group;
    EXPECT_LE(left.p90_error, 0.16) << left.group;
    EXPECT_GE(left.inside, 0.75) << left.group;
    EXPECT_LE(left.inside, 0.90) << left.group;
  }
  EXPECT_EQ(held, 3u);
  // The built-in constants are those of this table.
  for (const auto& [group, fit] : study->constants)
    for (const auto& [term, seconds] : fit.seconds)
      EXPECT_NEAR(default_speed_constants().at(group).seconds.at(term), seconds, 1e-3 * seconds)
          << group << " " << term;
}

TEST(Speed, MoreContextIsSlower) {
  SpeedCase row = row_of(m4_rows[5]);
  row.test = "tg128";
  auto little = predict_speed(row, default_speed_constants());
  row.test = "tg8192";
  auto much = predict_speed(row, default_speed_constants());
  ASSERT_TRUE(little && much);
  EXPECT_GT(little->tokens_per_s, 1.1 * much->tokens_per_s);
}

TEST(Speed, FewerBitsAreFasterToReadOnEveryChip) {
  for (const Chip& chip : chips()) {
    SpeedCase row = row_of(m4_rows[1]);
    row.chip = chip.name;
    row.gpu_cores = 0;
    auto wide = predict_speed(row, default_speed_constants());
    row.quant = "Q4_0";
    row.weight_gib = 3.56;
    auto narrow = predict_speed(row, default_speed_constants());
    ASSERT_TRUE(wide && narrow) << chip.name;
    EXPECT_GT(narrow->tokens_per_s, 1.8 * wide->tokens_per_s) << chip.name;
    EXPECT_LT(narrow->low, narrow->tokens_per_s);
    EXPECT_GT(narrow->high, narrow->tokens_per_s);
  }
}

TEST(Speed, FitFindsWhatMadeTheRows) {
  // Rows made by known constants: 0.9 bytes/bandwidth and 4 ms per 32 layers.
  std::vector<SpeedCase> rows;
  for (const char* chip : {"M1", "M1 Max", "M2 Pro", "M3", "M3 Max"})
    for (double gib : {3.56, 6.67, 12.55}) {
      SpeedCase row = row_of(m4_rows[5]);
      row.chip = chip;
      row.gpu_cores = 0;
      row.weight_gib = gib;
      double read = gib * 1.073741824 * (6.74 - 32000 * 4096 / 1e9) / 6.74;
      row.tokens_per_s = 1 / (0.9 * read / find_chip(chip)->bandwidth_gbs + 0.004);
      rows.push_back(row);
    }
  auto study = fit_speed(rows);
  ASSERT_TRUE(study) << study.error().what;
  ASSERT_EQ(study->left_out.size(), 1u);
  EXPECT_EQ(study->left_out[0].chips, 5u);
  EXPECT_LT(study->left_out[0].p90_error, 0.02);
}

TEST(Speed, ConstantsRoundTrip) {
  auto back = speed_constants_from_json(speed_constants_json(default_speed_constants()));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->size(), default_speed_constants().size());
  EXPECT_EQ(back->at("llama.cpp-metal decode").seconds, default_speed_constants().at("llama.cpp-metal decode").seconds);
  EXPECT_FALSE(speed_constants_from_json("[]"));
  EXPECT_FALSE(speed_constants_from_json(R"({"a": {}})"));
  EXPECT_FALSE(speed_constants_from_json(R"({"a": {"seconds": {"x": -1}}})"));
}

TEST(SpeedTable, KeepsEveryColumnAndPredictsWhatItCan) {
  auto table = read_speed_table(
      "chip,note,runtime,params_b,bits_per_weight,phase,model\n"
      "M4,\"a, \"\"b\"\"\",mlx,8.03,4.5,decode,Llama-3.1-8B\r\n"
      "M99,,mlx,8.03,4.5,decode,x\n\n");
  ASSERT_TRUE(table) << table.error().what;
  ASSERT_EQ(table->cases.size(), 2u);
  auto predictions = predict_table(*table, default_speed_constants());
  EXPECT_TRUE(predictions.lines[0].speed);
  EXPECT_NE(predictions.lines[1].obstacle.find("M99"), std::string::npos);
  std::string text = write_speed_table(*table, predictions.lines);
  EXPECT_TRUE(
      text.starts_with("chip,note,runtime,params_b,bits_per_weight,phase,model,predicted_tokens_per_s,low,high\n"
                       "M4,\"a, \"\"b\"\"\",mlx,8.03,4.5,decode,Llama-3.1-8B,"));
  EXPECT_NE(text.find("M99,,mlx,8.03,4.5,decode,x,,,\n"), std::string::npos);
}

TEST(SpeedTable, ErrorsNameTheLine) {
  auto what = [](std::string_view text) {
    auto table = read_speed_table(text);
    return table ? std::string() : table.error().what;
  };
  EXPECT_NE(what("").find("empty"), std::string::npos);
  EXPECT_NE(what("chip,runtime,phase,bits_per_weight\n").find("params_b"), std::string::npos);
  EXPECT_NE(what("chip,runtime,params_b,phase,weight_gib\nM1,mlx,x,decode,1\n").find("line 2"), std::string::npos);
  EXPECT_NE(what("chip,runtime,params_b,phase,weight_gib\nM1,mlx,1,decode,1,9\n").find("line 2"), std::string::npos);
  EXPECT_NE(what("chip,runtime,params_b,phase,weight_gib\n\"M1,mlx\n").find("does not end"), std::string::npos);
}

TEST(LlmShape, KnownAndEstimated) {
  EXPECT_EQ(llm_shape("Meta-Llama-3.1-8B-Instruct", 8.03).layers, 32);
  EXPECT_EQ(llm_shape("Qwen3-Coder-30B-A3B", 30.5).active_b, 3.3);
  EXPECT_NEAR(*llm_shape("Some-New-100B-A7B", 100).active_b, 7, 1e-9);
  LlmShape unknown = llm_shape("nobody knows", 7);
  EXPECT_NEAR(unknown.layers, 32, 4);
  EXPECT_NEAR(unknown.width, 4096, 512);
}

TEST(Chips, Names) {
  EXPECT_EQ(find_chip("m4pro"), find_chip("Apple M4 Pro"));
  EXPECT_EQ(find_chip("M7"), nullptr);
  EXPECT_FALSE(chip_named("A17"));
  EXPECT_EQ(bandwidth_gbs(*find_chip("M3 Max"), 30), 300);
}

}  // namespace
}  // namespace pomona::silicon
