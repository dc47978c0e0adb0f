#include "compress/linear_ranges.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"

namespace pomona::compress {
namespace {

// The narrowest range that is tried is this part of the whole one.
constexpr double narrowest = 0.4;
constexpr int half_quadratic_rounds = 20;

struct Grid {
  CodeRange range;
  float scale = 1, zero = 0;
};

float code_of(float weight, const Grid& grid) {
  float code = std::nearbyint(weight / grid.scale) + grid.zero;
  return std::clamp(code, grid.range.lowest, grid.range.highest);
}
float value_of(float code, const Grid& grid) { return (code - grid.zero) * grid.scale; }

// The grid that just covers low..high.
Grid covering(double low, double high, const LinearOptions& options) {
  Grid grid{code_range(options), 1, 0};
  const CodeRange& range = grid.range;
  if (options.symmetric) {
    grid.zero = range.symmetric_zero;
    double step =
        std::max(std::max(high, 0.0) / (range.highest - grid.zero), std::max(-low, 0.0) / (grid.zero - range.lowest));
    if (step > 0) grid.scale = rounded_scale(step, options.scale_type);
    return grid;
  }
  low = std::min(low, 0.0), high = std::max(high, 0.0);
  if (high > low) grid.scale = rounded_scale((high - low) / (range.highest - range.lowest), options.scale_type);
  grid.zero = std::clamp(float(std::nearbyint(range.lowest - low / double(grid.scale))), range.lowest, range.highest);
  return grid;
}

double weighted_error(std::span<const float> weights, std::span<const float> importance, const Grid& grid) {
  double error = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    double off = double(weights[i]) - double(value_of(code_of(weights[i], grid), grid));
    error += off * off * (importance.empty() ? 1.0 : double(importance[i]));
  }
  return error;
}

Grid least_error(std::span<const float> weights, std::span<const float> importance, const LinearOptions& options,
                 double low, double high) {
  Grid best = covering(low, high, options);
  double least = weighted_error(weights, importance, best);
  unsigned candidates = std::max(2u, options.candidates);
  for (unsigned k = 1; k < candidates; ++k) {
    double ratio = 1 - (1 - narrowest) * k / (candidates - 1);
    Grid grid = covering(low * ratio, high * ratio, options);
    double error = weighted_error(weights, importance, grid);
    if (error < least) least = error, best = grid;
  }
  return best;
}

Grid at_percentile(std::span<const float> weights, const LinearOptions& options, double percentile) {
  std::vector<float> sorted(weights.begin(), weights.end());
  if (options.symmetric)
    for (float& value : sorted) value = std::fabs(value);
  auto rank = [&](double part) {
    auto at = std::size_t(std::llround(part * double(sorted.size() - 1)));
    std::nth_element(sorted.begin(), sorted.begin() + std::ptrdiff_t(at), sorted.end());
    return double(sorted[at]);
  };
  double high = rank(percentile / 100);
  double low = options.symmetric ? -high : rank(1 - percentile / 100);
  return covering(low, high, options);
}

double sparse_error(std::span<const float> weights, const Grid& grid) {
  double error = 0;
  for (float weight : weights)
    error += std::pow(std::fabs(double(weight) - double(value_of(code_of(weight, grid), grid))), 0.7);
  return error;
}

Grid half_quadratic(std::span<const float> weights, const LinearOptions& options, double low, double high) {
  Grid grid = covering(low, high, options), best = grid;
  double least = sparse_error(weights, grid), beta = 10 / std::max(1e-12, double(grid.scale));
  for (int round = 0; round < half_quadratic_rounds; ++round, beta *= 1.05) {
    double product = 0, squares = 0, shift = 0;
    for (float weight : weights) {
      double code = double(code_of(weight, grid)) - double(grid.zero), error = weight - code * double(grid.scale);
      double magnitude = std::fabs(error);
      double kept = magnitude > 0 ? std::max(0.0, magnitude - std::pow(magnitude, -0.3) / beta) : 0;
      double target = weight - std::copysign(kept, error);
      product += target * code;
      squares += code * code;
      shift += code - target / double(grid.scale);
    }
    Grid next = grid;
    if (squares > 0 && product > 0) next.scale = rounded_scale(product / squares, options.scale_type);
    if (!options.symmetric)
      next.zero = std::clamp(float(std::nearbyint(double(grid.zero) + shift / double(weights.size()))),
                             grid.range.lowest, grid.range.highest);
    double error = sparse_error(weights, next);
    if (error < least) least = error, best = next;
    if (next.scale == grid.scale && next.zero == grid.zero) break;
    grid = next;
  }
  return best;
}

}  // namespace

CodeRange code_range(const LinearOptions& options) {
  CodeRange range;
  auto codes = float(1u << options.bits);
  range.lowest = options.is_signed ? -codes / 2 : 0;
  range.highest = range.lowest + codes - 1;
  if (options.symmetric && options.is_signed && !options.lowest_code) range.lowest += 1;
  if (options.symmetric && !options.is_signed) range.highest -= 1;
  range.symmetric_zero = options.is_signed ? 0 : range.highest / 2;
  return range;
}

float rounded_scale(double wanted, ScaleType type) {
  if (type == ScaleType::fp32) return std::max(float(wanted), std::numeric_limits<float>::denorm_min());
  return std::max(half_to_float(double_to_half(wanted)), float(smallest_half));
}

BlockCodes code_block(std::span<const float> weights, std::span<const float> importance, const LinearOptions& options,
                      Range range, double percentile) {
  auto [least, most] = std::minmax_element(weights.begin(), weights.end());
  double low = double(*least), high = double(*most);
  Grid grid;
  switch (range) {
    case Range::extremes:
      grid = covering(low, high, options);
      break;
    case Range::squared_error:
      grid = least_error(weights, importance, options, low, high);
      break;
    case Range::percentile:
      grid = at_percentile(weights, options, percentile);
      break;
    case Range::half_quadratic:
      grid = half_quadratic(weights, options, low, high);
      break;
  }
  BlockCodes coded;
  coded.scale = grid.scale;
  coded.zero_point = std::uint8_t(int(grid.zero) & 255);
  coded.codes.reserve(weights.size());
  for (float weight : weights) {
    float code = code_of(weight, grid);
    double off = double(weight) - double(value_of(code, grid));
    coded.squared_error += off * off;
    coded.codes.push_back(std::uint8_t(int(code) & 255));
  }
  return coded;
}

}  // namespace pomona::compress
