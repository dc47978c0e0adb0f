// Products of codes with vectors as two planes of bytes (encoded_product.h), for processors that multiply bytes in
// registers of 16 or 32. A file of one such target defines POMONA_BYTES, its function attribute, includes this, says
// what its registers can do in a struct, and has a ProductTarget from it:
//
//   constexpr ProductTarget target = ByteProducts<Machine>::target;
//
// Machine: `parts` registers hold the codes of four inputs of 16 rows, as unsigned bytes. Accumulator<bits> sums the
// products of codes of so many bits with the four inputs' signed bytes, or of those codes less taken_off<bits>. See
// encoded_product_neon.cpp.
#pragma once
#include <algorithm>
#include <cstring>
#include <limits>

#include "cpu/encoded_product.h"

#define POMONA_BYTES_INLINE POMONA_BYTES __attribute__((always_inline)) inline

namespace pomona::cpu {
namespace {

using Code = EncodedMatrix::Code;
using Scales = EncodedMatrix::Scales;

template <class Machine>
struct ByteProducts {
  using Register = typename Machine::Register;
  using Floats = typename Machine::Floats;
  static constexpr std::size_t parts = Machine::parts, part_bytes = 64 / parts, part_rows = tile_rows / parts;
  static constexpr std::size_t unpacked_unit = tile_rows * unit_depth;

  static constexpr int bits_of(Code code) {
    return code == Code::table ? 8 : int(EncodedMatrix::lower_bits(code) + EncodedMatrix::upper_bits(code));
  }
  static int taken_off(Code code) { return bits_of(code) == 8 ? Machine::template taken_off<8> : 0; }

  POMONA_BYTES static void quantise_vector(const EncodedMatrix& m, const float* x, std::uint8_t* to) {
    const ActivationLayout layout(m);
    auto* scales = reinterpret_cast<float*>(to + layout.scales());
    auto* sums = reinterpret_cast<float*>(to + layout.sums());
    auto* zeros = reinterpret_cast<std::int32_t*>(to + layout.zeros());
    const std::size_t group = m.group();
    float total = 0;
    for (std::size_t g = 0; g < layout.groups; ++g) {
      const std::size_t k = g * group;
      auto* planes = reinterpret_cast<std::int8_t*>(to) + k / unit_depth * unit_depth * 2 + k % unit_depth;
      float rest[32] = {};
      const float* from = x + k;
      if (k + group > m.depth) {
        std::copy(x + std::min(k, m.depth), x + m.depth, rest);
        from = rest;
      }
      // As integers, magnitudes are ordered with infinity and NaN above all numbers: these make the whole group NaN.
      const std::uint32_t bits = Machine::largest_magnitude(from, group);
      float largest;
      std::memcpy(&largest, &bits, 4);
      const bool finite = bits < 0x7F800000;
      const float inverse = largest > 1e-30f && finite ? largest_integer / largest : 0;
      scales[g] = finite ? (inverse == 0 ? 0 : largest / largest_integer) : std::numeric_limits<float>::quiet_NaN();
      if (!finite) std::fill_n(rest, 32, 0.0f), from = rest;
      const std::int32_t sum = Machine::quantise(from, group, inverse, planes, planes + unit_depth);
      sums[g] = scales[g] * float(sum);
      zeros[g] = (m.zero - taken_off(m.code)) * sum;
      total += sums[g];
    }
    std::memcpy(to + layout.total(), &total, 4);
  }
  static void quantise(const EncodedProduct& p, std::size_t first, std::size_t last) {
    for (std::size_t t = first; t < last; ++t)
      quantise_vector(*p.m, p.x + t * p.x_stride, p.activations + t * activation_bytes(*p.m));
  }

  // The codes of four inputs of the rows of a part, from where a unit's codes begin.
  template <Code code>
  struct Packed {
    static constexpr int bits = bits_of(code);
    typename Machine::Table table;
    POMONA_BYTES_INLINE explicit Packed(const EncodedMatrix& m) : table(Machine::load_table(m.table)) {}
    POMONA_BYTES_INLINE Register operator()(const std::uint8_t* codes, std::size_t four, std::size_t part) const {
      if constexpr (code == Code::eight) {
        return Machine::load(codes + four * 64 + part * part_bytes);
      } else {
        constexpr std::size_t lower = EncodedMatrix::lower_bits(code), upper = EncodedMatrix::upper_bits(code);
        Register v = some<lower>(codes + part * part_bytes, four);
        if constexpr (code == Code::table) v = Machine::look_up(table, v);
        if constexpr (upper > 0) {
          const Register above = some<upper>(codes + 2 * lower * 64 + part * part_bytes, four);
          v = Machine::either(v, Machine::shift_left(above, int(lower)));
        }
        return v;
      }
    }
    template <std::size_t count>
    POMONA_BYTES_INLINE static Register some(const std::uint8_t* codes, std::size_t four) {
      const BitPlace place = place_of_bits(count, four);
      return Machine::bits(Machine::load(codes + place.vector * 64), place.shift, (1 << count) - 1);
    }
  };
  // Codes that have been unpacked, a byte each.
  template <int code_bits>
  struct Unpacked {
    static constexpr int bits = code_bits;
    explicit Unpacked(const EncodedMatrix&) {}
    POMONA_BYTES_INLINE Register operator()(const std::uint8_t* codes, std::size_t four, std::size_t part) const {
      return Machine::load(codes + four * 64 + part * part_bytes);
    }
  };

  template <Code code>
  POMONA_BYTES static void unpack(const EncodedMatrix& m, std::size_t tile, std::uint8_t* to) {
    const Packed<code> codes_of(m);
    const std::uint8_t* from = m.bytes.data() + tile * m.tile_bytes() + m.header_bytes();
    for (std::size_t unit = 0; unit < m.units(); ++unit, to += unpacked_unit)
#pragma GCC unroll 16
      for (std::size_t four = 0; four < 16; ++four)
        for (std::size_t part = 0; part < parts; ++part)
          Machine::store(codes_of(from + m.unit_start(unit), four, part), to + four * 64 + part * part_bytes);
  }

  // The dot products of a group, whose first four is `first`, of `width` parts with each of `tokens` vectors.
  template <int bits, int group, int tokens, int width>
  struct Dots {
    typename Machine::template Accumulator<bits> high[tokens][width], low[tokens][width];
    POMONA_BYTES_INLINE Dots() {}

    template <class Source>
    POMONA_BYTES_INLINE void add(const Source& codes_of, const std::uint8_t* codes, std::size_t first, std::size_t part,
                                 const std::uint8_t* planes, std::size_t stride) {
#pragma GCC unroll 8
      for (std::size_t i = 0; i < group / 4; ++i) {
        Register c[width];
#pragma GCC unroll 4
        for (int r = 0; r < width; ++r) c[r] = codes_of(codes, first + i, part + std::size_t(r));
#pragma GCC unroll 4
        for (int t = 0; t < tokens; ++t) {
          const std::uint8_t* at = planes + std::size_t(t) * stride + (first + i) * 4;
          const Register h = Machine::four(at), l = Machine::four(at + unit_depth);
#pragma GCC unroll 4
          for (int r = 0; r < width; ++r) {
            high[t][r].add(c[r], h, i);
            low[t][r].add(c[r], l, i);
          }
        }
      }
    }
  };

  template <int tokens>
  POMONA_BYTES static void finish(const EncodedProduct& p, std::size_t tile, std::size_t token,
                                  const Floats (&sums)[tokens][parts]) {
    const EncodedMatrix& m = *p.m;
    const ActivationLayout layout(m);
    const std::size_t row = tile * tile_rows, rows = std::min(tile_rows, m.rows - row);
    for (std::size_t t = 0; t < std::size_t(tokens); ++t) {
      float out[tile_rows], total;
      std::memcpy(&total, p.activations + (token + t) * layout.bytes() + layout.total(), 4);
      for (std::size_t part = 0; part < parts; ++part) Machine::store(sums[t][part], out + part * part_rows);
      for (std::size_t r = 0; r < rows; ++r) {
        if (!m.scales) out[r] *= m.row_scales[row + r];
        if (!m.row_minima.empty()) out[r] += total * m.row_minima[row + r];
        p.y[(token + t) * p.y_stride + row + r] = out[r] + (p.bias ? p.bias[row + r] : 0);
      }
    }
  }

  // `unpacked` has the codes of the tile, or is null.
  template <class Source, int group, int tokens>
  POMONA_BYTES static void multiply_block(const EncodedProduct& p, std::size_t tile, std::size_t token,
                                          const std::uint8_t* unpacked) {
    // The sums of four vectors and sixteen rows are more than there are registers.
    constexpr int groups = 64 / group, width = int(tokens > 2 ? parts / 2 : parts);
    const EncodedMatrix& m = *p.m;
    const ActivationLayout layout(m);
    const std::size_t bytes = layout.bytes(), scale_bytes = m.scale_bytes(),
                      step = m.scales < groups ? 0 : scale_bytes * m.per_block();
    const bool seconds = m.scales != 0 && m.second != EncodedMatrix::Second::none,
               offsets = m.second == EncodedMatrix::Second::offset;
    const std::uint8_t *x = p.activations + token * bytes, *whole = m.bytes.data() + tile * m.tile_bytes();
    const Source codes_of(m);
    Floats sums[tokens][parts];
    for (int t = 0; t < tokens; ++t)
      for (std::size_t part = 0; part < parts; ++part) sums[t][part] = Machine::set(0);
    for (std::size_t unit = 0; unit < m.units(); ++unit) {
      const std::uint8_t *w = whole + m.unit_start(unit), *d = whole + m.span_start(unit),
                         *codes = unpacked ? unpacked + unit * unpacked_unit : w + m.header_bytes();
      if (tokens == 1)
        for (std::size_t ahead = 0; ahead < m.unit_bytes(); ahead += 64) __builtin_prefetch(w + 4096 + ahead);
#pragma GCC unroll 4
      for (std::size_t g = 0; g < groups; ++g) {
        const std::size_t number = unit * groups + g;
        const std::uint8_t* at = w + g * step;
        for (std::size_t first = 0; first < parts; first += width) {
          Dots<Source::bits, group, tokens, width> dots;
          dots.add(codes_of, codes, g * (group / 4), first, x + unit * 128, bytes);
#pragma GCC unroll 4
          for (int r = 0; r < width; ++r) {
            const std::size_t part = first + std::size_t(r);
            const Floats scale = m.scales ? load_scales(at, m.form, d, part) : Machine::set(1);
            Floats second = seconds ? load_scales(at + scale_bytes, m.form, d + 64, part) : Machine::set(0);
            if (offsets) second = Machine::multiply(second, Machine::multiply(scale, Machine::set(-1)));
#pragma GCC unroll 4
            for (int t = 0; t < tokens; ++t) {
              const std::uint8_t* parameters = x + std::size_t(t) * bytes + number * 4;
              float factor, sum;
              std::int32_t zeros;
              std::memcpy(&factor, parameters + layout.scales(), 4);
              std::memcpy(&sum, parameters + layout.sums(), 4);
              std::memcpy(&zeros, parameters + layout.zeros(), 4);
              const Floats n = Machine::joined(dots.high[t][r].sums(), dots.low[t][r].sums(), zeros);
              Floats& into = sums[t][part];
              into = Machine::multiply_add(n, Machine::multiply(scale, Machine::set(factor)), into);
              if (seconds) into = Machine::multiply_add(second, Machine::set(sum), into);
            }
          }
        }
      }
    }
    finish<tokens>(p, tile, token, sums);
  }

  // Of the rows of a part; `d` are those of the span.
  POMONA_BYTES_INLINE static Floats load_scales(const std::uint8_t* at, Scales form, const std::uint8_t* d,
                                                std::size_t part) {
    const std::size_t row = part * part_rows;
    if (form == Scales::halves) return Machine::halves(at + row * 2);
    if (form == Scales::floats) return Machine::floats(at + row * 4);
    return Machine::multiply(Machine::floats(d + row * 4), Machine::integers(at + row));
  }

  template <class Source, int group>
  static void multiply_tokens(const EncodedProduct& p, std::size_t tile, std::size_t token, std::size_t last_token,
                              const std::uint8_t* unpacked) {
    for (; token + 4 <= last_token; token += 4) multiply_block<Source, group, 4>(p, tile, token, unpacked);
    if (token + 2 <= last_token) multiply_block<Source, group, 2>(p, tile, token, unpacked), token += 2;
    if (token < last_token) multiply_block<Source, group, 1>(p, tile, token, unpacked);
  }

  template <Code code, int group>
  static void multiply_tiles(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile,
                             std::size_t first_token, std::size_t last_token) {
    // Many vectors: it pays to unpack the codes once for all.
    const bool many = last_token - first_token >= 16;
    const std::size_t tile_codes = p.m->units() * unpacked_unit;
    thread_local HugeBytes buffer;
    if (many && buffer.size() < tile_codes) buffer = HugeBytes(tile_codes);
    for (std::size_t tile = first_tile; tile < last_tile; ++tile) {
      if (many) {
        unpack<code>(*p.m, tile, buffer.data());
        multiply_tokens<Unpacked<bits_of(code)>, group>(p, tile, first_token, last_token, buffer.data());
      } else {
        multiply_tokens<Packed<code>, group>(p, tile, first_token, last_token, nullptr);
      }
    }
  }

  template <Code code>
  static void multiply_codes(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile,
                             std::size_t first_token, std::size_t last_token) {
    auto run = p.m->group() == 16 ? multiply_tiles<code, 16> : multiply_tiles<code, 32>;
    run(p, first_tile, last_tile, first_token, last_token);
  }

  static void multiply(const EncodedProduct& p, std::size_t first_tile, std::size_t last_tile, std::size_t first_token,
                       std::size_t last_token) {
    auto run = p.m->code == Code::two     ? multiply_codes<Code::two>
               : p.m->code == Code::three ? multiply_codes<Code::three>
               : p.m->code == Code::four  ? multiply_codes<Code::four>
               : p.m->code == Code::five  ? multiply_codes<Code::five>
               : p.m->code == Code::six   ? multiply_codes<Code::six>
               : p.m->code == Code::eight ? multiply_codes<Code::eight>
                                          : multiply_codes<Code::table>;
    run(p, first_tile, last_tile, first_token, last_token);
  }

  static constexpr ProductTarget target{quantise, multiply};
};

}  // namespace
}  // namespace pomona::cpu
