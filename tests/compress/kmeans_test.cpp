// Exact k-means against a quadratic dynamic programme that evaluates every cluster, on many small random problems.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "compress/exact_kmeans.h"

namespace pomona::compress {
namespace {

struct Problem {
  std::vector<float> values;
  std::vector<double> weights;
};

// The error of values begin..end-1 around their mean, term by term in extended precision.
long double cluster_error(const Problem& problem, std::size_t begin, std::size_t end) {
  long double weight = 0, moment = 0, error = 0;
  for (std::size_t i = begin; i < end; ++i) {
    weight += problem.weights[i];
    moment += static_cast<long double>(problem.weights[i]) * problem.values[i];
  }
  if (weight == 0) return 0;
  for (std::size_t i = begin; i < end; ++i) {
    const long double distance = problem.values[i] - moment / weight;
    error += problem.weights[i] * distance * distance;
  }
  return error;
}

// The least error for at most `clusters` clusters: O(K n^2) over a table of all cluster errors.
double brute_force(const Problem& problem, std::size_t clusters) {
  const std::size_t count = problem.values.size();
  std::vector<std::vector<long double>> error(count, std::vector<long double>(count + 1));
  for (std::size_t begin = 0; begin < count; ++begin) {
    long double weight = 0, mean = 0, total = 0;
    for (std::size_t end = begin + 1; end <= count; ++end) {  // Welford's update
      const long double w = problem.weights[end - 1];
      const long double distance = problem.values[end - 1] - mean;
      weight += w;
      if (weight > 0) mean += w / weight * distance;
      total += w * distance * (problem.values[end - 1] - mean);
      error[begin][end] = total;
    }
  }
  std::vector<long double> before(error[0]);
  for (std::size_t k = 2; k <= clusters; ++k) {
    std::vector<long double> after(before);
    for (std::size_t end = 1; end <= count; ++end) {
      for (std::size_t begin = 1; begin < end; ++begin)
        after[end] = std::min(after[end], before[begin] + error[begin][end]);
    }
    before = after;
  }
  return static_cast<double>(before[count]);
}

enum class Shape { normal, heavy_tailed, integers, half_grid, clustered };

float draw(Shape shape, std::mt19937& random) {
  std::normal_distribution<float> normal;
  switch (shape) {
    case Shape::normal:
      return normal(random) * 0.02f;
    case Shape::heavy_tailed:
      return std::student_t_distribution<float>(2)(random);
    case Shape::integers:
      return static_cast<float>(std::uniform_int_distribution<int>(-300, 300)(random));
    case Shape::half_grid:
      return std::ldexp(std::nearbyint(normal(random) * 64), -12);
    case Shape::clustered:
      return static_cast<float>(std::uniform_int_distribution<int>(0, 5)(random)) * 10 + normal(random) * 0.1f;
  }
  return 0;
}

Problem random_problem(Shape shape, std::size_t draws, bool weighted, std::mt19937& random) {
  std::vector<float> all(draws);
  for (float& value : all) value = draw(shape, random);
  std::sort(all.begin(), all.end());
  Problem problem;
  for (const float value : all) {
    if (problem.values.empty() || problem.values.back() < value) {
      problem.values.push_back(value == 0 ? 0.0f : value);
      problem.weights.push_back(0);
    }
    problem.weights.back() += weighted ? std::exponential_distribution<double>(1)(random) : 1.0;
  }
  return problem;
}

double spread(const Problem& problem) { return static_cast<double>(cluster_error(problem, 0, problem.values.size())); }

// The table's own account must add up: ends ascending, error as its clusters say, centroids their means.
void expect_consistent(const Problem& problem, const KmeansTable& table) {
  ASSERT_EQ(table.first.size(), table.centroids.size());
  ASSERT_EQ(table.first[0], 0u);
  long double error = 0;
  for (std::size_t c = 0; c < table.first.size(); ++c) {
    const std::size_t end = c + 1 < table.first.size() ? table.first[c + 1] : problem.values.size();
    ASSERT_LT(table.first[c], end);
    error += cluster_error(problem, table.first[c], end);
    if (c > 0) {
      EXPECT_LT(table.centroids[c - 1], table.centroids[c]);
    }
  }
  EXPECT_NEAR(table.squared_error, static_cast<double>(error), 1e-12 * (spread(problem) + 1e-300));
}

TEST(ExactKmeans, MatchesBruteForceOnRandomProblems) {
  std::mt19937 random(1);
  int cases = 0;
  for (const Shape shape : {Shape::normal, Shape::heavy_tailed, Shape::integers, Shape::half_grid, Shape::clustered}) {
    for (int round = 0; round < 60; ++round) {
      const std::size_t draws = std::uniform_int_distribution<std::size_t>(2, 260)(random);
      const std::size_t clusters = std::uniform_int_distribution<std::size_t>(1, round % 3 == 0 ? 100 : 20)(random);
      const Problem problem = random_problem(shape, draws, round % 2 == 1, random);
      const double best = brute_force(problem, clusters);
      for (const KmeansMethod method : {KmeansMethod::layered, KmeansMethod::priced}) {
        SCOPED_TRACE(testing::Message() << "shape " << static_cast<int>(shape) << " round " << round << " distinct "
                                        << problem.values.size() << " clusters " << clusters << " method "
                                        << static_cast<int>(method));
        auto table = exact_kmeans(problem.values, problem.weights, {.clusters = clusters, .method = method});
        ASSERT_TRUE(table) << describe(table.error());
        ASSERT_EQ(table->centroids.size(), std::min(clusters, problem.values.size()));
        EXPECT_NEAR(table->squared_error, best, 1e-12 * best + 1e-15 * spread(problem));
        expect_consistent(problem, *table);
        ++cases;
      }
    }
  }
  EXPECT_EQ(cases, 600);
}

TEST(ExactKmeans, BothMethodsAgreeOnLargerProblems) {
  std::mt19937 random(2);
  for (const Shape shape : {Shape::normal, Shape::heavy_tailed, Shape::half_grid}) {
    for (const std::size_t clusters : {2u, 3u, 16u, 64u, 256u}) {
      const Problem problem = random_problem(shape, 6000, false, random);
      auto layered =
          exact_kmeans(problem.values, problem.weights, {.clusters = clusters, .method = KmeansMethod::layered});
      auto priced =
          exact_kmeans(problem.values, problem.weights, {.clusters = clusters, .method = KmeansMethod::priced});
      ASSERT_TRUE(layered && priced);
      EXPECT_EQ(layered->centroids.size(), priced->centroids.size());
      EXPECT_NEAR(layered->squared_error, priced->squared_error,
                  1e-12 * layered->squared_error + 1e-15 * spread(problem));
    }
  }
}

// Equally spaced equal weights: every optimal table has clusters of two neighbouring sizes, and all prices tie.
TEST(ExactKmeans, SplicesTiesOnAnEvenGrid) {
  Problem problem;
  for (int i = 0; i < 120; ++i) {
    problem.values.push_back(static_cast<float>(i));
    problem.weights.push_back(1);
  }
  for (std::size_t clusters = 1; clusters <= 120; ++clusters) {
    const double size = std::floor(120.0 / static_cast<double>(clusters));
    const double larger = 120 - size * static_cast<double>(clusters);  // clusters of size + 1
    const auto error = [](double n) { return n * (n * n - 1) / 12; };
    const double expected = larger * error(size + 1) + (static_cast<double>(clusters) - larger) * error(size);
    for (const KmeansMethod method : {KmeansMethod::layered, KmeansMethod::priced, KmeansMethod::automatic}) {
      auto table = exact_kmeans(problem.values, problem.weights, {.clusters = clusters, .method = method});
      ASSERT_TRUE(table);
      EXPECT_EQ(table->centroids.size(), clusters);
      EXPECT_NEAR(table->squared_error, expected, 1e-9) << clusters << " clusters, method " << static_cast<int>(method);
    }
  }
}

TEST(ExactKmeans, KnownTables) {
  const std::vector<float> values{1, 2, 10, 11, 50};
  auto table = exact_kmeans(values, std::vector<double>(5, 1.0), {.clusters = 3});
  ASSERT_TRUE(table);
  EXPECT_EQ(table->centroids, (std::vector<double>{1.5, 10.5, 50}));
  EXPECT_EQ(table->first, (std::vector<std::uint32_t>{0, 2, 4}));
  EXPECT_DOUBLE_EQ(table->squared_error, 1.0);

  auto weighted = exact_kmeans(values, std::vector<double>{3, 1, 1, 1, 1}, {.clusters = 2});
  ASSERT_TRUE(weighted);
  EXPECT_EQ(weighted->first, (std::vector<std::uint32_t>{0, 4}));
  EXPECT_DOUBLE_EQ(weighted->centroids[0], (3 + 2 + 10 + 11) / 6.0);

  auto one = exact_kmeans(values, std::vector<double>(5, 1.0), {.clusters = 1});
  ASSERT_TRUE(one);
  EXPECT_DOUBLE_EQ(one->centroids[0], 14.8);
}

TEST(ExactKmeans, AsManyClustersAsValuesIsLossless) {
  const std::vector<float> values{-3, -1, 0, 2.5f};
  for (const std::size_t clusters : {4u, 5u, 16u}) {
    auto table = exact_kmeans(values, std::vector<double>{1, 2, 3, 4}, {.clusters = clusters});
    ASSERT_TRUE(table);
    EXPECT_EQ(table->centroids, (std::vector<double>{-3, -1, 0, 2.5}));
    EXPECT_EQ(table->squared_error, 0);
  }
}

TEST(ExactKmeans, WeightlessValuesJoinTheNearestCluster) {
  const std::vector<float> values{0, 1, 4, 6, 9, 10, 12};
  const std::vector<double> weights{0, 1, 0, 0, 0, 1, 0};
  for (const KmeansMethod method : {KmeansMethod::layered, KmeansMethod::priced}) {
    auto table = exact_kmeans(values, weights, {.clusters = 2, .method = method});
    ASSERT_TRUE(table);
    EXPECT_EQ(table->centroids, (std::vector<double>{1, 10}));
    EXPECT_EQ(table->first, (std::vector<std::uint32_t>{0, 3}));
  }
  auto single = exact_kmeans(values, weights, {.clusters = 1});
  ASSERT_TRUE(single);
  EXPECT_DOUBLE_EQ(single->centroids[0], 5.5);
}

TEST(ExactKmeans, WeightsOfVeryDifferentSize) {
  std::mt19937 random(3);
  for (int round = 0; round < 40; ++round) {
    Problem problem = random_problem(Shape::normal, 120, false, random);
    for (double& weight : problem.weights)
      weight = std::pow(10.0, std::uniform_real_distribution<double>(-12, 3)(random));
    const double best = brute_force(problem, 8);
    for (const KmeansMethod method : {KmeansMethod::layered, KmeansMethod::priced}) {
      auto table = exact_kmeans(problem.values, problem.weights, {.clusters = 8, .method = method});
      ASSERT_TRUE(table);
      EXPECT_NEAR(table->squared_error, best, 1e-12 * best + 1e-15 * spread(problem));
    }
  }
}

TEST(ExactKmeans, HugeValues) {
  const std::vector<float> values{-3e38f, -2.9e38f, 1.0f, 2.0f, 3e38f};
  auto table = exact_kmeans(values, std::vector<double>(5, 1.0), {.clusters = 3});
  ASSERT_TRUE(table);
  EXPECT_EQ(table->first, (std::vector<std::uint32_t>{0, 2, 4}));
}

TEST(ExactKmeans, RefusesWhatItCannotUse) {
  const std::vector<double> ones(3, 1.0);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const auto message = [](const Result<KmeansTable>& result) {
    return result ? std::string("no error") : describe(result.error());
  };
  const auto solve = [](std::vector<float> values, std::vector<double> weights, KmeansOptions options = {}) {
    return exact_kmeans(values, weights, options);
  };
  EXPECT_NE(message(solve({0, 1, nan}, ones)).find("value 2 of 3 is nan"), std::string::npos);
  EXPECT_NE(message(solve({0, 1, infinity}, ones)).find("is inf"), std::string::npos);
  EXPECT_NE(message(solve({0, 2, 1}, ones)).find("not strictly ascending"), std::string::npos);
  EXPECT_NE(message(solve({0, 1, 1}, ones)).find("not strictly ascending"), std::string::npos);
  EXPECT_NE(message(solve({0, 1, 2}, {1, -1, 1})).find("weights lie in"), std::string::npos);
  EXPECT_NE(message(solve({0, 1, 2}, {1, std::nan(""), 1})).find("weights lie in"), std::string::npos);
  EXPECT_NE(message(solve({0, 1, 2}, {0, 0, 0})).find("all 3 weights are 0"), std::string::npos);
  EXPECT_NE(message(solve({0, 1}, ones)).find("2 values but 3 weights"), std::string::npos);
  EXPECT_NE(message(solve({}, {})).find("no values"), std::string::npos);
  EXPECT_NE(message(solve({0, 1, 2}, ones, {.clusters = 0})).find("at least one entry"), std::string::npos);
}

}  // namespace
}  // namespace pomona::compress
