#include "compress/row_sums.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/threads.h"
#include "compress/linear_ranges.h"

namespace pomona::compress {
namespace {

constexpr float highest_code = 127;
constexpr std::size_t weights_at_once = 1 << 15;

double squared(double value) { return value * value; }

// Of the nearest codes on the range of a block's extremes.
double plain_error(std::span<const float> block, ScaleType type) {
  float most = 0;
  for (float weight : block) most = std::max(most, std::fabs(weight));
  if (most == 0) return 0;
  float scale = rounded_scale(double(most) / highest_code, type);
  double error = 0;
  for (float weight : block)
    error += squared(double(weight) -
                     double(scale * std::clamp(std::nearbyint(weight / scale), -highest_code, highest_code)));
  return error;
}

// A code that could be moved by one step, at what price.
struct Move {
  std::size_t at = 0;
  float scale = 0;
  double price = 0;  // growth of the squared error
};

struct Row {
  std::span<const float> weights;
  std::span<std::uint8_t> codes;
  std::span<const float> scales;

  std::size_t block() const { return weights.size() / scales.size(); }
  double error_at(std::size_t i) const {
    return double(weights[i]) - double(std::int8_t(codes[i])) * double(scales[i / block()]);
  }
};

// The cheapest moves towards a smaller sum come first, as many as could be needed.
std::vector<Move> moves(const Row& row, double sum) {
  float sign = sum < 0 ? -1.0f : 1.0f;
  std::vector<Move> found;
  for (std::size_t i = 0; i < row.weights.size(); ++i) {
    double error = row.error_at(i);
    float scale = row.scales[i / row.block()], next = float(std::int8_t(row.codes[i])) + sign;
    // Only to the other neighbour: the weight lies on that side of its code.
    if (error * double(sign) <= 0 || std::fabs(next) > highest_code) continue;
    found.push_back({i, scale, double(scale) * (double(scale) - 2 * double(sign) * error)});
  }
  std::ranges::sort(found, [](const Move& a, const Move& b) {
    double left = a.price * double(b.scale), right = b.price * double(a.scale);
    return left != right ? left < right : a.at < b.at;
  });
  return found;
}

double balance(const Row& row, double allowed) {
  double sum = 0, error = 0;
  for (std::size_t i = 0; i < row.weights.size(); ++i) {
    sum += row.error_at(i);
    error += squared(row.error_at(i));
  }
  float smallest = *std::ranges::min_element(row.scales);
  if (std::fabs(sum) <= double(smallest) / 2) return error;
  int sign = sum < 0 ? -1 : 1;
  for (const Move& move : moves(row, sum)) {
    double after = std::fabs(sum - sign * double(move.scale));
    if (after >= std::fabs(sum)) continue;
    if (error + move.price > allowed || sum * sign <= 0) break;
    row.codes[move.at] = std::uint8_t(int(std::int8_t(row.codes[move.at])) + sign);
    sum -= sign * double(move.scale);
    error += move.price;
  }
  return error;
}

}  // namespace

double balance_rows(std::span<const float> weights, const CodedRows& coded) {
  std::size_t size = weights.size() / coded.rows, blocks = coded.blocks_per_row, block = size / blocks;
  std::vector<double> errors(coded.rows);
  parallel_for(coded.rows, 1 + weights_at_once / std::max<std::size_t>(1, size),
               [&](std::size_t begin, std::size_t end) {
                 for (std::size_t r = begin; r < end; ++r) {
                   Row row{weights.subspan(r * size, size), coded.codes.subspan(r * size, size),
                           coded.scales.subspan(r * blocks, blocks)};
                   double allowed = 0;
                   for (std::size_t b = 0; b < blocks; ++b)
                     allowed += plain_error(row.weights.subspan(b * block, block), coded.scale_type);
                   errors[r] = balance(row, allowed);
                 }
               });
  double total = 0;
  for (double each : errors) total += each;
  return total;
}

}  // namespace pomona::compress
