
#include <nlohmann/json.hpp>
#include <numeric>

#include "llm/checkpoints/fields.h"
#include "llm/checkpoints/packed.h"
#include "llm/checkpoints/taken.h"

namespace pomona::llm {
namespace {

using Json = nlohmann::json;

// Both hold matrices transposed, [in, out], with scales [groups, out] and zero points packed along their rows.
struct Transposed {
  std::int64_t in = 0, out = 0, groups = 0;
  unsigned bits = 4;
  std::int64_t group = 0;  // columns that share a scale, the last ones perhaps fewer
};

Status set_up(Transposed& t, const Json& settings, const char* method, Quantised& q) {
  q.sizes = {t.out, t.in};
  t.group = POM_TRY(group_of(t.in, t.groups, integer_field(settings, "group_size", 0)));
  q.group = std::gcd(t.group, t.in);
  q.codes = t.bits <= 4 ? DType::uint4 : DType::uint8;
  q.offset = Offset::zero;
  q.storage = fmt::format("{} int{} g{}", method, t.bits, t.group);
  return {};
}

unsigned bits_in(const Json& settings) {
  for (const char* key : {"bits", "w_bit"})
    if (settings.contains(key) && settings[key].is_number_unsigned()) return settings[key].get<unsigned>();
  return 4;
}

// Which column of eight consecutive ones each nibble of a word holds.
constexpr unsigned awq_place[] = {0, 4, 1, 5, 2, 6, 3, 7};
unsigned awq_code(const Tensor& words, std::size_t row, std::size_t columns, std::size_t column) {
  return word_at(words.data(), row * (columns / 8) + column / 8) >> (4 * awq_place[column % 8]) & 15;
}

Result<Quantised> awq(const std::string& module, const Json& settings, Taken& taken) {
  const Sizes words = taken.sizes(module + ".qweight");
  POM_REQUIRE(words.size() == 2, "'qweight' has the sizes {}", to_string(words));
  Transposed t{words[0], words[1] * 8, 0, 4};
  POM_REQUIRE(taken.has(module + ".scales") && taken.sizes(module + ".scales").size() == 2,
              "it has no matrix of scales");
  t.groups = taken.sizes(module + ".scales")[0];
  Quantised q;
  POM_TRY(set_up(t, settings, "AWQ", q));
  q.sources = {POM_TRY(taken.take(module + ".qweight", words, DType::int32)),
               POM_TRY(taken.take(module + ".scales", {t.groups, t.out})),
               POM_TRY(taken.take(module + ".qzeros", {t.groups, words[1]}, DType::int32))};
  std::size_t in = std::size_t(t.in), out = std::size_t(t.out), groups = q.groups(), part = std::size_t(q.group),
              group = std::size_t(t.group);
  q.read_codes = [in, out](std::span<const Tensor> from, std::size_t begin, std::size_t count, std::uint8_t* codes) {
    for (std::size_t c = 0; c < in; ++c)
      for (std::size_t r = 0; r < count; ++r) codes[r * in + c] = std::uint8_t(awq_code(from[0], c, out, begin + r));
  };
  q.read_scales = [=](std::span<const Tensor> from, std::size_t begin, std::size_t count, float* scales,
                      float* offsets) {
    for (std::size_t g = 0; g < groups; ++g)
      for (std::size_t r = 0; r < count; ++r) {
        std::size_t row = g * part / group;
        scales[r * groups + g] = number_of(from[1], row * out + begin + r);
        if (offsets) offsets[r * groups + g] = float(awq_code(from[2], row, out, begin + r));
      }
  };
  return q;
}

// A module may have bits of its own; as many as its zero points take.
Result<unsigned> bits_of(const Json& settings, std::int64_t out, std::int64_t zero_words) {
  auto fits = [&](unsigned bits) { return (out * std::int64_t(bits) + 31) / 32 == zero_words; };
  unsigned stated = bits_in(settings);
  POM_REQUIRE(stated == 2 || stated == 3 || stated == 4 || stated == 8, "its codes have {} bits", stated);
  if (fits(stated)) return stated;
  for (unsigned bits : {2u, 3u, 4u, 8u})
    if (fits(bits)) return bits;
  return fail("its zero points have {} words for {} rows of {} bits", zero_words, out, stated);
}

struct Gptq {
  Quantised quantised;  // its columns in the order `columns`
  std::vector<std::size_t> columns;
};

Result<Gptq> gptq(const std::string& module, const Json& settings, Taken& taken) {
  const Sizes words = taken.sizes(module + ".qweight");
  POM_REQUIRE(words.size() == 2 && words[0] < 1ll << 40 && words[1] < 1ll << 40, "'qweight' has the sizes {}",
              to_string(words));
  POM_REQUIRE(taken.has(module + ".qzeros") && taken.sizes(module + ".qzeros").size() == 2,
              "it has no matrix of zero points");
  unsigned bits = POM_TRY(bits_of(settings, words[1], taken.sizes(module + ".qzeros")[1]));
  Transposed t{words[0] * 32 / std::int64_t(bits), words[1], 0, bits};
  POM_REQUIRE(taken.has(module + ".scales") && taken.sizes(module + ".scales").size() == 2,
              "it has no matrix of scales");
  t.groups = taken.sizes(module + ".scales")[0];
  Gptq result;
  Quantised& q = result.quantised;
  POM_TRY(set_up(t, settings, "GPTQ", q));
  if (bits == 2) q.values = {0, 1, 2, 3};
  std::int64_t zero_words = (t.out * std::int64_t(bits) + 31) / 32;
  q.sources = {POM_TRY(taken.take(module + ".qweight", words, DType::int32)),
               POM_TRY(taken.take(module + ".scales", {t.groups, t.out})),
               POM_TRY(taken.take(module + ".qzeros", {t.groups, zero_words}, DType::int32))};
  if (taken.has(module + ".g_idx"))
    result.columns =
        POM_TRY(column_order(POM_TRY(taken.take(module + ".g_idx", {t.in}, DType::int32)), t.groups, t.group));
  // The first version stores zero points less one, so that they reach 2^bits.
  float added = text_field(settings, "checkpoint_format", "gptq") == "gptq_v2" ? 0 : 1;
  std::size_t in = std::size_t(t.in), out = std::size_t(t.out), groups = q.groups(), part = std::size_t(q.group),
              group = std::size_t(t.group), zero_row = std::size_t(zero_words);
  q.read_codes = [=, order = result.columns](std::span<const Tensor> from, std::size_t begin, std::size_t count,
                                             std::uint8_t* codes) {
    for (std::size_t c = 0; c < in; ++c) {
      std::size_t column = order.empty() ? c : order[c];
      for (std::size_t r = 0; r < count; ++r)
        codes[r * in + c] = std::uint8_t(code_at(from[0].data(), begin + r, out, column, bits));
    }
  };
  q.read_scales = [=](std::span<const Tensor> from, std::size_t begin, std::size_t count, float* scales,
                      float* offsets) {
    for (std::size_t g = 0; g < groups; ++g)
      for (std::size_t r = 0; r < count; ++r) {
        std::size_t row = g * part / group;
        scales[r * groups + g] = number_of(from[1], row * out + begin + r);
        if (offsets)
          offsets[r * groups + g] = float(code_at(from[2].data(), row * zero_row, 1, begin + r, bits)) + added;
      }
  };
  return result;
}

}  // namespace

Status take_awq(const Json& settings, RawTensors& raw, Checkpoint& checkpoint) {
  std::string version = text_field(settings, "version", "gemm");
  POM_REQUIRE(version == "gemm" || version == "GEMM", "AWQ weights of version '{}' are not read, only 'gemm'", version);
  POM_REQUIRE(bits_in(settings) == 4, "AWQ weights have 4 bits, not {}", bits_in(settings));
  Taken taken(raw);
  for (const std::string& module : taken.modules(".qweight")) {
    taken.bytes = 0;
    Quantised q = POM_TRY_IN(awq(module, settings, taken), "module '{}'", module);
    q.what = fmt::format("{} {} of '{}'", q.storage, to_string(q.sizes), module);
    checkpoint.tensors[module + ".weight"] = tensor_of(q, taken.bytes);
  }
  return {};
}

Status take_gptq(const Json& settings, RawTensors& raw, Checkpoint& checkpoint) {
  Taken taken(raw);
  for (const std::string& module : taken.modules(".qweight")) {
    taken.bytes = 0;
    Gptq read = POM_TRY_IN(gptq(module, settings, taken), "module '{}'", module);
    Quantised& q = read.quantised;
    q.what = fmt::format("{} {} of '{}'", q.storage, to_string(q.sizes), module);
    checkpoint.tensors[module + ".weight"] = tensor_in_order(q, read.columns, taken.bytes);
  }
  return {};
}

// AutoRound writes its codes as one of the two.
Status take_auto_round(const Json& settings, RawTensors& raw, Checkpoint& checkpoint) {
  std::string packing = text_field(settings, "packing_format", "auto_round:auto_gptq");
  if (packing.find("awq") != packing.npos) return take_awq(settings, raw, checkpoint);
  POM_REQUIRE(packing.find("gptq") != packing.npos,
              "AutoRound weights of the format '{}' are not read, only auto_gptq "
              "and auto_awq",
              packing);
  return take_gptq(settings, raw, checkpoint);
}

}  // namespace pomona::llm
