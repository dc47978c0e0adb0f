// Linear quantisers against plain scalar formulas written here from coremltools' definition of scales and zero points.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "base/half.h"
#include "compress/linear_quantise.h"

namespace pomona::compress {
namespace {

using Halves = std::vector<std::uint16_t>;

Halves random_halves(std::size_t count, float spread, unsigned seed) {
  std::mt19937 random(seed);
  std::student_t_distribution<float> heavy(4);
  Halves halves(count);
  for (std::uint16_t& half : halves) half = float_to_half(spread * heavy(random) + 0.2f * spread);
  return halves;
}

// Which block each weight belongs to.
std::size_t block_of(const BlockedShape& shape, std::size_t weight) {
  const std::size_t row = weight / (shape.columns * shape.depth);
  const std::size_t column = weight / shape.depth % shape.columns;
  return row / shape.block_rows * (shape.columns / shape.block_columns) + column / shape.block_columns;
}

int code_at(const LinearCodes& coded, std::size_t weight, bool is_signed) {
  return is_signed ? static_cast<std::int8_t>(coded.codes[weight]) : coded.codes[weight];
}

int zero_at(const LinearCodes& coded, std::size_t block, bool is_signed) {
  if (coded.zero_points.empty()) return 0;
  return is_signed ? static_cast<std::int8_t>(coded.zero_points[block]) : coded.zero_points[block];
}

struct Expected {
  std::vector<int> codes;
  std::vector<float> scales;
  std::vector<int> zeros;
};

// coremltools' _utils.quantize_weight_by_dtype, with the scale rounded to its stored type before the codes
// are computed, and exact zero points.
Expected reference(const std::vector<float>& weights, const BlockedShape& shape, const LinearOptions& options) {
  const std::size_t blocks = shape.rows / shape.block_rows * (shape.columns / shape.block_columns);
  int low = options.is_signed ? -(1 << (options.bits - 1)) : 0;
  int high = low + (1 << options.bits) - 1;
  if (options.symmetric && options.is_signed && !options.lowest_code) ++low;
  if (options.symmetric && !options.is_signed) --high;
  std::vector<double> least(blocks, 0), most(blocks, 0);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::size_t block = block_of(shape, i);
    least[block] = std::min<double>(least[block], weights[i]);
    most[block] = std::max<double>(most[block], weights[i]);
  }
  Expected expected;
  for (std::size_t block = 0; block < blocks; ++block) {
    float span = static_cast<float>(most[block] - least[block]);
    if (options.scale_type == ScaleType::fp16) span = half_to_float(float_to_half(span));
    double step = static_cast<double>(span) / (high - low);
    if (options.symmetric) step = 2 * std::max(most[block], -least[block]) / (high - low);
    if (options.lowest_code) step = std::max(most[block] / high, -least[block] / -low);
    float scale = static_cast<float>(step);
    if (options.scale_type == ScaleType::fp16) scale = half_to_float(float_to_half(scale));
    if (step == 0) scale = 1;
    expected.scales.push_back(scale);
    int zero = options.is_signed ? 0 : high / 2;
    if (!options.symmetric)
      zero = static_cast<int>(std::clamp(std::nearbyint(low - least[block] / scale), double(low), double(high)));
    expected.zeros.push_back(zero);
  }
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::size_t block = block_of(shape, i);
    const float steps = std::nearbyint(weights[i] / expected.scales[block]);
    expected.codes.push_back(
        static_cast<int>(std::clamp<float>(steps + static_cast<float>(expected.zeros[block]), low, high)));
  }
  return expected;
}

double error_of(const std::vector<float>& weights, const BlockedShape& shape, const LinearCodes& coded,
                bool is_signed) {
  double error = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::size_t block = block_of(shape, i);
    const int steps = code_at(coded, i, is_signed) - zero_at(coded, block, is_signed);
    const double distance = weights[i] - static_cast<double>(coded.scales[block]) * steps;
    error += distance * distance;
  }
  return error;
}

std::vector<float> widen(const Halves& halves) {
  std::vector<float> floats(halves.size());
  for (std::size_t i = 0; i < halves.size(); ++i) floats[i] = half_to_float(halves[i]);
  return floats;
}

constexpr BlockedShape shapes[] = {
    {.rows = 24, .columns = 96, .block_rows = 1, .block_columns = 96},           // row channels
    {.rows = 24, .columns = 100, .block_rows = 24, .block_columns = 1},          // column channels, odd padding
    {.rows = 16, .columns = 128, .block_rows = 1, .block_columns = 32},          // blocks along the columns
    {.rows = 64, .columns = 33, .block_rows = 16, .block_columns = 1},           // blocks along the rows
    {.rows = 12, .columns = 20, .block_rows = 12, .block_columns = 20},          // whole tensor
    {.rows = 8, .columns = 6, .depth = 9, .block_rows = 1, .block_columns = 3},  // convolution, blocks of inputs
    {.rows = 6,
     .columns = 10,
     .depth = 9,
     .block_rows = 6,
     .block_columns = 1},                                                  // transposed convolution, output channels
    {.rows = 3, .columns = 5000, .block_rows = 1, .block_columns = 5000},  // longer than one float partial sum
    {.rows = 700, .columns = 130, .block_rows = 700, .block_columns = 1},  // several strips of columns
    {.rows = 7, .columns = 1, .block_rows = 1, .block_columns = 1},        // one weight per block
};

TEST(LinearQuantise, MatchesTheScalarFormulaInEveryModeAndShape) {
  unsigned seed = 0;
  for (const BlockedShape& shape : shapes) {
    const std::size_t count = shape.rows * shape.columns * shape.depth;
    const Halves halves = random_halves(count, 0.02f, ++seed);
    const std::vector<float> floats = widen(halves);
    for (const unsigned bits : {8u, 4u, 3u}) {
      for (const bool is_signed : {true, false}) {
        for (const int mode : {0, 1, 2}) {  // symmetric, asymmetric, symmetric with the lowest code
          if (mode == 2 && !is_signed) continue;
          for (const ScaleType type : {ScaleType::fp16, ScaleType::fp32}) {
            const LinearOptions options{.bits = bits,
                                        .is_signed = is_signed,
                                        .symmetric = mode != 1,
                                        .lowest_code = mode == 2,
                                        .scale_type = type};
            SCOPED_TRACE(testing::Message()
                         << shape.rows << "x" << shape.columns << "x" << shape.depth << " bits " << bits << " signed "
                         << is_signed << " mode " << mode << " type " << static_cast<int>(type));
            auto from_halves = quantise_linear(halves, shape, options);
            auto from_floats = quantise_linear(floats, shape, options);
            ASSERT_TRUE(from_halves && from_floats);
            EXPECT_EQ(from_halves->codes, from_floats->codes);
            const Expected expected = reference(floats, shape, options);
            ASSERT_EQ(from_halves->scales, expected.scales);
            for (std::size_t block = 0; block < expected.zeros.size(); ++block) {
              ASSERT_EQ(zero_at(*from_halves, block, is_signed), expected.zeros[block]);
            }
            for (std::size_t i = 0; i < count; ++i)
              ASSERT_EQ(code_at(*from_halves, i, is_signed), expected.codes[i]) << i;
            const double error = error_of(floats, shape, *from_halves, is_signed);
            EXPECT_NEAR(from_halves->squared_error, error, 1e-4 * error + 1e-12);
          }
        }
      }
    }
  }
}

TEST(LinearQuantise, SearchNeverLosesAndWinsOnHeavyTails) {
  const BlockedShape shape{.rows = 64, .columns = 256, .block_rows = 1, .block_columns = 32};
  const std::vector<float> floats = widen(random_halves(64 * 256, 0.02f, 9));
  for (const bool symmetric : {true, false}) {
    const LinearOptions plain{.bits = 4, .is_signed = symmetric, .symmetric = symmetric};
    auto covering = quantise_linear(floats, shape, plain);
    ASSERT_TRUE(covering);
    const double covered = error_of(floats, shape, *covering, symmetric);
    for (const unsigned candidates : {2u, 16u, 20u, 64u}) {
      LinearOptions searching = plain;
      searching.candidates = candidates;
      auto searched = quantise_linear(floats, shape, searching);
      ASSERT_TRUE(searched);
      const double error = error_of(floats, shape, *searched, symmetric);
      EXPECT_LE(error, covered * (1 + 1e-6)) << candidates;
      if (candidates >= 16) {
        EXPECT_LT(error, 0.97 * covered) << candidates;
      }
    }
  }
}

// The searched scale of each block is the best of the candidates as a plain loop finds them.
TEST(LinearQuantise, SearchMatchesAScalarSearch) {
  const BlockedShape shape{.rows = 20, .columns = 64, .block_rows = 1, .block_columns = 32};
  const std::vector<float> floats = widen(random_halves(20 * 64, 0.5f, 4));
  auto coded = quantise_linear(floats, shape, {.bits = 4, .scale_type = ScaleType::fp32, .candidates = 20});
  ASSERT_TRUE(coded);
  for (std::size_t block = 0; block < 40; ++block) {
    const float* part = floats.data() + block * 32;
    double largest = 0;
    for (int i = 0; i < 32; ++i) largest = std::max<double>(largest, std::fabs(part[i]));
    const auto error_with = [&](double scale) {
      double error = 0;
      for (int i = 0; i < 32; ++i) {
        const double distance = part[i] - scale * std::clamp(std::nearbyint(part[i] / scale), -7.0, 7.0);
        error += distance * distance;
      }
      return error;
    };
    double best = std::numeric_limits<double>::infinity();
    for (int k = 0; k < 20; ++k)
      best = std::min(best, error_with(static_cast<float>(largest / 7 * (1 - 0.4 * k / 19))));
    EXPECT_NEAR(error_with(coded->scales[block]), best, 1e-5 * best);
  }
}

TEST(LinearQuantise, ZerosAndTinyAndHugeWeights) {
  const BlockedShape shape{.rows = 4, .columns = 3, .block_rows = 1, .block_columns = 3};
  // zeros; the smallest fp16 number; fp16 extremes; ordinary
  const Halves halves{0x0000, 0x8000, 0x0000, 0x0001, 0x8001, 0x0000, 0x7BFF, 0xFBFF, 0x0000, 0x3C00, 0xBC00, 0x3800};
  for (const bool symmetric : {true, false}) {
    for (const unsigned bits : {4u, 8u}) {
      for (const unsigned candidates : {1u, 16u}) {
        auto coded = quantise_linear(
            halves, shape, {.bits = bits, .is_signed = symmetric, .symmetric = symmetric, .candidates = candidates});
        ASSERT_TRUE(coded) << describe(coded.error());
        for (const float scale : coded->scales) {
          EXPECT_TRUE(std::isfinite(scale) && scale > 0);
          EXPECT_EQ(half_to_float(float_to_half(scale)), scale);
        }
        EXPECT_TRUE(std::isfinite(coded->squared_error));
        for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(code_at(*coded, i, symmetric), zero_at(*coded, 0, symmetric));
      }
    }
  }
  auto smallest = quantise_linear(halves, shape, {.bits = 8});
  ASSERT_TRUE(smallest);
  EXPECT_EQ(smallest->scales[0], 1.0f);
  EXPECT_EQ(smallest->scales[1], 0x1p-24f);  // 2^-24 / 127 rounds to 0 in fp16
  EXPECT_EQ(code_at(*smallest, 3, true), 1);
  EXPECT_EQ(code_at(*smallest, 4, true), -1);
  EXPECT_EQ(code_at(*smallest, 6, true), 127);
  EXPECT_EQ(code_at(*smallest, 7, true), -127);
}

// A scale of 1.4 * 2^-24 must not be rounded down to 2^-24: a quarter of the range would be clipped.
TEST(LinearQuantise, SubnormalScalesCoverTheBlock) {
  const BlockedShape shape{.rows = 1, .columns = 2, .block_rows = 1, .block_columns = 2};
  const std::vector<float> weights{1.4f * 127 * 0x1p-24f, -1.0f * 0x1p-24f};
  auto coded = quantise_linear(weights, shape, {.bits = 8});
  ASSERT_TRUE(coded);
  EXPECT_EQ(coded->scales[0], 0x1p-23f);
  EXPECT_EQ(code_at(*coded, 0, true), 89);
}

TEST(LinearQuantise, RoundsHalfToEven) {
  const BlockedShape shape{.rows = 1, .columns = 6, .block_rows = 1, .block_columns = 6};
  auto coded = quantise_linear(std::vector<float>{127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f}, shape, {.bits = 8});
  ASSERT_TRUE(coded);
  EXPECT_EQ(coded->scales[0], 1.0f);
  const std::vector<int> expected{127, 0, 2, 2, 0, -2};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(code_at(*coded, i, true), expected[i]);
}

TEST(LinearQuantise, RefusesWhatItCannotUse) {
  const BlockedShape shape{.rows = 2, .columns = 4, .block_rows = 1, .block_columns = 4};
  std::vector<float> weights(8, 1.0f);
  const auto message = [&](const BlockedShape& s, const LinearOptions& options) {
    auto result = quantise_linear(weights, s, options);
    return result ? std::string("no error") : describe(result.error());
  };
  EXPECT_NE(message({.rows = 2, .columns = 4, .block_rows = 1, .block_columns = 3}, {})
                .find("4 columns cannot be cut into blocks of 3"),
            std::string::npos);
  EXPECT_NE(message({.rows = 3, .columns = 4, .block_rows = 1, .block_columns = 4}, {})
                .find("8 weights do not fill 3 x 4 x 1"),
            std::string::npos);
  EXPECT_NE(message(shape, {.bits = 9}).find("9 bits"), std::string::npos);
  EXPECT_NE(message(shape, {.is_signed = false, .lowest_code = true}).find("lowest code"), std::string::npos);
  EXPECT_NE(message(shape, {.candidates = 0}).find("0 candidate"), std::string::npos);
  weights[5] = 1e9f;
  EXPECT_NE(message(shape, {}).find("row 1, column 0 needs a scale above 65504"), std::string::npos);
  EXPECT_EQ(message(shape, {.scale_type = ScaleType::fp32}), "no error");
  weights[6] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(message(shape, {}).find("weight 6 of 8 is nan"), std::string::npos);
  weights[6] = -std::numeric_limits<float>::infinity();
  EXPECT_NE(message(shape, {.symmetric = false}).find("weight 6 of 8 is -inf"), std::string::npos);
}

}  // namespace
}  // namespace pomona::compress
