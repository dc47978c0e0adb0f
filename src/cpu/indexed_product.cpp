// Products of a matrix of indices into tables (encoded_matrix.h) with vectors of floats: what the indices stand for is
// looked up 16 at a time, and never stored.
#include <algorithm>
#include <cstring>

#include <hwy/cache_control.h>

#include "cpu/encoded_product.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/indexed_product.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pomona::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Floats>;
constexpr std::size_t run = 32;  // inputs whose indices lie together

// What the 32 indices of a run stand for, vector by vector.
#if HWY_MAX_BYTES >= 64
constexpr std::size_t run_vectors = 2;
struct Entries {
  Vector entries;
  void load(const std::uint16_t* table) {
    const hn::Rebind<hwy::float16_t, Floats> halves;
    entries = hn::PromoteTo(Floats(), hn::LoadU(halves, reinterpret_cast<const hwy::float16_t*>(table)));
  }
  HWY_INLINE void look_up(const std::uint8_t* indices, Vector (&out)[run_vectors]) const {
    const Floats d;
    const hn::RebindToSigned<Floats> integers;
    const hn::Rebind<std::uint8_t, Floats> bytes;
    const auto both = hn::PromoteTo(integers, hn::LoadU(bytes, indices));
    const auto low = hn::And(both, hn::Set(integers, 15));
    out[0] = hn::TableLookupLanes(entries, hn::IndicesFromVec(d, low));
    out[1] = hn::TableLookupLanes(entries, hn::IndicesFromVec(d, hn::ShiftRight<4>(both)));
  }
};
#elif HWY_TARGET == HWY_SCALAR
constexpr std::size_t run_vectors = 32;
struct Entries {
  const std::uint16_t* entries = nullptr;
  void load(const std::uint16_t* table) { entries = table; }
  void look_up(const std::uint8_t* indices, Vector (&out)[run_vectors]) const {
    const hn::Rebind<hwy::float16_t, Floats> half;
    for (std::size_t k = 0; k < run; ++k) {
      const std::uint16_t* entry = entries + (k < 16 ? indices[k] & 15 : indices[k - 16] >> 4);
      out[k] = hn::PromoteTo(Floats(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(entry)));
    }
  }
};
#else
// Each half's two bytes are looked up on their own.
constexpr std::size_t run_vectors = run / hn::MaxLanes(Floats());
struct Entries {
  using Bytes = hn::Full128<std::uint8_t>;
  hn::Vec<Bytes> low, high;
  void load(const std::uint16_t* table) {
    HWY_ALIGN std::uint8_t parts[2][16];
    for (std::size_t i = 0; i < 16; ++i)
      parts[0][i] = std::uint8_t(table[i]), parts[1][i] = std::uint8_t(table[i] >> 8);
    low = hn::Load(Bytes(), parts[0]);
    high = hn::Load(Bytes(), parts[1]);
  }
  HWY_INLINE void look_up(const std::uint8_t* indices, Vector (&out)[run_vectors]) const {
    const Floats d;
    const Bytes bytes;
    const hn::Rebind<hwy::float16_t, Floats> halves;
    const auto both = hn::LoadU(bytes, indices);
    HWY_ALIGN std::uint8_t joined[run * 2];
    for (std::size_t half = 0; half < 2; ++half) {
      const auto index = half ? hn::ShiftRight<4>(both) : hn::And(both, hn::Set(bytes, 15));
      const auto l = hn::TableLookupBytes(low, index), h = hn::TableLookupBytes(high, index);
      hn::Store(hn::InterleaveLower(bytes, l, h), bytes, joined + half * 32);
      hn::Store(hn::InterleaveUpper(bytes, l, h), bytes, joined + half * 32 + 16);
    }
    for (std::size_t v = 0; v < run_vectors; ++v)
      out[v] =
          hn::PromoteTo(d, hn::LoadU(halves, reinterpret_cast<const hwy::float16_t*>(joined) + v * hn::MaxLanes(d)));
  }
};
#endif

// One row times `tokens` vectors. `rest`: of each the inputs behind the last whole run, and zeros.
template <int tokens>
HWY_INLINE void multiply_row(const EncodedProduct& p, std::size_t row, std::size_t token, const float* rest) {
  const Floats d;
  const EncodedMatrix& m = *p.m;
  const std::size_t lanes = hn::Lanes(d), whole = m.depth / run;
  const std::uint8_t* indices = m.bytes.data() + row * m.row_bytes();
  const float* x = p.x + token * p.x_stride;
  // A lone vector's sums need not wait for each other.
  constexpr std::size_t chains = tokens == 1 ? 2 : 1;
  Vector sums[tokens][chains];
  HWY_UNROLL(8) for (int t = 0; t < tokens; ++t) {
    HWY_UNROLL(2) for (std::size_t c = 0; c < chains; ++c) sums[t][c] = hn::Zero(d);
  }
  Entries entries;
  auto add = [&](std::size_t i, const float* from, std::size_t stride) HWY_ATTR {
    Vector w[run_vectors];
    entries.look_up(indices + i * 16, w);
    HWY_UNROLL(8) for (std::size_t v = 0; v < run_vectors; ++v) {
      HWY_UNROLL(8) for (int t = 0; t < tokens; ++t) {
        const auto element = hn::LoadU(d, from + std::size_t(t) * stride + v * lanes);
        sums[t][v % chains] = hn::MulAdd(element, w[v], sums[t][v % chains]);
      }
    }
  };
  const bool one_table = m.table_depth >= m.depth;
  entries.load(m.table_of(row, 0));
  for (std::size_t i = 0; i < whole; ++i) {
    if (!one_table && i * run % m.table_depth == 0) entries.load(m.table_of(row, i * run));
    if constexpr (tokens == 1) hwy::Prefetch(indices + i * 16 + 2048);
    add(i, x + i * run, p.x_stride);
  }
  if (whole * run < m.depth) {
    if (!one_table && whole * run % m.table_depth == 0) entries.load(m.table_of(row, whole * run));
    add(whole, rest, run);
  }
  HWY_UNROLL(8) for (int t = 0; t < tokens; ++t) {
    auto sum = sums[t][0];
    HWY_UNROLL(2) for (std::size_t c = 1; c < chains; ++c) sum = hn::Add(sum, sums[t][c]);
    p.y[(token + std::size_t(t)) * p.y_stride + row] =
        hn::GetLane(hn::SumOfLanes(d, sum)) + (p.bias ? p.bias[row] : 0.0f);
  }
}

void multiply_indices_here(const EncodedProduct& p, const float* rest, std::size_t first_row, std::size_t last_row,
                           std::size_t first_token, std::size_t last_token) {
  for (std::size_t row = first_row; row < last_row; ++row) {
    std::size_t token = first_token;
    for (; token + 8 <= last_token; token += 8) multiply_row<8>(p, row, token, rest + (token - first_token) * run);
    for (; token + 4 <= last_token; token += 4) multiply_row<4>(p, row, token, rest + (token - first_token) * run);
    for (; token < last_token; ++token) multiply_row<1>(p, row, token, rest + (token - first_token) * run);
  }
}

}  // namespace pomona::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <vector>

namespace pomona::cpu {
namespace {

HWY_EXPORT(multiply_indices_here);

}  // namespace

void multiply_indices(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
                      std::size_t last_token) {
  constexpr std::size_t run = 32;
  const EncodedMatrix& m = *p.m;
  std::size_t whole = m.depth / run * run;
  std::vector<float> rest(whole < m.depth ? (last_token - first_token) * run : 0);
  if (!rest.empty())
    for (std::size_t t = first_token; t < last_token; ++t)
      std::copy_n(p.x + t * p.x_stride + whole, m.depth - whole, &rest[(t - first_token) * run]);
  HWY_DYNAMIC_DISPATCH(multiply_indices_here)
  (p, rest.data(), first_tile * tile_rows, std::min(last_tile * tile_rows, m.rows), first_token, last_token);
}

}  // namespace pomona::cpu
#endif
