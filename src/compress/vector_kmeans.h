// k-means of short vectors: tables whose entries stand for 2, 4 or 8 weights at once.
//
//   auto fitted = vector_kmeans(points, {.dimension = 2, .clusters = 16});
//   fitted.centroids[k * 2 + d]; fitted.nearest[i]
//
// Starts from several seedings by k-means++ (D. Arthur, S. Vassilvitskii, 2007), each improved on a sample, and takes
// the best through Lloyd's iterations over all points until nothing moves much. Not the optimum (there is no fast way
// to it, unlike for single values), but the same on every run and for any number of threads.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pomona::compress {

struct VectorKmeansOptions {
  std::size_t dimension = 2, clusters = 16;  // at most 256 clusters
  int seedings = 4;
};
struct VectorTable {
  std::vector<float> centroids;       // clusters x dimension; entries without points repeat the first one
  std::vector<std::uint8_t> nearest;  // per point
};

// `points`: one after the other, at least one. `weights`: empty, or one number >= 0 per point.
VectorTable vector_kmeans(std::span<const float> points, std::span<const float> weights,
                          const VectorKmeansOptions& options);

// The nearest centroid of each point.
std::vector<std::uint8_t> nearest_vectors(std::span<const float> points, std::span<const float> centroids,
                                          std::size_t dimension);

}  // namespace pomona::compress
