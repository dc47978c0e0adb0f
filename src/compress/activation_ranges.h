// What range of an activation its 8-bit codes are to cover: statistics of its values over samples, and five ways to
// choose from them.
//
//   ActivationStatistics seen;
//   for (...) seen.add(values);                      // one call per sample, in bounded memory
//   Range range = choose_range(seen, {.method = RangeMethod::mse});
//   Codes codes = codes_for(range, {.dtype = "auto"}, DType::fp16);
//
// Values are counted in bins of equal width on both sides of 0; when a value lies outside, neighbours are joined and
// the bins reach twice as far. Zeros are counted apart, as every coding has them exactly.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "ir/dtype.h"

namespace pomona::compress {

class ActivationStatistics {
 public:
  void add(std::span<const float> values, double averaging);
  // As if these values had been seen as well.
  void merge(const ActivationStatistics& other);

  double lowest = 0, highest = 0;                  // of all finite values
  double average_lowest = 0, average_highest = 0;  // moving averages over samples
  std::uint64_t samples = 0, zeros = 0, not_finite = 0;

  // A bin's values as one: its middle and how many.
  struct Bin {
    double middle, count;
  };
  std::vector<Bin> bins() const;  // those that are not empty, by value
  double bin_width() const { return 2 * reach_ / double(bin_count); }

 private:
  static constexpr std::size_t bin_count = 8192;
  void reach_to(double magnitude);
  double reach_ = 0;  // a power of two; the bins cover [-reach, reach)
  std::vector<std::uint64_t> counts_;
};

struct Range {
  double lowest = 0, highest = 0;
};

enum class RangeMethod : std::uint8_t { minmax, moving_average, percentile, mse, entropy };
struct RangeChoice {
  RangeMethod method = RangeMethod::mse;
  double percentile = 99.99;  // of the values that stay inside
  bool symmetric = true;      // about 0, unless no value is negative and the codes may then be unsigned
  bool unsigned_codes = false;
};
Result<RangeMethod> range_method(const std::string& name);
Range choose_range(const ActivationStatistics& seen, const RangeChoice& choice);

// How the values of a range are coded: (value / scale) rounded + zero point.
struct Codes {
  DType dtype = DType::int8;
  double scale = 1;               // a number of the activation's dtype
  std::optional<int> zero_point;  // absent: 0
  double lowest() const;          // the values of the first and last code
  double highest() const;
};
// `dtype`: int8, uint8, or auto: uint8 without a zero point where no value is negative, else int8.
Codes codes_for(const Range& range, const std::string& dtype, bool symmetric, DType of_values);

// What coding costs, in decibel of the values' power.
double coding_snr_decibel(const ActivationStatistics& seen, const Codes& codes);

}  // namespace pomona::compress
