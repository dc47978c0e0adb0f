#include "compress/activation_ranges.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/half.h"

namespace pomona::compress {
namespace {

// Levels from `first` to `last`, `step` apart; the place of a value's nearest one.
struct Grid {
  double first = 0, step = 1;
  int count = 256;
  std::size_t nearest(double value) const {
    return std::size_t(std::clamp(std::nearbyint((value - first) / step), 0.0, double(count - 1)));
  }
  double value(std::size_t place) const { return first + double(place) * step; }
};

// Grids have a level at 0, as every coding does.
Grid grid_of(const Range& range, const RangeChoice& choice) {
  bool one_sided = choice.unsigned_codes && range.lowest >= 0;
  if (choice.symmetric && !one_sided) {
    double largest = std::max({-range.lowest, range.highest, std::numeric_limits<double>::min()});
    return {-largest, largest / 127, 255};
  }
  double low = std::min(0.0, range.lowest), high = std::max(0.0, range.highest);
  double step = std::max((high - low) / 255, std::numeric_limits<double>::min());
  return {std::nearbyint(low / step) * step, step, 256};
}

double squared_error(const std::vector<ActivationStatistics::Bin>& bins, double width, const Grid& grid) {
  double error = 0;
  for (const auto& [middle, count] : bins) {
    double off = middle - grid.value(grid.nearest(middle));
    error += count * (off * off + width * width / 12);
  }
  return error;
}

// The Kullback-Leibler divergence of the coded values' distribution from the values' own (what lies outside counts as
// the outermost bins do), as S. Migacz's "8-bit inference with TensorRT" (2017) has it.
double divergence(const std::vector<ActivationStatistics::Bin>& bins, const Grid& grid) {
  std::vector<double> mass(std::size_t(grid.count)), width(std::size_t(grid.count));
  std::vector<double> inside(bins.size());
  double low = grid.first - grid.step / 2, high = grid.value(std::size_t(grid.count) - 1) + grid.step / 2, total = 0;
  std::optional<std::size_t> first, last;
  double below = 0, above = 0;
  for (std::size_t i = 0; i < bins.size(); ++i) {
    auto [middle, count] = bins[i];
    total += count;
    if (middle < low) {
      below += count;
    } else if (middle > high) {
      above += count;
    } else {
      inside[i] = count;
      if (!first) first = i;
      last = i;
      mass[grid.nearest(middle)] += count;
      width[grid.nearest(middle)] += 1;
    }
  }
  if (!first) return std::numeric_limits<double>::infinity();
  double coded = total - below - above, sum = 0;
  for (std::size_t i = *first; i <= *last; ++i) {
    double p = (inside[i] + (i == *first ? below : 0) + (i == *last ? above : 0)) / total;
    std::size_t at = grid.nearest(bins[i].middle);
    double q = mass[at] / width[at] / coded;
    if (p > 0) sum += p * std::log(p / q);
  }
  return sum;
}

// Both ends pulled in by the same factor, then each on its own.
template <class Cost>
Range least(const Range& whole, bool symmetric, Cost cost) {
  Range best = whole;
  double best_cost = cost(whole);
  auto consider = [&](const Range& range) {
    double here = cost(range);
    if (here < best_cost) best_cost = here, best = range;
  };
  for (int percent = 99; percent >= 10; percent -= percent > 30 ? 1 : 2)
    consider({whole.lowest * percent / 100, whole.highest * percent / 100});
  if (symmetric) return best;
  for (int round = 0; round < 2; ++round) {
    Range from = best;
    for (int percent = 50; percent <= 150; percent += 5) {
      consider({std::max(whole.lowest, from.lowest * percent / 100), from.highest});
      consider({from.lowest, std::min(whole.highest, from.highest * percent / 100)});
    }
  }
  return best;
}

// The values that leave the same part outside on either side (or in magnitude).
Range percentile_range(const ActivationStatistics& seen, const RangeChoice& choice) {
  auto bins = seen.bins();
  double total = double(seen.zeros);
  for (const auto& bin : bins) total += bin.count;
  double half = seen.bin_width() / 2, outside = total * (1 - choice.percentile / 100);
  if (choice.symmetric) {
    std::vector<std::pair<double, double>> magnitudes;
    for (const auto& [middle, count] : bins) magnitudes.emplace_back(std::fabs(middle), count);
    std::ranges::sort(magnitudes, std::greater<>());
    double largest = 0;
    for (const auto& [magnitude, count] : magnitudes) {
      largest = magnitude + half;
      outside -= count;
      if (outside < 0) break;
    }
    return {std::max(seen.lowest, -largest), std::min(seen.highest, largest)};
  }
  Range range{seen.lowest, seen.highest};
  double rest = outside / 2;
  for (const auto& [middle, count] : bins)
    if ((rest -= count) < 0) {
      range.lowest = std::max(seen.lowest, middle - half);
      break;
    }
  rest = outside / 2;
  for (auto bin = bins.rbegin(); bin != bins.rend(); ++bin)
    if ((rest -= bin->count) < 0) {
      range.highest = std::min(seen.highest, bin->middle + half);
      break;
    }
  return range;
}

double rounded_scale(double scale, DType dtype) {
  if (dtype != DType::fp16) return std::max(double(float(scale)), double(std::numeric_limits<float>::min()));
  double rounded = double(half_to_float(double_to_half(scale)));
  return std::clamp(rounded, smallest_half, largest_half);
}

}  // namespace

void ActivationStatistics::reach_to(double magnitude) {
  if (counts_.empty()) counts_.resize(bin_count);
  if (reach_ == 0) reach_ = std::exp2(std::floor(std::log2(magnitude)) + 1);
  while (magnitude >= reach_) {
    std::vector<std::uint64_t> joined(bin_count);
    for (std::size_t i = 0; i < bin_count; ++i) joined[bin_count / 4 + i / 2] += counts_[i];
    counts_ = std::move(joined);
    reach_ *= 2;
  }
}

void ActivationStatistics::add(std::span<const float> values, double averaging) {
  float low = 0, high = 0;
  bool any = false;
  for (float value : values) {
    if (!std::isfinite(value)) {
      ++not_finite;
      continue;
    }
    low = any ? std::min(low, value) : value;
    high = any ? std::max(high, value) : value;
    any = true;
  }
  if (!any) return;
  lowest = samples ? std::min(lowest, double(low)) : double(low);
  highest = samples ? std::max(highest, double(high)) : double(high);
  average_lowest = samples ? average_lowest + averaging * (double(low) - average_lowest) : double(low);
  average_highest = samples ? average_highest + averaging * (double(high) - average_highest) : double(high);
  ++samples;
  double magnitude = std::max(std::fabs(double(low)), std::fabs(double(high)));
  if (magnitude > 0) reach_to(magnitude);
  float per_unit = magnitude > 0 ? float(double(bin_count) / (2 * reach_)) : 0;
  for (float value : values) {
    if (value == 0)
      ++zeros;
    else if (std::isfinite(value))
      ++counts_[std::min(std::size_t(std::floor(value * per_unit) + float(bin_count / 2)), bin_count - 1)];
  }
}

void ActivationStatistics::merge(const ActivationStatistics& other) {
  if (other.samples == 0) return;
  bool first = samples == 0;
  lowest = first ? other.lowest : std::min(lowest, other.lowest);
  highest = first ? other.highest : std::max(highest, other.highest);
  average_lowest = first ? other.average_lowest : std::min(average_lowest, other.average_lowest);
  average_highest = first ? other.average_highest : std::max(average_highest, other.average_highest);
  samples += other.samples;
  zeros += other.zeros;
  not_finite += other.not_finite;
  if (other.reach_ == 0) return;
  ActivationStatistics copy = other;
  if (reach_ == 0) reach_ = other.reach_, counts_.assign(bin_count, 0);
  if (reach_ < copy.reach_) reach_to(copy.reach_ / 2);
  if (copy.reach_ < reach_) copy.reach_to(reach_ / 2);
  for (std::size_t i = 0; i < bin_count; ++i) counts_[i] += copy.counts_[i];
}

std::vector<ActivationStatistics::Bin> ActivationStatistics::bins() const {
  std::vector<Bin> found;
  for (std::size_t i = 0; i < counts_.size(); ++i)
    if (counts_[i]) found.push_back({(double(i) + 0.5) * bin_width() - reach_, double(counts_[i])});
  return found;
}

Result<RangeMethod> range_method(const std::string& name) {
  static constexpr std::pair<std::string_view, RangeMethod> known[] = {{"minmax", RangeMethod::minmax},
                                                                       {"moving_average", RangeMethod::moving_average},
                                                                       {"percentile", RangeMethod::percentile},
                                                                       {"mse", RangeMethod::mse},
                                                                       {"entropy", RangeMethod::entropy}};
  for (const auto& [word, method] : known)
    if (word == name) return method;
  return fail("the range of activations is minmax, moving_average, percentile, mse or entropy, not '{}'", name);
}

Range choose_range(const ActivationStatistics& seen, const RangeChoice& choice) {
  Range whole{seen.lowest, seen.highest};
  auto bins = seen.bins();
  switch (choice.method) {
    case RangeMethod::minmax:
      return whole;
    case RangeMethod::moving_average:
      return {seen.average_lowest, seen.average_highest};
    case RangeMethod::percentile:
      return percentile_range(seen, choice);
    case RangeMethod::mse:
      return least(whole, choice.symmetric,
                   [&](const Range& r) { return squared_error(bins, seen.bin_width(), grid_of(r, choice)); });
    case RangeMethod::entropy:
      return least(whole, choice.symmetric, [&](const Range& r) { return divergence(bins, grid_of(r, choice)); });
  }
  return whole;
}

double Codes::lowest() const { return (lowest_value(dtype) - zero_point.value_or(0)) * scale; }
double Codes::highest() const { return (highest_value(dtype) - zero_point.value_or(0)) * scale; }

Codes codes_for(const Range& range, const std::string& dtype, bool symmetric, DType of_values) {
  Codes codes;
  bool unsigned_here = dtype == "uint8" || (dtype == "auto" && range.lowest >= 0);
  codes.dtype = unsigned_here ? DType::uint8 : DType::int8;
  double low = std::min(0.0, range.lowest), high = std::max(0.0, range.highest);
  if (high - low <= 0) high = 1;  // nothing but zeros: any scale does
  if (symmetric && dtype == "auto" && unsigned_here) {
    codes.scale = rounded_scale(high / 255, of_values);
  } else if (symmetric) {
    codes.scale = rounded_scale(std::max(-low, high) / 127, of_values);
    if (unsigned_here) codes.zero_point = 127;
  } else {
    codes.scale = rounded_scale((high - low) / 255, of_values);
    double first = lowest_value(codes.dtype), last = highest_value(codes.dtype);
    int zero = int(std::clamp(std::nearbyint(first - low / codes.scale), first, last));
    if (zero != 0) codes.zero_point = zero;
  }
  return codes;
}

double coding_snr_decibel(const ActivationStatistics& seen, const Codes& codes) {
  double power = 0, error = 0;
  for (const auto& [middle, count] : seen.bins()) {
    double level = std::nearbyint(std::clamp(middle, codes.lowest(), codes.highest()) / codes.scale) * codes.scale;
    power += count * middle * middle;
    error += count * ((middle - level) * (middle - level) + seen.bin_width() * seen.bin_width() / 12);
  }
  if (power == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(power / std::max(error, std::numeric_limits<double>::min()));
}

}  // namespace pomona::compress
