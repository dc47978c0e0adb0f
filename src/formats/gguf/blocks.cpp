#include "formats/gguf/blocks.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/threads.h"
#include "formats/gguf/block_formats.h"

namespace pomona::gguf {
namespace {

// About so many elements are decoded by a thread at a time.
constexpr std::size_t piece_elements = 1 << 16;

// Twice the values of FP4 E2M1 (OCP Microscaling Formats 1.0), so that they are whole numbers.
constexpr std::int8_t e2m1_doubled[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 32 nibbles: the low ones of 16 bytes, then the high ones.
template <class Code>
void nibbles(const std::uint8_t* packed, unsigned half, std::uint8_t* out, Code code) {
  for (unsigned i = 0; i < half; ++i) {
    out[i] = std::uint8_t(code(packed[i] & 15));
    out[i + half] = std::uint8_t(code(packed[i] >> 4));
  }
}
void fifth_bits(const std::uint8_t* packed, std::uint8_t* out) {
  auto bits = number_at<std::uint32_t>(packed);
  for (unsigned i = 0; i < 32; ++i) out[i] = std::uint8_t(out[i] | (bits >> i & 1) << 4);
}

void codes_q4_0(const std::uint8_t* block, std::uint8_t* out) {
  nibbles(block + 2, 16, out, [](int q) { return q - 8; });
}
void codes_q4_1(const std::uint8_t* block, std::uint8_t* out) {
  nibbles(block + 4, 16, out, [](int q) { return q; });
}
void codes_q5_0(const std::uint8_t* block, std::uint8_t* out) {
  nibbles(block + 6, 16, out, [](int q) { return q; });
  fifth_bits(block + 2, out);
  for (unsigned i = 0; i < 32; ++i) out[i] = std::uint8_t(out[i] - 16);
}
void codes_q5_1(const std::uint8_t* block, std::uint8_t* out) {
  nibbles(block + 8, 16, out, [](int q) { return q; });
  fifth_bits(block + 4, out);
}
void codes_q8_0(const std::uint8_t* block, std::uint8_t* out) { std::memcpy(out, block + 2, 32); }
void codes_q8_1(const std::uint8_t* block, std::uint8_t* out) { std::memcpy(out, block + 4, 32); }
void codes_q8_k(const std::uint8_t* block, std::uint8_t* out) { std::memcpy(out, block + 4, 256); }
void codes_iq4_nl(const std::uint8_t* block, std::uint8_t* out) {
  nibbles(block + 2, 16, out, [](int q) { return iq4_values[q]; });
}
void codes_mxfp4(const std::uint8_t* block, std::uint8_t* out) {
  nibbles(block + 1, 16, out, [](int q) { return e2m1_doubled[q]; });
}
void codes_nvfp4(const std::uint8_t* block, std::uint8_t* out) {
  for (unsigned s = 0; s < 4; ++s) nibbles(block + 4 + 8 * s, 8, out + 16 * s, [](int q) { return e2m1_doubled[q]; });
}
void codes_q1_0(const std::uint8_t* block, std::uint8_t* out) {
  for (unsigned i = 0; i < 128; ++i) out[i] = block[2 + i / 8] >> (i % 8) & 1 ? 1 : 0xFF;
}
void codes_q2_0(const std::uint8_t* block, std::uint8_t* out) {
  for (unsigned i = 0; i < 64; ++i) out[i] = std::uint8_t((block[2 + i / 4] >> (i % 4 * 2) & 3) - 1);
}

void one_half(const std::uint8_t* block, float* scales, float*) { *scales = half_at(block); }
void two_halves(const std::uint8_t* block, float* scales, float* shifts) {
  *scales = half_at(block);
  *shifts = half_at(block + 2);
}
void one_float(const std::uint8_t* block, float* scales, float*) { *scales = number_at<float>(block); }
// Half of 2^(e - 127), as the codes are doubled; the smallest two are below the normal numbers.
void half_e8m0(const std::uint8_t* block, float* scales, float*) { *scales = std::ldexp(1.0f, int(*block) - 128); }
// Unsigned E4M3, halved likewise. The reference takes the code for NaN as 0.
void half_e4m3(const std::uint8_t* block, float* scales, float*) {
  for (unsigned i = 0; i < 4; ++i) {
    int exponent = block[i] >> 3 & 15, mantissa = block[i] & 7;
    float value = exponent ? std::ldexp(1.0f + float(mantissa) / 8, exponent - 7) : std::ldexp(float(mantissa), -9);
    scales[i] = block[i] == 0x7F ? 0 : value * 0.5f;
  }
}

template <int first, std::size_t count>
constexpr std::array<std::int8_t, count> consecutive() {
  std::array<std::int8_t, count> values{};
  for (std::size_t i = 0; i < count; ++i) values[i] = std::int8_t(first + int(i));
  return values;
}
constexpr auto two_bits = consecutive<-1, 4>();
constexpr auto three_values = consecutive<-1, 3>();
constexpr auto five_bits = consecutive<-16, 32>();
constexpr auto six_bits = consecutive<-32, 64>();
constexpr std::int8_t one_bit[] = {-1, 1};
constexpr std::int8_t e2m1_sorted[] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};
constexpr std::int8_t iq2_values[] = {-43, -25, -8, 8, 25, 43};
constexpr std::int8_t iq3_xxs_values[] = {-62, -52, -44, -36, -28, -20, -12, -4, 4, 12, 20, 28, 36, 44, 52, 62};
constexpr std::int8_t iq3_s_values[] = {-15, -13, -11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15};
constexpr std::int8_t iq1_values[] = {-9, -7, -1, 1, 7, 9};

using enum DType;

constexpr BlockType plain(std::uint32_t id, std::string_view name, unsigned bytes, DType dtype) {
  return {id, name, 1, bytes, dtype};
}

constexpr BlockType table[] = {
    plain(0, "F32", 4, fp32),
    plain(1, "F16", 2, fp16),
    {2, "Q4_0", 32, 18, int4, 32, false, {}, codes_q4_0, one_half},
    {3, "Q4_1", 32, 20, uint4, 32, true, {}, codes_q4_1, two_halves},
    {6, "Q5_0", 32, 22, int8, 32, false, five_bits, codes_q5_0, one_half},
    {7, "Q5_1", 32, 24, uint8, 32, true, {}, codes_q5_1, two_halves},
    {8, "Q8_0", 32, 34, int8, 32, false, {}, codes_q8_0, one_half},
    {9, "Q8_1", 32, 36, int8, 32, false, {}, codes_q8_1, one_half},
    {10, "Q2_K", 256, 84, uint4, 16, true, {}, Q2K::codes, Q2K::scales},
    {11, "Q3_K", 256, 110, int4, 16, false, {}, Q3K::codes, Q3K::scales},
    {12, "Q4_K", 256, 144, uint4, 32, true, {}, Q4K::codes, Q4K::scales},
    {13, "Q5_K", 256, 176, uint8, 32, true, {}, Q5K::codes, Q4K::scales},
    {14, "Q6_K", 256, 210, int8, 16, false, six_bits, Q6K::codes, Q6K::scales},
    {15, "Q8_K", 256, 292, int8, 256, false, {}, codes_q8_k, one_float},
    {16, "IQ2_XXS", 256, 66, int8, 32, false, iq2_values, Iq2Xxs::codes, Iq2Xxs::scales},
    {17, "IQ2_XS", 256, 74, int8, 16, false, iq2_values, Iq2Xs::codes, Iq2Xs::scales},
    {18, "IQ3_XXS", 256, 98, int8, 32, false, iq3_xxs_values, Iq3Xxs::codes, Iq3Xxs::scales},
    {19, "IQ1_S", 256, 50, int8, 32, false, iq1_values, Iq1S::codes, Iq1S::scales},
    {20, "IQ4_NL", 32, 18, int8, 32, false, iq4_values, codes_iq4_nl, one_half},
    {21, "IQ3_S", 256, 110, int8, 32, false, iq3_s_values, Iq3S::codes, Iq3S::scales},
    {22, "IQ2_S", 256, 82, int8, 16, false, iq2_values, Iq2S::codes, Iq2S::scales},
    {23, "IQ4_XS", 256, 136, int8, 32, false, iq4_values, Iq4Xs::codes, Iq4Xs::scales},
    plain(24, "I8", 1, int8),
    plain(25, "I16", 2, int16),
    plain(26, "I32", 4, int32),
    plain(27, "I64", 8, int64),
    plain(28, "F64", 8, fp64),
    {29, "IQ1_M", 256, 56, int8, 16, false, iq1_values, Iq1M::codes, Iq1M::scales},
    plain(30, "BF16", 2, bf16),
    {34, "TQ1_0", 256, 54, int4, 256, false, three_values, Tq1::codes, Tq1::scales},
    {35, "TQ2_0", 256, 66, int4, 256, false, two_bits, Tq2::codes, Tq2::scales},
    {39, "MXFP4", 32, 17, int8, 32, false, e2m1_sorted, codes_mxfp4, half_e8m0},
    {40, "NVFP4", 64, 36, int8, 16, false, e2m1_sorted, codes_nvfp4, half_e4m3},
    {41, "Q1_0", 128, 18, int4, 128, false, one_bit, codes_q1_0, one_half},
    {42, "Q2_0", 64, 18, int4, 64, false, two_bits, codes_q2_0, one_half},
};

struct Removed {
  std::uint32_t id;
  std::string_view name;
};
constexpr Removed removed[] = {{4, "Q4_2"},      {5, "Q4_3"},        {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},
                               {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"}};

void decode_block(const BlockType& type, const std::uint8_t* block, float* out) {
  std::array<std::uint8_t, 256> codes;
  std::array<float, 16> scales, shifts;
  type.read_codes(block, codes.data());
  type.read_scales(block, scales.data(), shifts.data());
  bool is_signed = info(type.dtype).is_signed;
  for (unsigned i = 0, g = 0; i < type.elements; ++g) {
    float scale = scales[g];
    for (unsigned stop = i + type.group; i < stop; ++i) {
      int code = is_signed ? std::int8_t(codes[i]) : codes[i];
      // A statement of its own: the sum below must not be contracted with it.
      float product = scale * float(code);
      out[i] = type.shifted ? product + shifts[g] : product;
    }
  }
}

Result<Tensor> decode_blocks(const BlockType& type, const Sizes& sizes, const std::uint8_t* blocks) {
  Tensor out(DType::fp32, sizes);
  std::size_t count = out.count() / type.elements;
  float* to = out.mutable_view<float>().data();
  parallel_for(count, 1 + piece_elements / type.elements, [&](std::size_t begin, std::size_t end) {
    for (std::size_t b = begin; b < end; ++b) decode_block(type, blocks + b * type.bytes, to + b * type.elements);
  });
  return out;
}

}  // namespace

std::span<const BlockType> block_types() { return table; }

Result<const BlockType*> block_type(std::uint32_t id) {
  for (const BlockType& type : table)
    if (type.id == id) return &type;
  for (const Removed& type : removed)
    if (type.id == id)
      return fail("its type {} ({}) was taken out of the format; the file must be made again", type.name, id);
  return fail("its type {} is unknown", id);
}

Result<Weight> decoded(const TensorEntry& tensor) {
  const BlockType& type = *tensor.type;
  if (!type.group) {
    Weight stored = POM_TRY(Weight::stored(tensor.bytes, type.dtype, tensor.sizes));
    return type.dtype == fp16 || type.dtype == bf16 ? stored : Weight::cast(stored, fp32);
  }
  Weight blocks = POM_TRY(Weight::stored(tensor.bytes, uint8, {std::int64_t(tensor.bytes.size())}));
  return Weight::derived(
      {fmt::format("decode {} {}", type.name, to_string(tensor.sizes)),
       fp32,
       tensor.sizes,
       {blocks},
       [&type, sizes = tensor.sizes](std::span<const Tensor> in) { return decode_blocks(type, sizes, in[0].data()); }});
}

void read_codes(const BlockType& type, const std::uint8_t* blocks, std::size_t count, std::uint8_t* codes) {
  for (std::size_t b = 0; b < count; ++b) type.read_codes(blocks + b * type.bytes, codes + b * type.elements);
}
void read_scales(const BlockType& type, const std::uint8_t* blocks, std::size_t count, float* scales, float* shifts) {
  std::size_t groups = type.elements / type.group;
  for (std::size_t b = 0; b < count; ++b)
    type.read_scales(blocks + b * type.bytes, scales + b * groups, type.shifted ? shifts + b * groups : nullptr);
}

}  // namespace pomona::gguf
