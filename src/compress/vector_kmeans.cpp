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

// k-means++: points are drawn by how far they are from the centroids so far; of a few draws the best one is taken.
class Seeding {
 public:
  Seeding(std::span<const float> points, std::span<const float> weights, const VectorKmeansOptions& options,
          Random& random)
      : points_(points),
        weights_(weights),
        dimension_(options.dimension),
        count_(points.size() / options.dimension),
        random_(random),
        distance_(count_, std::numeric_limits<double>::infinity()) {}

  std::vector<float> run(std::size_t clusters) {
    const int trials = 2 + int(std::log(double(clusters)));
    std::vector<float> centroids;
    take(std::size_t(random_.uniform() * double(count_)), centroids);
    while (centroids.size() < clusters * dimension_) {
      double total = 0;
      for (std::size_t i = 0; i < count_; ++i) total += distance_[i] * weight(i);
      if (total <= 0) break;  // every point is a centroid
      std::size_t best = 0;
      double least = std::numeric_limits<double>::infinity();
      for (int t = 0; t < trials; ++t) {
        std::size_t candidate = draw(random_.uniform() * total);
        double left = 0;
        for (std::size_t i = 0; i < count_; ++i) left += std::min(distance_[i], to(candidate, i)) * weight(i);
        if (left < least) least = left, best = candidate;
      }
      take(best, centroids);
    }
    while (centroids.size() < clusters * dimension_)
      for (std::size_t d = 0; d < dimension_; ++d) centroids.push_back(centroids[d]);
    return centroids;
  }

 private:
  double weight(std::size_t i) const { return weights_.empty() ? 1.0 : double(weights_[i]); }
  double to(std::size_t a, std::size_t b) const {
    return squared_distance(points_.data() + a * dimension_, points_.data() + b * dimension_, dimension_);
  }
  std::size_t draw(double target) const {
    double sum = 0;
    for (std::size_t i = 0; i < count_; ++i)
      if ((sum += distance_[i] * weight(i)) > target) return i;
    return count_ - 1;
  }
  void take(std::size_t chosen, std::vector<float>& centroids) {
    const float* point = points_.data() + chosen * dimension_;
    centroids.insert(centroids.end(), point, point + dimension_);
    for (std::size_t i = 0; i < count_; ++i) distance_[i] = std::min(distance_[i], to(chosen, i));
  }

  std::span<const float> points_, weights_;
  std::size_t dimension_, count_;
  Random& random_;
  std::vector<double> distance_;
};

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

// Where Lloyd's iterations stop, single points may still change clusters with profit (J. Hartigan, 1975).
class SinglePoints {
 public:
  SinglePoints(const Columns& points, std::span<const float> weights, std::vector<float>& centroids)
      : points_(points),
        weights_(weights),
        centroids_(centroids),
        dimension_(points.dimension),
        nearest_(assign(points, centroids)),
        mass_(centroids.size() / points.dimension),
        means_(centroids.size()) {
    for (std::size_t i = 0; i < points.count; ++i) {
      mass_[nearest_[i]] += weight(i);
      for (std::size_t d = 0; d < dimension_; ++d) means_[nearest_[i] * dimension_ + d] += weight(i) * at(i, d);
    }
    for (std::size_t k = 0; k < mass_.size(); ++k)
      for (std::size_t d = 0; d < dimension_; ++d)
        means_[k * dimension_ + d] =
            mass_[k] > 0 ? means_[k * dimension_ + d] / mass_[k] : double(centroids[k * dimension_ + d]);
  }

  void run(int rounds) {
    for (int round = 0; round < rounds; ++round) {
      bool moved = false;
      for (std::size_t i = 0; i < points_.count; ++i) moved = try_move(i) || moved;
      if (!moved) break;
    }
    for (std::size_t k = 0; k < centroids_.size(); ++k) centroids_[k] = float(means_[k]);
  }

 private:
  double weight(std::size_t i) const { return weights_.empty() ? 1.0 : double(weights_[i]); }
  double at(std::size_t i, std::size_t d) const { return double(points_.values[d * points_.stride + i]); }
  double distance(std::size_t i, std::size_t k) const {
    double sum = 0;
    for (std::size_t d = 0; d < dimension_; ++d) {
      double off = at(i, d) - means_[k * dimension_ + d];
      sum += off * off;
    }
    return sum;
  }
  void shift(std::size_t i, std::size_t k, double by) {
    mass_[k] += by;
    for (std::size_t d = 0; d < dimension_; ++d) {
      double& mean = means_[k * dimension_ + d];
      mean += (at(i, d) - mean) * by / mass_[k];
    }
  }
  bool try_move(std::size_t i) {
    std::size_t from = nearest_[i], best = from;
    double w = weight(i);
    if (w <= 0 || mass_[from] - w <= 1e-9 * w) return false;
    double least = distance(i, from) * mass_[from] / (mass_[from] - w) * (1 - 1e-9);
    for (std::size_t k = 0; k < mass_.size(); ++k) {
      if (k == from) continue;
      double cost = distance(i, k) * mass_[k] / (mass_[k] + w);
      if (cost < least) least = cost, best = k;
    }
    if (best == from) return false;
    shift(i, from, -w);
    shift(i, best, w);
    nearest_[i] = std::uint8_t(best);
    return true;
  }

  const Columns& points_;
  std::span<const float> weights_;
  std::vector<float>& centroids_;
  std::size_t dimension_;
  std::vector<std::uint8_t> nearest_;
  std::vector<double> mass_, means_;
};

// Beyond so many distances per round single points are left alone.
constexpr std::size_t single_point_work = 1 << 20;

double refine(const Columns& points, std::span<const float> weights, std::vector<float>& centroids, int rounds) {
  double error = lloyd(points, weights, centroids, rounds);
  if (points.count * (centroids.size() / points.dimension) > single_point_work) return error;
  SinglePoints(points, weights, centroids).run(20);
  return lloyd(points, weights, centroids, 2);
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
    std::vector<float> centroids = Seeding(sample, sample_weights, options, random).run(options.clusters);
    double error = refine(sampled, sample_weights, centroids, sample_rounds);
    if (error < least || best.empty()) least = error, best = std::move(centroids);
  }
  Columns all(points, dimension);
  if (step > 1) lloyd(all, weights, best, full_rounds);
  return {best, assign(all, best)};
}

std::vector<std::uint8_t> nearest_vectors(std::span<const float> points, std::span<const float> centroids,
                                          std::size_t dimension) {
  return assign(Columns(points, dimension), centroids);
}

}  // namespace pomona::compress
#endif
