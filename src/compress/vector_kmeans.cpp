#include "compress/vector_kmeans.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compress/vector_kmeans.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pomona::compress::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Points are read in lanes: coordinate d of point i is columns[d * stride + i]. `half_squares` holds |c|^2 / 2, so that
// the nearest centroid is the one with the least |c|^2 / 2 - x c.
void assign_lanes(const float* columns, std::size_t stride, std::size_t begin, std::size_t end, const float* centroids,
                  const float* half_squares, std::size_t dimension, std::size_t clusters, std::uint8_t* nearest) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<std::uint8_t, decltype(d)> bytes;
  for (std::size_t i = begin; i < end; i += hn::Lanes(d)) {
    auto least = hn::Set(d, std::numeric_limits<float>::infinity());
    auto which = hn::Zero(di);
    for (std::size_t k = 0; k < clusters; ++k) {
      auto distance = hn::Set(d, half_squares[k]);
      for (std::size_t c = 0; c < dimension; ++c)
        distance =
            hn::NegMulAdd(hn::LoadU(d, columns + c * stride + i), hn::Set(d, centroids[k * dimension + c]), distance);
      const auto closer = hn::Lt(distance, least);
      least = hn::Min(distance, least);
      which = hn::IfThenElse(hn::RebindMask(di, closer), hn::Set(di, int(k)), which);
    }
    hn::StoreU(hn::DemoteTo(bytes, which), bytes, nearest + i);
  }
}

}  // namespace pomona::compress::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pomona::compress {
namespace {

HWY_EXPORT(assign_lanes);

constexpr std::size_t padding = 64;  // lanes of the widest vectors
constexpr std::size_t piece_points = 1 << 14;
constexpr int sample_rounds = 12, full_rounds = 60;
constexpr double converged = 1e-5;  // of the error, per round

// Points as columns, each padded.
struct Columns {
  std::size_t dimension, count, stride;
  std::vector<float> values;

  Columns(std::span<const float> points, std::size_t size)
      : dimension(size), count(points.size() / size), stride((count + padding - 1) / padding * padding) {
    values.resize(stride * dimension);
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t d = 0; d < dimension; ++d) values[d * stride + i] = points[i * dimension + d];
  }
};

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  double uniform() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return double((z ^ z >> 31) >> 11) * 0x1p-53;
  }

 private:
  std::uint64_t state_;
};

std::vector<std::uint8_t> assign(const Columns& points, std::span<const float> centroids) {
  std::size_t clusters = centroids.size() / points.dimension;
  std::vector<float> half_squares(clusters);
  for (std::size_t k = 0; k < clusters; ++k)
    for (std::size_t d = 0; d < points.dimension; ++d) {
      float c = centroids[k * points.dimension + d];
      half_squares[k] += c * c / 2;
    }
  std::vector<std::uint8_t> nearest(points.stride);
  parallel_for((points.stride + piece_points - 1) / piece_points, 1, [&](std::size_t begin, std::size_t end) {
    HWY_DYNAMIC_DISPATCH(assign_lanes)
    (points.values.data(), points.stride, begin * piece_points, std::min(points.stride, end * piece_points),
     centroids.data(), half_squares.data(), points.dimension, clusters, nearest.data());
  });
  nearest.resize(points.count);
  return nearest;
}

double squared_distance(const float* a, const float* b, std::size_t dimension) {
  double sum = 0;
  for (std::size_t d = 0; d < dimension; ++d) sum += double(a[d] - b[d]) * double(a[d] - b[d]);
  return sum;
}

// k-means++, the best of a few draws for each centroid.
std::vector<float> seeding(std::span<const float> points, std::span<const float> weights,
                           const VectorKmeansOptions& options, Random& random) {
  std::size_t dimension = options.dimension, count = points.size() / dimension;
  auto weight = [&](std::size_t i) { return weights.empty() ? 1.0 : double(weights[i]); };
  std::vector<float> centroids;
  std::vector<double> distance(count, std::numeric_limits<double>::infinity());
  auto add = [&](std::size_t chosen) {
    const float* point = points.data() + chosen * dimension;
    centroids.insert(centroids.end(), point, point + dimension);
    for (std::size_t i = 0; i < count; ++i)
      distance[i] = std::min(distance[i], squared_distance(points.data() + i * dimension, point, dimension));
  };
  add(std::size_t(random.uniform() * double(count)));
  while (centroids.size() < options.clusters * dimension) {
    double total = 0;
    for (std::size_t i = 0; i < count; ++i) total += distance[i] * weight(i);
    if (total <= 0) break;  // every point is a centroid
    double target = random.uniform() * total, sum = 0;
    std::size_t chosen = count - 1;
    for (std::size_t i = 0; i < count && sum <= target; ++i) {
      sum += distance[i] * weight(i);
      if (sum > target) chosen = i;
    }
    add(chosen);
  }
  while (centroids.size() < options.clusters * dimension)
    for (std::size_t d = 0; d < dimension; ++d) centroids.push_back(centroids[d]);
  return centroids;
}

// Moves the centroids to the means of their points; returns the error before.
double improve(const Columns& points, std::span<const float> weights, std::span<const std::uint8_t> nearest,
               std::vector<float>& centroids) {
  std::size_t dimension = points.dimension, clusters = centroids.size() / dimension;
  std::vector<double> sums(centroids.size()), mass(clusters);
  double error = 0;
  for (std::size_t i = 0; i < points.count; ++i) {
    std::size_t k = nearest[i];
    double weight = weights.empty() ? 1.0 : double(weights[i]);
    mass[k] += weight;
    for (std::size_t d = 0; d < dimension; ++d) {
      double x = double(points.values[d * points.stride + i]), off = x - double(centroids[k * dimension + d]);
      sums[k * dimension + d] += weight * x;
      error += weight * off * off;
    }
  }
  for (std::size_t k = 0; k < clusters; ++k)
    if (mass[k] > 0)
      for (std::size_t d = 0; d < dimension; ++d)
        centroids[k * dimension + d] = float(sums[k * dimension + d] / mass[k]);
  return error;
}

double lloyd(const Columns& points, std::span<const float> weights, std::vector<float>& centroids, int rounds) {
  double error = std::numeric_limits<double>::infinity();
  for (int round = 0; round < rounds; ++round) {
    double now = improve(points, weights, assign(points, centroids), centroids);
    bool settled = error - now <= converged * now;
    error = now;
    if (settled) break;
  }
  return error;
}

}  // namespace

VectorTable vector_kmeans(std::span<const float> points, std::span<const float> weights,
                          const VectorKmeansOptions& options) {
  std::size_t dimension = options.dimension, count = points.size() / dimension;
  std::size_t wanted = std::max<std::size_t>(8192, options.clusters * 64);
  std::size_t step = std::max<std::size_t>(1, count / wanted);
  std::vector<float> sample, sample_weights;
  for (std::size_t i = 0; i < count; i += step) {
    sample.insert(sample.end(), points.begin() + std::ptrdiff_t(i * dimension),
                  points.begin() + std::ptrdiff_t((i + 1) * dimension));
    if (!weights.empty()) sample_weights.push_back(weights[i]);
  }
  Columns sampled(sample, dimension);
  std::vector<float> best;
  double least = std::numeric_limits<double>::infinity();
  for (int s = 0; s < options.seedings; ++s) {
    Random random(std::uint64_t(s) + 1);
    std::vector<float> centroids = seeding(sample, sample_weights, options, random);
    double error = lloyd(sampled, sample_weights, centroids, sample_rounds);
    if (error < least || best.empty()) least = error, best = std::move(centroids);
  }
  Columns all(points, dimension);
  lloyd(all, weights, best, full_rounds);
  return {best, assign(all, best)};
}

std::vector<std::uint8_t> nearest_vectors(std::span<const float> points, std::span<const float> centroids,
                                          std::size_t dimension) {
  return assign(Columns(points, dimension), centroids);
}

}  // namespace pomona::compress
#endif
