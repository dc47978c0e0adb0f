// Histograms of weights against std::map, and the way back from weights to table indices.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "base/bits.h"
#include "base/half.h"
#include "compress/distinct_values.h"
#include "compress/exact_kmeans.h"

namespace pomona::compress {
namespace {

std::vector<std::uint16_t> random_halves(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint16_t> halves(count);
  for (std::uint16_t& half : halves) {
    do {
      half = static_cast<std::uint16_t>(random() & (seed % 2 ? 0xFFFFu : 0x83FFu));
    } while ((half & 0x7C00) == 0x7C00);
  }
  return halves;
}

void expect_equal(const DistinctValues& got, const std::map<float, double>& expected) {
  ASSERT_EQ(got.values.size(), expected.size());
  ASSERT_EQ(got.weights.size(), expected.size());
  std::size_t i = 0;
  for (const auto& [value, weight] : expected) {
    ASSERT_EQ(got.values[i], value);
    ASSERT_FALSE(std::signbit(got.values[i]) && got.values[i] == 0);
    ASSERT_NEAR(got.weights[i], weight, 1e-9 * weight);
    ++i;
  }
}

TEST(DistinctValues, HalvesAndFloatsMatchAMapAndLeaveTheBinsEmpty) {
  HalfBins bins;
  for (unsigned seed = 1; seed <= 12; ++seed) {
    const auto halves = random_halves(seed * 997, seed);
    std::vector<float> floats(halves.size());
    halves_to_floats(halves, floats.data());
    std::vector<float> importance(halves.size());
    std::mt19937 random(seed);
    for (float& value : importance) value = std::uniform_real_distribution<float>(0, 2)(random);
    std::map<float, double> counts, sums;
    for (std::size_t i = 0; i < floats.size(); ++i) {
      const float value = floats[i] == 0 ? 0.0f : floats[i];
      counts[value] += 1;
      sums[value] += importance[i];
    }
    auto counted = distinct_halves(halves, {}, bins);
    auto summed = distinct_halves(halves, importance, bins);
    auto sorted = distinct_floats(floats, {});
    auto sorted_sums = distinct_floats(floats, importance);
    ASSERT_TRUE(counted && summed && sorted && sorted_sums);
    expect_equal(*counted, counts);
    expect_equal(*summed, sums);
    expect_equal(*sorted, counts);
    expect_equal(*sorted_sums, sums);
  }
}

TEST(DistinctValues, BothZerosAreOneValue) {
  HalfBins bins;
  for (const std::vector<std::uint16_t>& halves : {std::vector<std::uint16_t>{0x8000, 0x0000, 0x0000, 0xBC00},
                                                   std::vector<std::uint16_t>{0x8000, 0xBC00, 0x8000, 0x8000}}) {
    auto distinct = distinct_halves(halves, {}, bins);
    ASSERT_TRUE(distinct);
    EXPECT_EQ(distinct->values, (std::vector<float>{-1, 0}));
    EXPECT_EQ(distinct->weights, (std::vector<double>{1, 3}));
    std::vector<std::uint8_t> codes(halves.size());
    encode_halves(halves, *distinct, std::vector<std::uint8_t>{5, 9}, bins, codes.data());
    for (std::size_t i = 0; i < halves.size(); ++i) EXPECT_EQ(codes[i], halves[i] == 0xBC00 ? 5 : 9);
  }
}

TEST(DistinctValues, RefusesWhatItCannotUse) {
  HalfBins bins;
  const auto message = [](const Result<DistinctValues>& result) {
    return result ? std::string("no error") : describe(result.error());
  };
  const std::vector<std::uint16_t> nan{0x3C00, 0x7E00, 0x3C00}, infinity{0x3C00, 0xFC00};
  EXPECT_NE(message(distinct_halves(nan, {}, bins)).find("weight 1 of 3 is nan"), std::string::npos);
  EXPECT_NE(message(distinct_halves(infinity, {}, bins)).find("weight 1 of 2 is -inf"), std::string::npos);
  EXPECT_NE(message(distinct_halves({}, {}, bins)).find("no weights"), std::string::npos);
  const std::vector<std::uint16_t> ones{0x3C00, 0x3C00};
  EXPECT_NE(message(distinct_halves(ones, std::vector<float>{1}, bins)).find("2 weights but 1 importances"),
            std::string::npos);
  EXPECT_NE(message(distinct_halves(ones, std::vector<float>{1, -1}, bins)).find("importance of weight 1 is -1"),
            std::string::npos);
  EXPECT_NE(message(distinct_floats(std::vector<float>{1, std::numeric_limits<float>::infinity()}, {}))
                .find("weight 1 of 2 is inf"),
            std::string::npos);
  auto after = distinct_halves(ones, {}, bins);  // the refusals left nothing behind
  ASSERT_TRUE(after);
  EXPECT_EQ(after->weights, std::vector<double>{2});
}

TEST(TableCodes, EveryWeightGetsTheNearestCentroid) {
  HalfBins bins;
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 0.02f);
  for (const std::size_t clusters : {2u, 3u, 16u, 64u, 256u}) {
    std::vector<float> floats(5000);
    for (float& value : floats) value = normal(random);
    std::vector<std::uint16_t> halves(floats.size());
    floats_to_halves(floats, halves.data());
    halves_to_floats(halves, floats.data());
    auto distinct = distinct_halves(halves, {}, bins);
    ASSERT_TRUE(distinct);
    auto table = exact_kmeans(distinct->values, distinct->weights, {.clusters = clusters});
    ASSERT_TRUE(table);
    std::vector<float> stored;
    for (const double centroid : table->centroids) stored.push_back(half_to_float(double_to_half(centroid)));
    std::vector<std::uint8_t> codes(halves.size()), float_codes(halves.size());
    encode_halves(halves, *distinct, nearest_entries(distinct->values, stored), bins, codes.data());
    encode_floats(floats, stored, float_codes.data());
    double error = 0;
    for (std::size_t i = 0; i < floats.size(); ++i) {
      float nearest = std::numeric_limits<float>::infinity();
      for (const float centroid : stored) nearest = std::min(nearest, std::fabs(floats[i] - centroid));
      ASSERT_EQ(std::fabs(floats[i] - stored[codes[i]]), nearest);
      ASSERT_EQ(std::fabs(floats[i] - stored[float_codes[i]]), nearest);
      error += static_cast<double>(nearest) * nearest;
    }
    EXPECT_GE(error, table->squared_error * (1 - 1e-9));
    EXPECT_LE(error, table->squared_error * 1.02 + 1e-7);  // the centroids were rounded to fp16
  }
}

TEST(TableCodes, PackedCodesAreAnUnbrokenLittleEndianBitStream) {
  HalfBins bins;
  struct Vector {
    unsigned width;
    std::vector<std::uint8_t> values, bytes;
  };
  // The bytes Core ML's own blob writer produces for these values.
  const Vector vectors[] = {
      {1, {1, 0, 1, 1, 0, 0, 0, 0, 1}, {0x0D, 0x01}},
      {2, {0, 1, 2, 3, 3}, {0xE4, 0x03}},
      {3, {1, 2, 3, 4, 5, 6, 7, 0, 1}, {0xD1, 0x58, 0x1F, 0x01}},
      {4, {1, 2, 15}, {0x21, 0x0F}},
      {6, {1, 2, 63, 33, 5}, {0x81, 0xF0, 0x87, 0x05}},
      {4, {15, 8, 7}, {0x8F, 0x07}},
      {8, {200, 1, 255}, {200, 1, 255}},
  };
  DistinctValues distinct;
  std::vector<std::uint8_t> entries(256);
  for (unsigned k = 0; k < 256; ++k) {
    distinct.halves.push_back(static_cast<std::uint16_t>(k));  // the half with bits k stands for code k
    entries[k] = static_cast<std::uint8_t>(k);
  }
  for (const Vector& vector : vectors) {
    std::vector<std::uint16_t> halves(vector.values.begin(), vector.values.end());
    std::vector<std::uint8_t> packed(packed_size_bytes(halves.size(), vector.width));
    encode_halves_packed(halves, distinct, entries, vector.width, bins, packed.data());
    EXPECT_EQ(packed, vector.bytes) << vector.width << " bits";
  }
  std::mt19937 random(6);
  for (const unsigned width : {1u, 2u, 3u, 4u, 6u, 8u}) {
    for (const std::size_t count : {1u, 7u, 8u, 15u, 16u, 1001u}) {
      std::vector<std::uint8_t> codes(count);
      for (std::uint8_t& code : codes) code = static_cast<std::uint8_t>(random() & ((1u << width) - 1));
      const std::vector<std::uint16_t> halves(codes.begin(), codes.end());
      std::vector<std::uint8_t> packed(packed_size_bytes(count, width));
      encode_halves_packed(halves, distinct, entries, width, bins, packed.data());
      for (std::size_t bit = 0; bit < count * width; ++bit) {
        ASSERT_EQ(packed[bit / 8] >> (bit % 8) & 1, codes[bit / width] >> (bit % width) & 1)
            << width << " bits, " << count;
      }
      EXPECT_EQ(packed, pack_bits(codes, width));
    }
  }
}

TEST(DistinctValues, ManyWeightsTakeTheOtherWayOfCounting) {
  HalfBins bins;
  const auto halves = random_halves(300000, 3);
  std::map<float, double> counts;
  for (const std::uint16_t half : halves) counts[half_to_float(half) + 0.0f] += 1;
  for (int again = 0; again < 2; ++again) {
    auto counted = distinct_halves(halves, {}, bins);
    ASSERT_TRUE(counted);
    expect_equal(*counted, counts);
  }
}

}  // namespace
}  // namespace pomona::compress
