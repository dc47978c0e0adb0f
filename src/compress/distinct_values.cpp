#include "compress/distinct_values.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/half.h"

namespace pomona::compress {
namespace {

constexpr std::uint16_t sign_bit = 0x8000;
constexpr std::uint16_t exponent_bits = 0x7C00;

bool is_finite_half(std::uint16_t half) { return (half & exponent_bits) != exponent_bits; }

Status check_importance(std::span<const float> importance, std::size_t weights) {
  POM_REQUIRE(weights > 0, "there are no weights");
  if (importance.empty()) return {};
  POM_REQUIRE(importance.size() == weights, "{} weights but {} importances", weights, importance.size());
  for (std::size_t i = 0; i < weights; ++i) {
    POM_REQUIRE(importance[i] >= 0 && std::isfinite(importance[i]),
                "the importance of weight {} is {}; it must be 0 or more and finite", i, importance[i]);
  }
  return {};
}

// Beyond this many weights it is cheaper to look at all bins afterwards than to mark each one that is filled.
constexpr std::size_t many_weights = 131072;

void count(std::span<const std::uint16_t> halves, HalfBins& bins) {
  std::uint32_t* counts = bins.counts.data();
  std::uint64_t* occupied = bins.occupied.data();
  if (halves.size() < many_weights) {
    for (const std::uint16_t half : halves) {
      ++counts[half];
      occupied[half / 64] |= std::uint64_t{1} << (half % 64);
    }
    return;
  }
  for (const std::uint16_t half : halves) ++counts[half];
  for (std::size_t bin = 0; bin < bins.counts.size(); ++bin) {
    occupied[bin / 64] |= std::uint64_t{counts[bin] != 0} << (bin % 64);
  }
}

void sum(std::span<const std::uint16_t> halves, std::span<const float> importance, HalfBins& bins) {
  for (std::size_t i = 0; i < halves.size(); ++i) {
    bins.sums[halves[i]] += importance[i];
    bins.occupied[halves[i] / 64] |= std::uint64_t{1} << (halves[i] % 64);
  }
}

// Empties the bins of one word of `occupied` into `out`; the highest bit pattern first if `downwards` (the order of
// negative values).
template <class Bin>
void drain_word(std::size_t word, bool downwards, std::vector<Bin>& bins, std::uint64_t& bits, DistinctValues& out) {
  while (bits != 0) {
    const int bit = downwards ? 63 - std::countl_zero(bits) : std::countr_zero(bits);
    bits &= ~(std::uint64_t{1} << bit);
    const std::size_t half = word * 64 + static_cast<std::size_t>(bit);
    out.halves.push_back(static_cast<std::uint16_t>(half));
    out.weights.push_back(static_cast<double>(bins[half]));
    bins[half] = 0;
  }
}

template <class Bin>
void drain(std::vector<Bin>& bins, std::vector<std::uint64_t>& occupied, DistinctValues& out) {
  constexpr std::size_t words = 65536 / 64;
  std::size_t distinct = 0;
  for (const std::uint64_t bits : occupied) distinct += static_cast<std::size_t>(std::popcount(bits));
  out.halves.reserve(distinct);
  out.weights.reserve(distinct);
  for (std::size_t word = words; word-- > words / 2;) drain_word(word, true, bins, occupied[word], out);
  for (std::size_t word = 0; word < words / 2; ++word) drain_word(word, false, bins, occupied[word], out);
}

// 0x8000 is -0: the last of the negatives, next to +0 if both occur. Its weight goes to +0.
void merge_zeros(DistinctValues& out) {
  const auto found = std::find(out.halves.begin(), out.halves.end(), sign_bit);
  if (found == out.halves.end()) return;
  const std::ptrdiff_t at = found - out.halves.begin();
  *found = 0;
  if (found + 1 == out.halves.end() || *(found + 1) != 0) return;
  *(out.weights.begin() + at + 1) += *(out.weights.begin() + at);
  out.halves.erase(found);
  out.weights.erase(out.weights.begin() + at);
}

Error not_finite(std::span<const std::uint16_t> halves) {
  const auto bad = std::find_if_not(halves.begin(), halves.end(), is_finite_half);
  return fail("weight {} of {} is {}; only finite weights can be put in a table", bad - halves.begin(), halves.size(),
              half_to_float(*bad));
}

// fp32 bits reordered so that unsigned comparison is the order of the values.
std::uint32_t ordered(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value == 0 ? 0.0f : value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

float from_ordered(std::uint32_t key) { return std::bit_cast<float>(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key); }

std::uint32_t key_of(std::uint32_t key) { return key; }
std::uint32_t key_of(const std::pair<std::uint32_t, float>& item) { return item.first; }

// Least significant digit first, 11 bits at a time; a digit that is the same everywhere is skipped.
template <class Item>
void radix_sort(std::vector<Item>& items) {
  constexpr std::uint32_t digit_mask = 2047;
  std::vector<Item> sorted(items.size());
  for (unsigned shift = 0; shift < 32; shift += 11) {
    std::array<std::size_t, 2048> offsets{};
    for (const Item& item : items) ++offsets[key_of(item) >> shift & digit_mask];
    if (offsets[key_of(items.front()) >> shift & digit_mask] == items.size()) continue;
    std::size_t total = 0;
    for (std::size_t& offset : offsets) total += std::exchange(offset, total);
    for (const Item& item : items) sorted[offsets[key_of(item) >> shift & digit_mask]++] = item;
    std::swap(items, sorted);
  }
}

const std::uint8_t* fill_codes(const DistinctValues& distinct, std::span<const std::uint8_t> entries, HalfBins& bins) {
  std::uint8_t* table = bins.codes.data();
  for (std::size_t k = 0; k < distinct.halves.size(); ++k) table[distinct.halves[k]] = entries[k];
  table[sign_bit] = table[0];
  return table;
}

// Eight codes fill exactly `width` bytes; with the width known to the compiler the inner loops unroll.
template <unsigned width>
void pack_eights(std::span<const std::uint16_t> halves, const std::uint8_t* table, std::uint8_t* packed) {
  for (std::size_t k = 0; k < halves.size(); k += 8, packed += width) {
    std::uint64_t window = 0;
    for (unsigned i = 0; i < 8; ++i) window |= std::uint64_t{table[halves[k + i]]} << (i * width);
    for (unsigned i = 0; i < width; ++i) packed[i] = static_cast<std::uint8_t>(window >> (8 * i));
  }
}

void append(DistinctValues& out, std::uint32_t key, double weight) {
  const float value = from_ordered(key);
  if (!out.values.empty() && out.values.back() == value) {
    out.weights.back() += weight;
    return;
  }
  out.values.push_back(value);
  out.weights.push_back(weight);
}

}  // namespace

Result<DistinctValues> distinct_halves(std::span<const std::uint16_t> halves, std::span<const float> importance,
                                       HalfBins& bins) {
  POM_TRY(check_importance(importance, halves.size()));
  DistinctValues out;
  if (importance.empty()) {
    count(halves, bins);
    drain(bins.counts, bins.occupied, out);
  } else {
    sum(halves, importance, bins);
    drain(bins.sums, bins.occupied, out);
  }
  // Negative NaNs and infinities sort first, positive ones last.
  if (!is_finite_half(out.halves.front()) || !is_finite_half(out.halves.back())) return not_finite(halves);
  merge_zeros(out);
  out.values.resize(out.halves.size());
  halves_to_floats(out.halves, out.values.data());
  return out;
}

Result<DistinctValues> distinct_floats(std::span<const float> floats, std::span<const float> importance) {
  POM_TRY(check_importance(importance, floats.size()));
  for (std::size_t i = 0; i < floats.size(); ++i) {
    POM_REQUIRE(std::isfinite(floats[i]), "weight {} of {} is {}; only finite weights can be put in a table", i,
                floats.size(), floats[i]);
  }
  DistinctValues out;
  if (importance.empty()) {
    std::vector<std::uint32_t> keys(floats.size());
    std::transform(floats.begin(), floats.end(), keys.begin(), ordered);
    radix_sort(keys);
    for (const std::uint32_t key : keys) append(out, key, 1);
    return out;
  }
  std::vector<std::pair<std::uint32_t, float>> items(floats.size());
  for (std::size_t i = 0; i < floats.size(); ++i) items[i] = {ordered(floats[i]), importance[i]};
  radix_sort(items);
  for (const auto& [key, weight] : items) append(out, key, weight);
  return out;
}

std::vector<std::uint8_t> nearest_entries(std::span<const float> values, std::span<const float> centroids) {
  std::vector<std::uint8_t> entries(values.size());
  std::size_t entry = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    while (entry + 1 < centroids.size() && centroids[entry + 1] - value < value - centroids[entry]) ++entry;
    entries[i] = static_cast<std::uint8_t>(entry);
  }
  return entries;
}

void encode_halves(std::span<const std::uint16_t> halves, const DistinctValues& distinct,
                   std::span<const std::uint8_t> entries, HalfBins& bins, std::uint8_t* codes) {
  const std::uint8_t* table = fill_codes(distinct, entries, bins);
  for (std::size_t i = 0; i < halves.size(); ++i) codes[i] = table[halves[i]];
}

void encode_halves_packed(std::span<const std::uint16_t> halves, const DistinctValues& distinct,
                          std::span<const std::uint8_t> entries, unsigned width, HalfBins& bins, std::uint8_t* packed) {
  const std::uint8_t* table = fill_codes(distinct, entries, bins);
  const std::size_t whole = halves.size() / 8 * 8;
  switch (width) {
    case 1:
      pack_eights<1>(halves.first(whole), table, packed);
      break;
    case 2:
      pack_eights<2>(halves.first(whole), table, packed);
      break;
    case 3:
      pack_eights<3>(halves.first(whole), table, packed);
      break;
    case 4:
      pack_eights<4>(halves.first(whole), table, packed);
      break;
    case 5:
      pack_eights<5>(halves.first(whole), table, packed);
      break;
    case 6:
      pack_eights<6>(halves.first(whole), table, packed);
      break;
    case 7:
      pack_eights<7>(halves.first(whole), table, packed);
      break;
    default:
      pack_eights<8>(halves.first(whole), table, packed);
      break;
  }
  packed += whole / 8 * width;
  std::uint64_t window = 0;
  const std::size_t rest = halves.size() - whole;
  for (std::size_t i = 0; i < rest; ++i) window |= std::uint64_t{table[halves[whole + i]]} << (i * width);
  for (std::size_t i = 0; i * 8 < rest * width; ++i) packed[i] = static_cast<std::uint8_t>(window >> (8 * i));
}

void encode_floats(std::span<const float> floats, std::span<const float> centroids, std::uint8_t* codes) {
  // borders[c] separates centroid c from c + 1; padded to a power of two so that the search has no branches.
  const std::size_t size = std::bit_ceil(std::max<std::size_t>(centroids.size(), 2));
  std::vector<double> borders(size, std::numeric_limits<double>::infinity());
  for (std::size_t c = 0; c + 1 < centroids.size(); ++c) {
    borders[c] = (static_cast<double>(centroids[c]) + static_cast<double>(centroids[c + 1])) / 2;
  }
  for (std::size_t i = 0; i < floats.size(); ++i) {
    const double value = floats[i];
    std::size_t below = 0;
    for (std::size_t step = size / 2; step > 0; step /= 2) below += borders[below + step - 1] < value ? step : 0;
    codes[i] = static_cast<std::uint8_t>(below);
  }
}

}  // namespace pomona::compress
