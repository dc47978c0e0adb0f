// The distinct values of a weight tensor with how much each counts, and the way back from values to table indices.
//
// fp16 has 63,487 finite values, so a tensor of millions of weights is a histogram of a few thousand: tables are fitted
// to the histogram and the weights are translated by one look-up each. fp32 weights are sorted instead.
//
//   HalfBins bins;                                                     // once per thread
//   auto distinct = distinct_halves(weights, {}, bins);               // values ascending, weights = counts
//   auto table = exact_kmeans(distinct->values, distinct->weights, {.clusters = 16});
//   auto nearest = nearest_entries(distinct->values, stored_centroids);
//   encode_halves_packed(weights, *distinct, nearest, 4, bins, bytes);
//
// What it does not do: fit the table (exact_kmeans.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"

namespace pomona::compress {

struct DistinctValues {
  std::vector<float> values;          // strictly ascending; -0 counts as 0
  std::vector<double> weights;        // occurrences, or the sum of the importances
  std::vector<std::uint16_t> halves;  // the bits of each value; empty for fp32 sources
};

// A bin per fp16 bit pattern, kept between calls. A call leaves it empty again by visiting only the bins it filled, so
// that groups of a few thousand weights do not pay for 65,536.
struct HalfBins {
  std::vector<double> sums = std::vector<double>(65536);
  std::vector<std::uint32_t> counts = std::vector<std::uint32_t>(65536);
  std::vector<std::uint64_t> occupied = std::vector<std::uint64_t>(1024);  // a bit per bin
  std::vector<std::uint8_t> codes = std::vector<std::uint8_t>(65536);
};

// The distinct values among fp16 weights. importance: empty (each weight counts 1) or one number >= 0 per weight.
// Errors: no weights, a NaN or an infinity (with its index), sizes that differ, an importance that is negative or not
// finite.
Result<DistinctValues> distinct_halves(std::span<const std::uint16_t> halves, std::span<const float> importance,
                                       HalfBins& bins);

// The same for fp32 weights, by a radix sort: O(n) time, 8 bytes per weight (16 with importance).
Result<DistinctValues> distinct_floats(std::span<const float> floats, std::span<const float> importance);

// For each of the ascending values the index of the nearest of the ascending centroids (the lower one on a tie). At
// most 256 centroids.
std::vector<std::uint8_t> nearest_entries(std::span<const float> values, std::span<const float> centroids);

// codes[i] = entries[k] where distinct.values[k] is the value of halves[i]. Every value must occur in `distinct`.
void encode_halves(std::span<const std::uint16_t> halves, const DistinctValues& distinct,
                   std::span<const std::uint8_t> entries, HalfBins& bins, std::uint8_t* codes);

// The same packed to `width` bits a code (1 to 8, every entry below 2^width) in the bit order of base/bits.h:
// packed_size_bytes( halves.size(), width) bytes, unused bits 0.
void encode_halves_packed(std::span<const std::uint16_t> halves, const DistinctValues& distinct,
                          std::span<const std::uint8_t> entries, unsigned width, HalfBins& bins, std::uint8_t* packed);

// The nearest centroid's index of each value, for values that need not be distinct or sorted (fp32). At most 256
// centroids.
void encode_floats(std::span<const float> floats, std::span<const float> centroids, std::uint8_t* codes);

}  // namespace pomona::compress
