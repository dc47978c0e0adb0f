#include "compress/exact_kmeans.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "compress/exact_kmeans_kernels.h"
#include "compress/exact_kmeans_price.h"

namespace pomona::compress {
namespace {

constexpr double largest_magnitude = 1e100;
constexpr std::size_t most_layered_values = 65535;

Status check_input(std::span<const float> values, std::span<const double> weights, std::size_t clusters) {
  POM_REQUIRE(clusters > 0, "a table needs at least one entry, 0 were asked for");
  POM_REQUIRE(!values.empty(), "there are no values to build a table from");
  POM_REQUIRE(values.size() == weights.size(), "{} values but {} weights", values.size(), weights.size());
  POM_REQUIRE(values.size() < std::numeric_limits<std::uint32_t>::max(),
              "{} distinct values are too many for one table", values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    POM_REQUIRE(std::isfinite(values[i]), "value {} of {} is {}; a table needs finite values", i, values.size(),
                values[i]);
    POM_REQUIRE(i == 0 || values[i - 1] < values[i],
                "the values are not strictly ascending: value {} is {}, value {} is {}", i - 1, values[i - 1], i,
                values[i]);
    POM_REQUIRE(weights[i] >= 0 && weights[i] <= largest_magnitude,
                "the weight of value {} ({}) is {}; weights lie in 0..1e100", i, values[i], weights[i]);
  }
  return {};
}

// Prefix sums over the values that have weight, centred on their mean: the sums then cancel least.
struct PrefixSums {
  std::vector<double> weight;
  std::vector<double> moment;
  std::vector<std::uint32_t> kept;  // the value each entry stands for
  Prefix view() const { return {weight.data(), moment.data(), kept.size()}; }
};

double weighted_mean(std::span<const float> values, std::span<const double> weights) {
  double weight = 0;
  double moment = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    weight += weights[i];
    moment += weights[i] * values[i];
  }
  return moment / weight;
}

PrefixSums prefix_sums(std::span<const float> values, std::span<const double> weights, double mean) {
  PrefixSums sums;
  sums.weight.resize(values.size() + 1 + prefix_padding);
  sums.moment.resize(values.size() + 1 + prefix_padding);
  sums.kept.resize(values.size());
  std::size_t count = 0;
  double weight = 0;
  double moment = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    // A weight that vanishes beside those before it cannot matter, and would make an empty cluster look possible.
    if (weight + weights[i] == weight) continue;
    weight += weights[i];
    moment += weights[i] * (static_cast<double>(values[i]) - mean);
    sums.kept[count] = static_cast<std::uint32_t>(i);
    ++count;
    sums.weight[count] = weight;
    sums.moment[count] = moment;
  }
  sums.kept.resize(count);
  for (std::size_t k = 1; k <= prefix_padding; ++k) {
    sums.weight[count + k] = weight * (1.0 + static_cast<double>(k));
    sums.moment[count + k] = moment;
  }
  return sums;
}

// The left ends of the optimal clusters by the layered dynamic programme. `clusters` is below the number of values.
std::vector<std::uint32_t> layered_left_ends(const Prefix& prefix, std::size_t clusters) {
  const std::size_t rows = prefix.count + 1;
  std::vector<double> before(rows + prefix_padding);
  std::vector<double> after(rows + prefix_padding);
  std::vector<std::uint16_t> choice(clusters * rows);  // row k - 1 for k clusters; the first stays 0
  before[0] = std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i < rows; ++i) before[i] = -prefix.moment[i] * prefix.moment[i] / prefix.weight[i];
  for (std::size_t k = 2; k < clusters; ++k) {
    const std::uint16_t* lower = choice.data() + (k - 2) * rows;
    relax_layer(prefix, before.data(), after.data(), lower, choice.data() + (k - 1) * rows, k);
    std::swap(before, after);
  }
  std::vector<std::uint32_t> ends(clusters, 0);
  if (clusters == 1) return ends;
  double least = 0;
  std::size_t end = best_left_end(prefix, before.data(), prefix.count, clusters - 1, prefix.count - 1, &least);
  for (std::size_t k = clusters - 1; k > 0; --k) {
    ends[k] = static_cast<std::uint32_t>(end);
    end = choice[(k - 1) * rows + end];
  }
  return ends;
}

bool takes_layers(const KmeansOptions& options, std::size_t count) {
  if (options.method == KmeansMethod::layered) return true;
  if (options.method == KmeansMethod::priced) return false;
  return count <= 64;
}

// The centroid of values begin..end-1, summed around the first of them so that a narrow cluster far from 0 loses
// nothing.
double centroid_of(std::span<const float> values, std::span<const double> weights, std::size_t begin, std::size_t end) {
  const double origin = values[begin];
  double weight = 0;
  double moment = 0;
  for (std::size_t i = begin; i < end; ++i) {
    weight += weights[i];
    moment += weights[i] * (static_cast<double>(values[i]) - origin);
  }
  return weight > 0 ? origin + moment / weight : origin;
}

// Fills centroids and the error for clusters that begin at table.first.
void measure(std::span<const float> values, std::span<const double> weights, KmeansTable& table) {
  table.centroids.resize(table.first.size());
  table.squared_error = 0;
  for (std::size_t c = 0; c < table.first.size(); ++c) {
    const std::size_t end = c + 1 < table.first.size() ? table.first[c + 1] : values.size();
    const double centroid = centroid_of(values, weights, table.first[c], end);
    double error = 0;
    for (std::size_t i = table.first[c]; i < end; ++i) {
      const double distance = static_cast<double>(values[i]) - centroid;
      error += weights[i] * distance * distance;
    }
    table.centroids[c] = centroid;
    table.squared_error += error;
  }
}

// Moves the weightless values between two clusters, which the solver never saw, to the nearer of the two. `solved`
// counts the clusters' left ends among the kept values.
void share_weightless(std::span<const float> values, const PrefixSums& sums, std::span<const std::uint32_t> solved,
                      KmeansTable& table) {
  for (std::size_t c = 1; c < solved.size(); ++c) {
    const double border = (table.centroids[c - 1] + table.centroids[c]) / 2;
    std::uint32_t begin = sums.kept[solved[c] - 1] + 1;
    while (begin < sums.kept[solved[c]] && static_cast<double>(values[begin]) <= border) ++begin;
    table.first[c] = begin;
  }
  table.first[0] = 0;
}

}  // namespace

Result<KmeansTable> exact_kmeans(std::span<const float> values, std::span<const double> weights,
                                 const KmeansOptions& options) {
  POM_TRY(check_input(values, weights, options.clusters));
  const PrefixSums sums = prefix_sums(values, weights, weighted_mean(values, weights));
  const Prefix prefix = sums.view();
  POM_REQUIRE(prefix.count > 0, "all {} weights are 0; a table needs a value that counts", weights.size());
  POM_REQUIRE(options.method != KmeansMethod::layered || prefix.count <= most_layered_values,
              "the layered method takes up to {} distinct values, here are {}", most_layered_values, prefix.count);
  KmeansTable table;
  if (prefix.count <= options.clusters) {
    table.first.resize(prefix.count);
    for (std::size_t i = 0; i < prefix.count; ++i) table.first[i] = static_cast<std::uint32_t>(i);
  } else if (takes_layers(options, prefix.count)) {
    table.first = layered_left_ends(prefix, options.clusters);
  } else {
    table.first = priced_left_ends(prefix, options.clusters);
  }
  const std::vector<std::uint32_t> solved = table.first;
  for (std::uint32_t& index : table.first) index = sums.kept[index];
  measure(values, weights, table);
  if (prefix.count < values.size()) {
    share_weightless(values, sums, solved, table);
    measure(values, weights, table);
  }
  return table;
}

}  // namespace pomona::compress
