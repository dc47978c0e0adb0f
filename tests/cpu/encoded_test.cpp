// Products with weights in their compressed forms, against the reference: decoded, then multiplied in double precision.
#include <random>

#include "base/half.h"
#include "cpu/encoded_product.h"
#include "kernel_case.h"
#include "ops/activation.h"
#include "ops/constexpr.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/shape.h"

namespace pomona::cpu {
namespace {

enum class Offset { none, integer, one, floating };
struct Encoding {
  DType data = DType::int4;
  std::int64_t block = 32;  // along the inputs; 0: one scale per row
  Offset offset = Offset::none;
  bool table = false;  // data are indices into a table of int8
  bool wide = false;   // a float scale
  std::int64_t row_block = 1;
  double values = 0;  // so many different ones only
};

Tensor random_integers(DType dtype, Sizes sizes, unsigned seed, double least, double most) {
  std::mt19937 random(seed);
  std::vector<double> numbers(std::size_t(element_count(sizes)));
  for (double& v : numbers) v = least + double(random() % unsigned(most - least + 1));
  return Tensor::from_numbers(dtype, std::move(sizes), numbers);
}
std::pair<double, double> range_of(DType dtype) {
  unsigned bits = info(dtype).bits;
  if (info(dtype).is_signed) return {-double(1 << (bits - 1)), double((1 << (bits - 1)) - 1)};
  return {0, double((1 << bits) - 1)};
}

// A weight of [rows, depth], or of `sizes` with these as the axes given.
Value encoded_weight(Builder& g, Value like, const Encoding& e, Sizes sizes, std::size_t row_axis = 0,
                     std::size_t depth_axis = 1) {
  auto [least, most] = range_of(e.data);
  if (e.values > 0) most = least + e.values - 1;
  Value data = g.constant(random_integers(e.data, sizes, 11, least, most));
  if (e.table) {
    Sizes lut(sizes.size(), 1);
    lut.insert(lut.end(), {std::int64_t(1) << info(e.data).bits, 1});
    data = g.add(mil::constexpr_lut_to_dense{.indices = data,
                                             .lut = g.constant(random_integers(DType::int8, lut, 12, -127, 127))});
  }
  Sizes blocks(sizes.size(), 1);
  blocks[row_axis] = sizes[row_axis] / e.row_block;
  blocks[depth_axis] = e.block ? sizes[depth_axis] / e.block : 1;
  std::mt19937 random(13);
  std::vector<double> scales(std::size_t(element_count(blocks)));
  for (double& s : scales) {
    s = 0.002 + 0.001 * double(random() % 1000) / 1000;
    if (!e.wide) s = half_to_float(double_to_half(s));
  }
  mil::constexpr_blockwise_shift_scale op{.data = data,
                                          .scale = g.constant(Tensor::from_numbers(like.dtype(), blocks, scales))};
  DType integers = e.table ? DType::int8 : e.data;
  if (e.offset == Offset::integer) op.offset = g.constant(random_integers(integers, blocks, 14, 0, 7));
  if (e.offset == Offset::one) op.offset = g.constant(random_integers(integers, blocks, 14, 5, 5));
  if (e.offset == Offset::floating)
    op.offset = g.constant(Tensor::from_numbers(like.dtype(), blocks, [&] {
      std::vector<double> offsets;
      for (std::size_t i = 0; i < scales.size(); ++i) offsets.push_back(double(random() % 4000) / 300 - 3);
      return offsets;
    }()));
  return g.add(op);
}

constexpr double tolerance = 6e-5;

Case linear(std::string name, std::int64_t vectors, std::int64_t depth, std::int64_t rows, Encoding e,
            bool bias = true) {
  return {std::move(name),
          {{'F', {vectors, depth}}},
          [=](Builder& g, const Values& v) {
            mil::linear op{.x = v[0], .weight = encoded_weight(g, v[0], e, {rows, depth})};
            if (bias) op.bias = random_constant(g, v[0], {rows}, 2);
            return Values{g.add(mil::silu{.x = g.add(op)})};
          },
          tolerance};
}

std::vector<Case> cases() {
  std::vector<Case> all;
  auto add = [&](Case c) { all.push_back(std::move(c)); };
  struct Named {
    std::string name;
    DType dtype;
  };
  for (const auto& [name, dtype] : std::vector<Named>{
           {"int4", DType::int4}, {"uint4", DType::uint4}, {"int8", DType::int8}, {"uint8", DType::uint8}})
    for (std::int64_t block : {16, 32, 64, 96, 0}) {
      std::int64_t depth = block == 96 ? 288 : 320;
      std::string text = name + "_block_" + std::to_string(block);
      add(linear(text, 1, depth, 100, {dtype, block}));
      add(linear(text + "_offsets", 7, depth, 75, {dtype, block, Offset::integer}));
      add(linear(text + "_one_offset", 2, depth, 75, {dtype, block, Offset::one}, false));
      add(linear(text + "_float_offsets", 21, depth, 83, {dtype, block, Offset::floating, false, true}));
    }
  for (std::int64_t vectors : {1, 3, 5, 13, 97, 200})
    for (std::int64_t depth : {96, 160, 2048})
      add(linear("vectors_" + std::to_string(vectors) + "_depth_" + std::to_string(depth), vectors, depth, 177,
                 {DType::uint4, 32}));
  add(linear("odd_depth", 5, 333, 60, {DType::int8, 0}));
  add(linear("odd_depth_int4", 5, 333, 60, {DType::int4, 0, Offset::integer}));
  add(linear("block_of_8", 5, 320, 60, {DType::int4, 8}));
  add(linear("rows_share_scales", 5, 320, 60, {.data = DType::int8, .block = 0, .row_block = 4}));
  add(linear("one_scale", 5, 320, 60, {.data = DType::int4, .block = 0, .row_block = 60}));
  add(linear("table_4_bits", 5, 320, 61, {.data = DType::uint4, .table = true}));
  add(linear("table_4_bits_of_16", 9, 320, 61, {.data = DType::uint4, .block = 16, .table = true}));
  add(linear("table_2_bits", 1, 320, 61, {.data = DType::uint2, .table = true}));
  add(linear("table_6_bits", 5, 320, 61, {.data = DType::uint6, .block = 16, .table = true}));
  add(linear("few_values", 5, 320, 61, {.data = DType::int8, .offset = Offset::integer, .values = 16}));
  for (bool transposed : {false, true})
    add({transposed ? "matmul_transposed" : "matmul",
         {{'F', {2, 3, 320}}},
         [=](Builder& g, const Values& v) {
           Value w = transposed ? encoded_weight(g, v[0], {DType::int4, 32}, {70, 320})
                                : encoded_weight(g, v[0], {DType::int4, 32}, {320, 70}, 1, 0);
           return Values{g.add(mil::matmul{.x = v[0], .y = w, .transpose_y = transposed})};
         },
         tolerance});
  add({"convolution",
       {{'F', {2, 320, 1, 9}}},
       [](Builder& g, const Values& v) {
         Value w = encoded_weight(g, v[0], {DType::int4, 32}, {72, 320, 1, 1});
         Value y = g.add(mil::conv{.x = v[0], .weight = w, .bias = random_constant(g, v[0], {72}, 2)});
         return Values{g.add(mil::add{.x = y, .y = random_constant(g, v[0], {1, 72, 1, 9}, 5)})};
       },
       tolerance});
  add({"embedding_and_head",
       {{'n', {2, 5}}, {'F', {3, 96}}},
       [](Builder& g, const Values& v) {
         Value w = encoded_weight(g, v[1], {DType::uint4, 32, Offset::floating, false, true}, {301, 96});
         return Values{g.add(mil::gather{.x = w, .indices = v[0], .axis = 0, .validate_indices = false}),
                       g.add(mil::linear{.x = v[1], .weight = w})};
       },
       tolerance});
  for (std::int64_t vectors : {1, 6, 30})
    add({"halves_" + std::to_string(vectors), {{'F', {vectors, 301}}}, [=](Builder& g, const Values& v) {
           std::mt19937 random(4);
           std::vector<double> numbers(301 * 75);
           for (double& n : numbers) n = half_to_float(double_to_half(double(random() % 2000) / 10000 - 0.1));
           return Values{g.add(
               mil::linear{.x = v[0], .weight = g.constant(Tensor::from_numbers(v[0].dtype(), {75, 301}, numbers))})};
         }});
  add({"indices_into_halves", {{'F', {4, 320}}}, [](Builder& g, const Values& v) {
         Value indices = g.constant(random_integers(DType::uint4, {64, 320}, 3, 0, 15));
         std::vector<double> table;
         for (int i = 0; i < 64; ++i) table.push_back(half_to_float(double_to_half(0.01 * (i % 16) - 0.07 * (i / 16))));
         Value lut = g.constant(Tensor::from_numbers(v[0].dtype(), {4, 1, 16, 1}, table));
         Value w = g.add(mil::constexpr_lut_to_dense{.indices = indices, .lut = lut});
         return Values{g.add(mil::linear{.x = v[0], .weight = w})};
       }});
  add({"affine",
       {{'F', {4, 320}}},
       [](Builder& g, const Values& v) {
         std::vector<double> scales;
         for (int i = 0; i < 64; ++i) scales.push_back(half_to_float(double_to_half(0.001 * (i % 5 + 1))));
         mil::constexpr_affine_dequantize op{
             .quantized_data = g.constant(random_integers(DType::uint8, {64, 320}, 3, 0, 255)),
             .zero_point = g.constant(random_integers(DType::uint8, {64}, 5, 100, 150)),
             .scale = g.constant(Tensor::from_numbers(v[0].dtype(), {64}, scales)),
             .axis = 0};
         return Values{g.add(mil::linear{.x = v[0], .weight = g.add(op)})};
       },
       tolerance});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Encoded, KernelCase, testing::ValuesIn(cases()), name_of);

// What a matrix is to be held as, and numbers that have that form.
struct Drawn {
  EncodedMatrix::Code code;
  EncodedMatrix::Scales form;
  EncodedMatrix::Second second;
  std::size_t block, rows, depth;
  bool is_signed;
};
std::string describe(const Drawn& d) {
  return fmt::format("code {} scales {} second {} block {} of {} x {}{}", int(d.code), int(d.form), int(d.second),
                     d.block, d.rows, d.depth, d.is_signed ? " signed" : "");
}

struct DrawnMatrix {
  std::vector<std::uint8_t> codes;
  std::vector<std::int8_t> table;
  IntegerMatrix from;
  std::size_t blocks;

  float value(std::size_t row, std::size_t input) const {
    std::uint8_t code = codes[row * from.depth + input];
    float number = from.table ? from.table[code] : from.is_signed ? float(std::int8_t(code)) : float(code);
    std::size_t index = row * blocks + input / from.depth_block;
    return from.scale[index] * (number - (from.offset.empty() ? 0 : from.offset[index]));
  }
};

// Scales of a row's span are multiples of one number, as K-quants have them, or any.
DrawnMatrix draw(const Drawn& d, std::mt19937& random) {
  using Code = EncodedMatrix::Code;
  using Scales = EncodedMatrix::Scales;
  DrawnMatrix m{.codes = std::vector<std::uint8_t>(d.rows * d.depth), .blocks = (d.depth + d.block - 1) / d.block};
  int span = d.code == Code::table ? 16 : d.code == Code::eight ? 256 : 4 << int(d.code);  // two, three and so on
  int least = d.is_signed ? -span / 2 : d.code == Code::six ? 5 : 0;
  for (auto& c : m.codes) c = std::uint8_t(least + int(random() % unsigned(span)));
  m.codes[0] = std::uint8_t(least), m.codes[1] = std::uint8_t(least + span - 1);
  bool four_bits = d.code <= Code::four || d.code == Code::table;
  m.from = {m.codes.data(), four_bits ? 4u : 8u,      d.is_signed, d.rows, d.depth, std::ptrdiff_t(d.depth), 1, 1,
            d.block,        std::ptrdiff_t(m.blocks), 1,           {},     {}};
  if (d.code == Code::table) {
    for (int i = 0; i < 16; ++i) m.table.push_back(std::int8_t(random()));
    m.from.table = m.table.data();
  }
  auto half = [&] { return float(1024 + random() % 1024) * 0x1p-20f; };
  for (std::size_t row = 0; row < d.rows; ++row) {
    float of_scales = 0, of_minima = 0;
    for (std::size_t block = 0; block < m.blocks; ++block) {
      if (block * d.block % (span_units * unit_depth) == 0 || d.block > 256)
        of_scales = (random() % 2 ? 1.0f : -1.0f) * half(), of_minima = half();
      // 64: a scale that is no half, and one that needs all eight bits beside an odd one.
      float n = float(int(random() % 256) - 128), scale = of_scales * n / 64;
      if (d.form == Scales::halves) scale = half();
      if (d.form == Scales::floats) scale = 0.001f + 1e-7f * float(random() % 10000);
      m.from.scale.push_back(scale);
      if (d.second == EncodedMatrix::Second::none) continue;
      float offset = float(random() % 64) / 4 + 0.25f;
      if (d.second == EncodedMatrix::Second::minimum)
        offset = d.form == Scales::halves ? half() / scale : of_minima * float(random() % 64) / scale;
      m.from.offset.push_back(scale == 0 ? 1.25f : offset);
    }
  }
  return m;
}

void expect_products(const EncodedMatrix& m, const DrawnMatrix& from, const std::string& what, std::mt19937& random) {
  constexpr std::size_t vectors = 51;
  std::normal_distribution<float> normal;
  std::vector<float> x(vectors * m.depth), row(m.depth);
  for (float& v : x) v = normal(random);
  std::vector<double> expected(vectors * m.rows), size(vectors * m.rows);
  for (std::size_t r = 0; r < m.rows; ++r) {
    decode_row(m, r, row.data());
    for (std::size_t k = 0; k < m.depth; ++k) {
      float value = from.value(r, k);
      ASSERT_NEAR(row[k], value, 1e-5 * std::abs(value) + 2e-6) << what << " row " << r << " input " << k;
      for (std::size_t v = 0; v < vectors; ++v) {
        expected[v * m.rows + r] += double(value) * x[v * m.depth + k];
        size[v * m.rows + r] += double(value) * value;
      }
    }
  }
  for (const ProductTarget* target : usable_products()) {
    std::vector<float> y(vectors * m.rows), alone(vectors * m.rows);
    HugeBytes activations(activation_bytes(m) * vectors);
    EncodedProduct p{&m, x.data(), m.depth, vectors, activations.data(), nullptr, y.data(), m.rows};
    target->quantise(p, 0, vectors);
    target->multiply(p, 0, m.tiles(), 0, vectors);
    for (std::size_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(y[i], expected[i], 3e-4 * std::sqrt(size[i]) + 1e-6) << what << " result " << i;
    // The same to the last bit, whatever is done at once.
    p.y = alone.data();
    std::size_t few = random() % 24;
    target->multiply(p, 0, m.tiles(), 0, few);
    for (std::size_t v = few; v < vectors; ++v)
      for (std::size_t tile = 0; tile < m.tiles(); ++tile) target->multiply(p, tile, tile + 1, v, v + 1);
    EXPECT_EQ(y, alone) << what;
  }
}

// Every form, in shapes that end within a tile, a unit and a span: what a machine without byte products computes, and
// what this one does, against double precision.
TEST(EncodedProduct, EveryForm) {
  using Code = EncodedMatrix::Code;
  using Scales = EncodedMatrix::Scales;
  using Second = EncodedMatrix::Second;
  std::mt19937 random(1);
  for (Code code : {Code::two, Code::three, Code::four, Code::five, Code::six, Code::eight, Code::table})
    for (Scales form : {Scales::halves, Scales::floats, Scales::factors})
      for (Second second : {Second::none, Second::minimum, Second::offset})
        for (std::size_t block : {16, 32, 64, 128}) {
          if (second == Second::offset && form != Scales::halves) continue;
          // Indices have no sign; unsigned bytes are centred, which their minima do not take.
          bool is_signed = code != Code::table && (code == Code::eight || random() % 2 == 0);
          Drawn d{code, form, second, block, 1 + random() % 50, block + 1 + random() % 900, is_signed};
          DrawnMatrix drawn = draw(d, random);
          SharedMatrix m = encode_integers(drawn.from);
          ASSERT_TRUE(m) << describe(d);
          EXPECT_EQ(m->code, code) << describe(d);
          EXPECT_EQ(m->form, form) << describe(d);
          EXPECT_EQ(m->second, second) << describe(d);
          expect_products(*m, drawn, describe(d), random);
        }
}

// One scale per row.
TEST(EncodedProduct, RowScales) {
  using Code = EncodedMatrix::Code;
  std::mt19937 random(2);
  for (Code code : {Code::two, Code::three, Code::four, Code::five, Code::six, Code::eight, Code::table})
    for (auto second : {EncodedMatrix::Second::none, EncodedMatrix::Second::minimum}) {
      Drawn d{code, EncodedMatrix::Scales::floats, second, 1000, 1 + random() % 50, 1 + random() % 900, false};
      DrawnMatrix drawn = draw(d, random);
      SharedMatrix m = encode_integers(drawn.from);
      ASSERT_TRUE(m) << describe(d);
      EXPECT_EQ(m->code, code);
      expect_products(*m, drawn, describe(d), random);
    }
}

// Scales and minima as K-quants have them come back to the last bit, in fewer bytes.
TEST(EncodedProduct, FactorsAreExact) {
  constexpr std::size_t rows = 20, depth = 512, block = 32, blocks = depth / block;
  std::mt19937 random(3);
  std::vector<std::uint8_t> codes(rows * depth);
  for (auto& c : codes) c = std::uint8_t(random() % 16);
  IntegerMatrix from{codes.data(), 4, false, rows, depth, depth, 1, 1, block, blocks, 1, {}, {}};
  std::vector<float> minima;
  float d = 0, of_minima = 0;
  for (std::size_t i = 0; i < rows * blocks; ++i) {
    if (i % 8 == 0) d = float(1024 + random() % 1024) * 0x1p-20f, of_minima = float(1024 + random() % 1024) * 0x1p-18f;
    from.scale.push_back(d * float(i % 11 == 3 ? 0 : random() % 64));
    minima.push_back(-of_minima * float(i % 7 == 2 ? 0 : random() % 64));
    // A block without a scale is written as zeros, its minimum as the scale.
    if (from.scale[i] == 0) std::fill_n(&codes[i * block], block, std::uint8_t(0));
    from.offset.push_back(from.scale[i] == 0 ? -1 : -minima[i] / from.scale[i]);
    if (from.scale[i] == 0) from.scale[i] = minima[i];
  }
  SharedMatrix m = encode_integers(from);
  ASSERT_TRUE(m);
  ASSERT_EQ(m->form, EncodedMatrix::Scales::factors);
  EXPECT_EQ(m->tiles() * m->tile_bytes() * 8, 32 * depth * 19 / 4);
  std::vector<float> row(depth);
  for (std::size_t r = 0; r < rows; ++r) {
    decode_row(*m, r, row.data());
    for (std::size_t k = 0; k < depth; ++k) {
      std::size_t i = r * blocks + k / block;
      float scale = from.offset[i] == -1 ? 0 : from.scale[i];
      ASSERT_EQ(row[k], scale * float(codes[r * depth + k]) + minima[i]) << r << " " << k;
    }
  }
}

// Multiples from -128 to 127, or -127 to 128; where a single scale has no factor with its neighbours, or is no number,
// all stay as they are.
TEST(EncodedProduct, FactorsFitAByte) {
  using Scales = EncodedMatrix::Scales;
  constexpr std::size_t rows = 3, depth = 256, blocks = 8;
  std::vector<std::uint8_t> codes(rows * depth, 1);
  auto encoded = [&](std::vector<float> scales) {
    IntegerMatrix from{codes.data(), 4, false, rows, depth, depth, 1, 1, 32, blocks, 1, std::vector<float>(24), {}};
    for (std::size_t i = 0; i < 24; ++i) from.scale[i] = 0.3f * float(i % 5);
    std::copy(scales.begin(), scales.end(), from.scale.begin() + 8);
    SharedMatrix m = encode_integers(from);
    std::vector<float> row(depth);
    decode_row(*m, 1, row.data());
    for (std::size_t i = 0; i < scales.size(); ++i)
      EXPECT_TRUE(row[i * 32] == scales[i] || std::isnan(scales[i])) << scales[i];
    return m->form;
  };
  constexpr float d = 0.3f;
  EXPECT_EQ(encoded({d, 127 * d}), Scales::floats);  // not exact
  constexpr float e = 0x1.234p-3f;
  EXPECT_EQ(encoded({e, 127 * e, -128 * e, 0, 0, 0, 0, 0}), Scales::factors);
  EXPECT_EQ(encoded({e, -127 * e, 128 * e, 0, 0, 0, 0, 0}), Scales::factors);
  EXPECT_EQ(encoded({e, -128 * e, 128 * e, 0, 0, 0, 0, 0}), Scales::floats);
  EXPECT_EQ(encoded({0, 0, 0, 0, 0, 0, 0, 0}), Scales::factors);
  EXPECT_EQ(encoded({e, 129 * e, 0, 0, 0, 0, 0, 0}), Scales::floats);
  EXPECT_EQ(encoded({e, std::nextafter(e, 1.0f), 0, 0, 0, 0, 0, 0}), Scales::floats);
  EXPECT_EQ(encoded({e, NAN, 0, 0, 0, 0, 0, 0}), Scales::floats);
  EXPECT_EQ(encoded({0x1p-140f, 0x1p-139f, 0, 0, 0, 0, 0, 0}), Scales::floats);
}

// A vector with an infinity or a NaN gives NaN and nothing else does.
TEST(EncodedProduct, NanStaysWithItsVector) {
  std::vector<std::uint8_t> codes(16 * 64, 3);
  IntegerMatrix from{codes.data(), 4, false, 16, 64, 64, 1, 1, 32, 2, 1, std::vector<float>(32, 0.5f), {}};
  SharedMatrix m = encode_integers(from);
  for (const ProductTarget* target : usable_products()) {
    std::vector<float> x(2 * 64, 1.0f), y(2 * 16);
    x[5] = INFINITY;
    HugeBytes activations(activation_bytes(*m) * 2);
    EncodedProduct p{m.get(), x.data(), 64, 2, activations.data(), nullptr, y.data(), 16};
    target->quantise(p, 0, 2);
    target->multiply(p, 0, 1, 0, 2);
    for (std::size_t r = 0; r < 16; ++r) {
      EXPECT_FALSE(std::isfinite(y[r]));
      EXPECT_NEAR(y[16 + r], 96, 1e-2);
    }
  }
}

}  // namespace
}  // namespace pomona::cpu
