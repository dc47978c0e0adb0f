#include "cpu/encoded_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/threads.h"

namespace pomona::cpu {
namespace {

bool is_half(float value) { return half_to_float(float_to_half(value)) == value; }
// Whether rounding to half loses no more than computing the number in float did.
bool nearly_half(float value) {
  return std::fabs(half_to_float(float_to_half(value)) - value) <= std::fabs(value) * 0x1p-21f;
}

class IntegerEncoder {
 public:
  explicit IntegerEncoder(const IntegerMatrix& from) : from_(from) {}

  SharedMatrix run() {
    if (!choose_form()) return nullptr;
    m_->bytes = HugeBytes(m_->tiles() * m_->tile_bytes());
    if (m_->scales == 0) store_row_scales();
    parallel_for(m_->tiles(), 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t tile = first; tile < last; ++tile)
        for (std::size_t unit = 0; unit < m_->units(); ++unit) store_unit(tile, unit);
    });
    return m_;
  }

 private:
  bool choose_form() {
    m_->rows = from_.rows;
    m_->depth = from_.depth;
    m_->code = from_.table       ? EncodedMatrix::Code::table
               : from_.bits == 4 ? EncodedMatrix::Code::four
                                 : EncodedMatrix::Code::eight;
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
    choose_second();
    return true;
  }

  // Stored codes are unsigned: code + bias. An offset that is the same integer everywhere joins the zero.
  void choose_second() {
    const std::vector<float>&scale = from_.scale, &offset = from_.offset;
    float first = offset.empty() ? 0 : offset[0];
    bool one = std::all_of(offset.begin(), offset.end(), [&](float o) { return o == first; });
    if (one && first == std::floor(first) && std::fabs(first) <= 256) {
      m_->zero = bias_ + int(first);
      m_->wide = !std::all_of(scale.begin(), scale.end(), is_half);
      return;
    }
    m_->zero = m_->code == EncodedMatrix::Code::four ? 0 : 128;
    second_.resize(offset.size());
    auto shift = [&](std::size_t i) { return offset[i] + float(bias_ - m_->zero); };
    bool halves = m_->scales != 0 && std::all_of(scale.begin(), scale.end(), is_half);
    bool offsets = halves;
    for (std::size_t i = 0; offsets && i < offset.size(); ++i) offsets = is_half(shift(i));
    m_->second = offsets ? EncodedMatrix::Second::offset : EncodedMatrix::Second::minimum;
    for (std::size_t i = 0; i < offset.size(); ++i) second_[i] = offsets ? shift(i) : -scale[i] * shift(i);
    m_->wide = !(halves && (offsets || std::all_of(second_.begin(), second_.end(), nearly_half)));
  }

  std::size_t scale_index(std::size_t row, std::size_t input) const {
    row = std::min(row, from_.rows - 1), input = std::min(input, from_.depth - 1);
    return std::size_t(std::ptrdiff_t(row / from_.row_block) * from_.scale_row_stride +
                       std::ptrdiff_t(input / from_.depth_block) * from_.scale_depth_stride);
  }
  void store_row_scales() {
    for (std::size_t r = 0; r < m_->tiles() * tile_rows; ++r) {
      m_->row_scales.push_back(from_.scale[scale_index(r, 0)]);
      if (!second_.empty()) m_->row_minima.push_back(second_[scale_index(r, 0)]);
    }
  }
  void store_scale(std::uint8_t* to, std::size_t row, float value) {
    std::uint16_t half = float_to_half(value);
    if (m_->wide)
      std::memcpy(to + row * 4, &value, 4);
    else
      std::memcpy(to + row * 2, &half, 2);
  }
  void store_unit(std::size_t tile, std::size_t unit) {
    std::uint8_t* to = m_->bytes.data() + tile * m_->tile_bytes() + unit * m_->unit_bytes();
    for (std::size_t s = 0; s < m_->scales; ++s) {
      for (std::size_t r = 0; r < tile_rows; ++r) {
        std::size_t index = scale_index(tile * tile_rows + r, unit * unit_depth + s * unit_depth / m_->scales);
        store_scale(to, r, from_.scale[index]);
        if (!second_.empty()) store_scale(to + m_->scale_bytes(), r, second_[index]);
      }
      to += m_->scale_bytes() * (second_.empty() ? 1 : 2);
    }
    for (std::size_t r = 0; r < tile_rows; ++r) store_codes(to, tile * tile_rows + r, unit * unit_depth);
  }
  void store_codes(std::uint8_t* to, std::size_t row, std::size_t first) {
    if (row >= from_.rows) return;
    const std::uint8_t* codes =
        from_.codes + std::ptrdiff_t(row) * from_.row_stride + std::ptrdiff_t(first) * from_.depth_stride;
    int add = from_.table || !from_.is_signed ? 0 : bias_;
    std::size_t count = std::min(unit_depth, from_.depth - first), r = row % tile_rows;
    for (std::size_t k = 0; k < count; ++k) {
      std::uint8_t code = std::uint8_t(codes[std::ptrdiff_t(k) * from_.depth_stride] + add);
      if (m_->code == EncodedMatrix::Code::eight) {
        to[k / 4 * 64 + r * 4 + k % 4] = code;
      } else {
        std::size_t half = k / 32, within = k % 16;
        to[(half * 4 + within / 4) * 64 + r * 4 + within % 4] |=
            std::uint8_t(k % 32 < 16 ? code & 15 : (code & 15) << 4);
      }
    }
  }

  const IntegerMatrix& from_;
  std::shared_ptr<EncodedMatrix> m_ = std::make_shared<EncodedMatrix>();
  std::vector<float> second_;
  int bias_ = 0;
};

float scale_at(const EncodedMatrix& m, const std::uint8_t* at, std::size_t row) {
  float value;
  std::uint16_t half;
  if (m.wide) return std::memcpy(&value, at + row * 4, 4), value;
  return std::memcpy(&half, at + row * 2, 2), half_to_float(half);
}

}  // namespace

SharedMatrix encode_integers(const IntegerMatrix& from) { return IntegerEncoder(from).run(); }

SharedMatrix encode_halves(const std::uint16_t* elements, std::size_t rows, std::size_t depth,
                           std::ptrdiff_t row_stride, std::ptrdiff_t depth_stride) {
  auto m = std::make_shared<EncodedMatrix>();
  m->code = EncodedMatrix::Code::halves;
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
  m->code = EncodedMatrix::Code::indices;
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
  using Code = EncodedMatrix::Code;
  if (m.code == Code::indices) return decode_indices(m, row, out);
  const std::uint8_t* at = m.bytes.data() + row / tile_rows * m.tile_bytes();
  std::size_t r = row % tile_rows;
  if (m.code == Code::halves) {
    const auto* halves = reinterpret_cast<const std::uint16_t*>(at) + r;
    for (std::size_t k = 0; k < m.depth; ++k) out[k] = half_to_float(halves[k * tile_rows]);
    return;
  }
  bool two = m.second != EncodedMatrix::Second::none;
  for (std::size_t k = 0; k < m.depth; ++k) {
    const std::uint8_t* unit = at + k / unit_depth * m.unit_bytes();
    std::size_t within = k % unit_depth;
    float scale = m.scales ? 0 : m.row_scales[row], second = !m.scales && two ? m.row_minima[row] : 0;
    if (m.scales) {
      const std::uint8_t* scales = unit + within * m.scales / unit_depth * m.scale_bytes() * (two ? 2 : 1);
      scale = scale_at(m, scales, r);
      if (two) second = scale_at(m, scales + m.scale_bytes(), r);
    }
    if (m.second == EncodedMatrix::Second::offset) second *= -scale;
    const std::uint8_t* codes = unit + m.header_bytes();
    int code;
    if (m.code == Code::eight) {
      code = codes[within / 4 * 64 + r * 4 + within % 4];
    } else {
      std::size_t place = within % 16;
      int both = codes[(within / 32 * 4 + place / 4) * 64 + r * 4 + place % 4];
      code = within % 32 < 16 ? both & 15 : both >> 4;
      if (m.code == Code::table) code = m.table[code];
    }
    out[k] = scale * float(code - m.zero) + second;
  }
}

}  // namespace pomona::cpu
