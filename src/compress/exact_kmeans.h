// Exact one-dimensional k-means: the best possible table of K values for a list of weighted values, not a local
// optimum.
//
// In one dimension the clusters of an optimal table are intervals of the sorted values, so the optimum can be computed:
// by a dynamic programme over (clusters, values), or by giving every cluster a price and searching the price at which K
// clusters pay off (A. Wu, "Optimal quantization by matrix searching", J. Algorithms 1991; Aggarwal, Schieber,
// Tokuyama, "Finding a minimum-weight k-link path in graphs with the concave Monge property", 1994). Both give the same
// squared error up to rounding.
//
//   auto table = exact_kmeans(values, weights, {.clusters = 16});     // values strictly ascending, weights e.g. counts
//   table->centroids[c]                                               // ascending
//   table->first[c]                                                   // index of the first value of cluster c
//
// The result does not depend on the number of threads (there are none inside: callers run groups and tensors in
// parallel) and depends on the instruction set only where two tables are equally good up to rounding.
//
// What it does not do: cluster vectors, round the centroids to their stored type, or build the list of distinct values
// (distinct_values.h does).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"

namespace pomona::compress {

enum class KmeansMethod : unsigned char {
  automatic,  // whichever is faster for this size
  layered,    // dynamic programme: O(K n log n) time, 2 bytes per distinct value and cluster; up to 65,535 distinct
              // values
  priced,     // search for the price of a cluster: a few O(n) passes whatever K, O(n) memory
};

struct KmeansOptions {
  std::size_t clusters = 16;
  KmeansMethod method = KmeansMethod::automatic;
};

struct KmeansTable {
  std::vector<double> centroids;     // ascending; min(clusters, number of values with weight) of them
  std::vector<std::uint32_t> first;  // first[c] .. first[c + 1] - 1 (or the last value) are the values of cluster c
  double squared_error = 0;          // sum of weight * (value - centroid)^2
};

// The table of at most options.clusters centroids with the least weighted squared error.
//
// values: strictly ascending, finite, magnitude at most 1e100. weights: as many, finite, not negative, at most 1e100,
// at least one above 0; values of weight 0 join the nearest cluster. With no more values than clusters the table is the
// values (error 0). Accuracy: the error is within about 1e-15 * sum of weight * (value - mean)^2 of the optimum.
// Errors: an empty list, 0 clusters, values out of order or not finite, weights not finite or negative, sizes that
// differ.
Result<KmeansTable> exact_kmeans(std::span<const float> values, std::span<const double> weights,
                                 const KmeansOptions& options);

}  // namespace pomona::compress
