#include "cpu/encoded_matrix.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>
#include <span>
#include <tuple>

#include "base/half.h"
#include "base/threads.h"

namespace pomona::cpu {
namespace {

using Code = EncodedMatrix::Code;
using Second = EncodedMatrix::Second;
using Scales = EncodedMatrix::Scales;
constexpr std::size_t most_scales = 4 * span_units;  // of a row in a span

bool is_half(float value) { return half_to_float(float_to_half(value)) == value; }
// Whether rounding to half loses no more than computing the number in float did.
bool nearly_half(float value) {
  return std::fabs(half_to_float(float_to_half(value)) - value) <= std::fabs(value) * 0x1p-21f;
}

// A minimum is the product of a scale and an offset that was itself divided by the scale: it is known to two units of
// its last place. If a number of 17 bits (a half times a small integer has no more) is that near, it is meant.
float with_few_bits(double product) {
  auto value = float(product);
  auto bits = std::bit_cast<std::uint32_t>(value), few = (bits + 64) & ~127u;
  std::uint32_t away = few > bits ? few - bits : bits - few;
  return away <= 2 ? std::bit_cast<float>(few) : value;
}

// The d of which all numbers are whole multiples of a byte, so that the products are exact in float. Nothing if there
// is none.
std::optional<float> common_factor(std::span<const float> numbers) {
  // Each as an odd number and a power of two.
  std::array<std::uint32_t, most_scales> odd;
  std::array<int, most_scales> power;
  int least = 1000;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    auto bits = std::bit_cast<std::uint32_t>(numbers[i]);
    int exponent = int(bits >> 23 & 255);
    std::uint32_t mantissa = (bits & 0x7FFFFF) | (exponent ? 0x800000 : 0);
    if (exponent == 255) return std::nullopt;
    odd[i] = mantissa >> (mantissa ? std::countr_zero(mantissa) : 0);
    power[i] = std::max(exponent, 1) - 150 + (mantissa ? std::countr_zero(mantissa) : 0);
    if (mantissa) least = std::min(least, power[i]);
  }
  std::uint32_t divisor = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i)
    if (divisor == 0 || odd[i] % divisor != 0) divisor = std::gcd(divisor, odd[i]);
  if (divisor == 0) return 0.0f;
  bool above = false, below = false;  // 128 and -128
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (odd[i] == 0) continue;
    std::uint32_t multiple = odd[i] / divisor;
    if (power[i] - least > 7 || multiple << (power[i] - least) > 128) return std::nullopt;
    if (multiple << (power[i] - least) == 128) (std::signbit(numbers[i]) ? below : above) = true;
  }
  float d = std::ldexp(float(divisor), least);
  if (!std::isnormal(d) || (above && below)) return std::nullopt;
  return above ? -d : d;
}

class IntegerEncoder {
 public:
  explicit IntegerEncoder(const IntegerMatrix& from) : from_(from) {}

  SharedMatrix run() {
    if (!choose_form()) return nullptr;
    choose_factors();
    m_->bytes = HugeBytes(m_->tiles() * m_->tile_bytes());
    if (m_->scales == 0) store_row_scales();
    parallel_for(m_->tiles(), 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t tile = first; tile < last; ++tile) store_tile(tile);
    });
    return m_;
  }

 private:
  bool choose_form() {
    m_->rows = from_.rows;
    m_->depth = from_.depth;
    m_->code = from_.table ? Code::table : from_.bits == 4 ? Code::four : Code::eight;
    std::size_t block = from_.depth_block;
    if (block >= from_.depth)
      m_->scales = 0;
    else if (block % 16 != 0)
      return false;
    else
      m_->scales = block % 64 == 0 ? 1 : block % 32 == 0 ? 2 : 4;
    if (from_.table)
      for (std::size_t i = 0; i < 16; ++i) m_->table[i] = std::uint8_t(from_.table[i] + 128);
    bias_ = from_.table ? 128 : !from_.is_signed ? 0 : from_.bits == 4 ? 8 : 128;
    if (!from_.table) narrow();
    for (std::size_t slot = 0; slot < m_->units() * m_->scales; ++slot)
      columns_.push_back(column_offset(slot * unit_depth / m_->scales));
    choose_second();
    return true;
  }

  // Codes that span few values are stored from the least on.
  void narrow() {
    auto [least, most] = range_of_codes();
    auto take = [&](int values, Code code) {
      if (most - least >= values || code >= m_->code) return false;
      m_->code = code;
      bias_ -= least;
      return true;
    };
    take(4, Code::two) || take(8, Code::three) || take(16, Code::four) || take(32, Code::five) || take(64, Code::six);
  }
  // Of codes + bias. What is found to need all its bits is not read to its end.
  std::pair<int, int> range_of_codes() const {
    bool by_rows = from_.depth_stride == 1;
    std::size_t runs = by_rows ? from_.rows : from_.depth, length = by_rows ? from_.depth : from_.rows;
    std::ptrdiff_t run_stride = by_rows ? from_.row_stride : from_.depth_stride,
                   stride = by_rows ? from_.depth_stride : from_.row_stride;
    std::atomic<int> least = 255, most = 0;
    const int enough = m_->code == Code::eight ? 64 : 8;
    parallel_for(runs, 16, [&](std::size_t first, std::size_t last) {
      for (std::size_t run = first; run < last && most - least < enough; ++run) {
        auto [low, high] = range_of_run(from_.codes + std::ptrdiff_t(run) * run_stride, length, stride);
        for (int seen = least; low < seen && !least.compare_exchange_weak(seen, low);) continue;
        for (int seen = most; high > seen && !most.compare_exchange_weak(seen, high);) continue;
      }
    });
    return {least, most};
  }
  std::pair<int, int> range_of_run(const std::uint8_t* codes, std::size_t count, std::ptrdiff_t stride) const {
    std::array<std::uint8_t, 64> low, high;
    low.fill(255), high.fill(0);
    auto add = std::uint8_t(bias_);
    std::size_t k = 0;
    for (; stride == 1 && k + 64 <= count; k += 64)
      for (std::size_t i = 0; i < 64; ++i) {
        auto code = std::uint8_t(codes[k + i] + add);
        low[i] = std::min(low[i], code), high[i] = std::max(high[i], code);
      }
    for (; k < count; ++k) {
      auto code = std::uint8_t(codes[std::ptrdiff_t(k) * stride] + add);
      low[0] = std::min(low[0], code), high[0] = std::max(high[0], code);
    }
    return {*std::min_element(low.begin(), low.end()), *std::max_element(high.begin(), high.end())};
  }

  // Stored codes are unsigned: code + bias. An offset that is the same integer everywhere joins the zero.
  void choose_second() {
    const std::vector<float>&scale = from_.scale, &offset = from_.offset;
    float first = offset.empty() ? 0 : offset[0];
    bool one = std::all_of(offset.begin(), offset.end(), [&](float o) { return o == first; });
    if (one && first == std::floor(first) && std::fabs(first) <= 256) {
      m_->zero = bias_ + int(first);
      if (!std::all_of(scale.begin(), scale.end(), is_half)) m_->form = Scales::floats;
      return;
    }
    m_->zero = m_->code == Code::eight ? 128 : bias_;
    second_.resize(offset.size());
    auto shift = [&](std::size_t i) { return offset[i] + float(bias_ - m_->zero); };
    bool halves = m_->scales != 0 && std::all_of(scale.begin(), scale.end(), is_half);
    bool offsets = halves;
    for (std::size_t i = 0; offsets && i < offset.size(); ++i) offsets = is_half(shift(i));
    m_->second = offsets ? Second::offset : Second::minimum;
    for (std::size_t i = 0; i < offset.size(); ++i) second_[i] = offsets ? shift(i) : -scale[i] * shift(i);
    if (!(halves && (offsets || std::all_of(second_.begin(), second_.end(), nearly_half)))) m_->form = Scales::floats;
  }

  // Factors where all scales and minima have them, and they are smaller than what there is.
  void choose_factors() {
    if (m_->scales == 0 || m_->rows == 0 || m_->second == Second::offset) return;
    if (m_->form == Scales::halves && m_->scales == 1) return;
    std::size_t per_span = tile_rows * m_->per_block();
    std::vector<float> divisors(per_span);
    if (!find_divisors(0, 0, divisors.data())) return;
    divisors.resize(m_->tiles() * m_->spans() * per_span);
    std::atomic<bool> all = true;
    parallel_for(m_->tiles(), 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t tile = first; tile < last; ++tile)
        for (std::size_t span = 0; span < m_->spans() && all; ++span)
          if (!find_divisors(tile, span, &divisors[(tile * m_->spans() + span) * per_span])) all = false;
    });
    if (!all) return;
    m_->form = Scales::factors;
    divisors_ = std::move(divisors);
  }
  bool find_divisors(std::size_t tile, std::size_t span, float* to) const {
    std::array<float, most_scales> scales, minima;
    std::size_t first = span * span_units * m_->scales,
                last = std::min(first + span_units * m_->scales, columns_.size());
    for (std::size_t r = 0; r < tile_rows; ++r) {
      std::size_t row = tile * tile_rows + r;
      std::ptrdiff_t offset = row_offset(row);
      for (std::size_t slot = first; slot < last; ++slot)
        std::tie(scales[slot - first], minima[slot - first]) = products_at(row, slot, offset);
      auto d = common_factor({scales.data(), last - first});
      if (!d) return false;
      to[r] = *d;
      if (second_.empty()) continue;
      d = common_factor({minima.data(), last - first});
      if (!d) return false;
      to[tile_rows + r] = *d;
    }
    return true;
  }
  // Scale and minimum as the products that they were made from.
  std::pair<float, float> products_at(std::size_t row, std::size_t slot, std::ptrdiff_t offset) const {
    auto index = std::size_t(offset + columns_[slot]);
    float scale = from_.scale[index];
    if (second_.empty()) return {scale, 0};
    if (is_flat(row, slot, index)) return {0, scale};
    return {scale, with_few_bits(-double(scale) * double(from_.offset[index] + float(bias_ - m_->zero)))};
  }
  // A block that has a minimum but no scale is written as zeros of which an offset of -1 is taken: its scale is the
  // minimum.
  bool is_flat(std::size_t row, std::size_t slot, std::size_t index) const {
    if (from_.offset[index] != -1 || from_.row_block != 1 || from_.table) return false;
    row = std::min(row, from_.rows - 1);
    std::size_t begin =
                    std::min(slot * unit_depth / m_->scales, from_.depth - 1) / from_.depth_block * from_.depth_block,
                end = std::min(begin + from_.depth_block, from_.depth);
    const std::uint8_t* codes = from_.codes + std::ptrdiff_t(row) * from_.row_stride;
    for (std::size_t k = begin; k < end; ++k)
      if (codes[std::ptrdiff_t(k) * from_.depth_stride] != 0) return false;
    return true;
  }

  // Where the scales of a row, and those of a column, are.
  std::ptrdiff_t row_offset(std::size_t row) const {
    return std::ptrdiff_t(std::min(row, from_.rows - 1) / from_.row_block) * from_.scale_row_stride;
  }
  std::ptrdiff_t column_offset(std::size_t input) const {
    return std::ptrdiff_t(std::min(input, from_.depth - 1) / from_.depth_block) * from_.scale_depth_stride;
  }
  void store_row_scales() {
    for (std::size_t r = 0; r < m_->tiles() * tile_rows; ++r) {
      m_->row_scales.push_back(from_.scale[std::size_t(row_offset(r))]);
      if (!second_.empty()) m_->row_minima.push_back(second_[std::size_t(row_offset(r))]);
    }
  }
  void store_tile(std::size_t tile) {
    std::uint8_t* to = m_->bytes.data() + tile * m_->tile_bytes();
    std::size_t per_span = tile_rows * m_->per_block();
    for (std::size_t span = 0; span < m_->spans() && !divisors_.empty(); ++span)
      std::memcpy(to + m_->span_start(span * span_units), &divisors_[(tile * m_->spans() + span) * per_span],
                  m_->span_bytes());
    for (std::size_t unit = 0; unit < m_->units(); ++unit) {
      std::uint8_t* at = to + m_->unit_start(unit);
      for (std::size_t row = tile * tile_rows; row < (tile + 1) * tile_rows; ++row) {
        for (std::size_t s = 0; s < m_->scales; ++s) store_block(at, row, unit, s);
        if (row < from_.rows) store_codes(at + m_->header_bytes(), row, unit * unit_depth);
      }
    }
  }
  void store_block(std::uint8_t* unit, std::size_t row, std::size_t number, std::size_t s) {
    std::size_t slot = number * m_->scales + s, r = row % tile_rows;
    std::uint8_t* to = unit + s * m_->scale_bytes() * m_->per_block();
    std::ptrdiff_t offset = row_offset(row);
    if (m_->form == Scales::factors) {
      auto [scale, minimum] = products_at(row, slot, offset);
      const float* d =
          &divisors_[(row / tile_rows * m_->spans() + number / span_units) * tile_rows * m_->per_block() + r];
      store_multiple(to + r, scale, d[0]);
      if (!second_.empty()) store_multiple(to + tile_rows + r, minimum, d[tile_rows]);
      return;
    }
    auto index = std::size_t(offset + columns_[slot]);
    store_scale(to, r, from_.scale[index]);
    if (!second_.empty()) store_scale(to + m_->scale_bytes(), r, second_[index]);
  }
  static void store_multiple(std::uint8_t* to, float value, float d) {
    *to = std::uint8_t(std::int8_t(d == 0 ? 0 : int(value / d)));
  }
  void store_scale(std::uint8_t* to, std::size_t row, float value) {
    std::uint16_t half = float_to_half(value);
    if (m_->form == Scales::floats)
      std::memcpy(to + row * 4, &value, 4);
    else
      std::memcpy(to + row * 2, &half, 2);
  }

  void store_codes(std::uint8_t* to, std::size_t row, std::size_t first) {
    const std::uint8_t* codes =
        from_.codes + std::ptrdiff_t(row) * from_.row_stride + std::ptrdiff_t(first) * from_.depth_stride;
    auto add = std::uint8_t(from_.table ? 0 : bias_);
    std::size_t count = std::min(unit_depth, from_.depth - first), r = row % tile_rows;
    std::array<std::uint32_t, unit_depth / 4> fours{};
    auto* bytes = reinterpret_cast<std::uint8_t*>(fours.data());
    for (std::size_t k = 0; k < count; ++k)
      bytes[k] = std::uint8_t(codes[std::ptrdiff_t(k) * from_.depth_stride] + add);
    std::uint8_t* upper = to + m_->lower_bits() * 2 * 64;
    switch (m_->code) {
      case Code::two:
        return store_bits<2>(to, r, fours, 0);
      case Code::three:
        return store_bits<2>(to, r, fours, 0), store_bits<1>(upper, r, fours, 2);
      case Code::five:
        return store_bits<4>(to, r, fours, 0), store_bits<1>(upper, r, fours, 4);
      case Code::six:
        return store_bits<4>(to, r, fours, 0), store_bits<2>(upper, r, fours, 4);
      case Code::eight:
        return store_bits<8>(to, r, fours, 0);
      default:
        return store_bits<4>(to, r, fours, 0);
    }
  }
  // So many bits of each byte, from `first` on.
  template <std::size_t bits>
  static void store_bits(std::uint8_t* to, std::size_t row, const std::array<std::uint32_t, unit_depth / 4>& fours,
                         unsigned first) {
    constexpr std::uint32_t mask = 0x01010101 * ((1u << bits) - 1);
    std::array<std::uint32_t, 2 * bits> vectors{};
    for (std::size_t i = 0; i < fours.size(); ++i) {
      BitPlace place = place_of_bits(bits, i);
      vectors[place.vector] |= (fours[i] >> first & mask) << place.shift;
    }
    for (std::size_t i = 0; i < vectors.size(); ++i) std::memcpy(to + i * 64 + row * 4, &vectors[i], 4);
  }

  const IntegerMatrix& from_;
  std::shared_ptr<EncodedMatrix> m_ = std::make_shared<EncodedMatrix>();
  std::vector<float> second_;
  std::vector<std::ptrdiff_t> columns_;  // column_offset of every scale of a row
  std::vector<float> divisors_;          // what stands before each span, tile after tile
  int bias_ = 0;
};

// `d` are those of the scales, or of the minima, of the span.
float scale_at(const EncodedMatrix& m, const std::uint8_t* at, const std::uint8_t* d, std::size_t row) {
  float value;
  std::uint16_t half;
  if (m.form == Scales::halves) return std::memcpy(&half, at + row * 2, 2), half_to_float(half);
  if (m.form == Scales::floats) return std::memcpy(&value, at + row * 4, 4), value;
  std::memcpy(&value, d + row * 4, 4);
  return value * float(std::int8_t(at[row]));
}

int code_at(const EncodedMatrix& m, const std::uint8_t* codes, std::size_t row, std::size_t input) {
  auto bits_at = [&](std::size_t first_vector, std::size_t bits) {
    BitPlace place = place_of_bits(bits, input / 4);
    return codes[(first_vector + place.vector) * 64 + row * 4 + input % 4] >> place.shift & ((1 << bits) - 1);
  };
  int code = bits_at(0, m.lower_bits());
  if (m.code == Code::table) return m.table[code];
  return m.upper_bits() == 0 ? code : code | bits_at(2 * m.lower_bits(), m.upper_bits()) << m.lower_bits();
}

}  // namespace

SharedMatrix encode_integers(const IntegerMatrix& from) { return IntegerEncoder(from).run(); }

SharedMatrix encode_halves(const std::uint16_t* elements, std::size_t rows, std::size_t depth,
                           std::ptrdiff_t row_stride, std::ptrdiff_t depth_stride) {
  auto m = std::make_shared<EncodedMatrix>();
  m->code = Code::halves;
  m->rows = rows;
  m->depth = depth;
  m->bytes = HugeBytes(m->tiles() * m->tile_bytes());
  parallel_for(m->tiles(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t tile = first; tile < last; ++tile) {
      auto* to = reinterpret_cast<std::uint16_t*>(m->bytes.data() + tile * m->tile_bytes());
      for (std::size_t r = 0; r < std::min(tile_rows, rows - tile * tile_rows); ++r) {
        const std::uint16_t* row = elements + std::ptrdiff_t(tile * tile_rows + r) * row_stride;
        for (std::size_t k = 0; k < depth; ++k) to[k * tile_rows + r] = row[std::ptrdiff_t(k) * depth_stride];
      }
    }
  });
  return m;
}

SharedMatrix encode_indices(const IndexMatrix& from) {
  // A run of 32 inputs has one table.
  if (from.table_depth < from.depth && from.table_depth % 32 != 0) return nullptr;
  auto m = std::make_shared<EncodedMatrix>();
  m->code = Code::indices;
  m->rows = from.rows;
  m->depth = from.depth;
  m->table_rows = from.table_rows;
  m->table_depth = std::max<std::size_t>(std::min(from.table_depth, from.depth), 1);
  m->tables.assign(from.tables.size() / from.entries * 16, 0);
  for (std::size_t i = 0; i < from.tables.size(); ++i)
    m->tables[i / from.entries * 16 + i % from.entries] = from.tables[i];
  m->bytes = HugeBytes(m->tiles() * m->tile_bytes());
  parallel_for(from.rows, 16, [&](std::size_t first, std::size_t last) {
    for (std::size_t row = first; row < last; ++row) {
      const std::uint8_t* indices = from.indices + std::ptrdiff_t(row) * from.row_stride;
      std::uint8_t* to = m->bytes.data() + row * m->row_bytes();
      for (std::size_t k = 0; k < from.depth; ++k)
        to[k / 32 * 16 + k % 16] |=
            std::uint8_t(indices[std::ptrdiff_t(k) * from.depth_stride] << (k % 32 < 16 ? 0 : 4));
    }
  });
  return m;
}

namespace {

void decode_indices(const EncodedMatrix& m, std::size_t row, float* out) {
  const std::uint8_t* indices = m.bytes.data() + row * m.row_bytes();
  float entries[16];
  for (std::size_t k = 0; k < m.depth; ++k) {
    if (k % m.table_depth == 0) halves_to_floats({m.table_of(row, k), 16}, entries);
    std::uint8_t both = indices[k / 32 * 16 + k % 16];
    out[k] = entries[k % 32 < 16 ? both & 15 : both >> 4];
  }
}

}  // namespace

void decode_row(const EncodedMatrix& m, std::size_t row, float* out) {
  if (m.code == Code::indices) return decode_indices(m, row, out);
  const std::uint8_t* at = m.bytes.data() + row / tile_rows * m.tile_bytes();
  std::size_t r = row % tile_rows;
  if (m.code == Code::halves) {
    const auto* halves = reinterpret_cast<const std::uint16_t*>(at) + r;
    for (std::size_t k = 0; k < m.depth; ++k) out[k] = half_to_float(halves[k * tile_rows]);
    return;
  }
  bool two = m.second != Second::none;
  for (std::size_t k = 0; k < m.depth; ++k) {
    std::size_t number = k / unit_depth, within = k % unit_depth;
    const std::uint8_t* unit = at + m.unit_start(number);
    float scale = m.scales ? 0 : m.row_scales[row], second = !m.scales && two ? m.row_minima[row] : 0;
    if (m.scales) {
      const std::uint8_t* scales = unit + within * m.scales / unit_depth * m.scale_bytes() * m.per_block();
      const std::uint8_t* d = at + m.span_start(number);
      scale = scale_at(m, scales, d, r);
      if (two) second = scale_at(m, scales + m.scale_bytes(), d + tile_rows * 4, r);
    }
    if (m.second == Second::offset) second *= -scale;
    out[k] = scale * float(code_at(m, unit + m.header_bytes(), r, within) - m.zero) + second;
  }
}

}  // namespace pomona::cpu
