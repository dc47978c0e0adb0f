
#include <nlohmann/json.hpp>
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
};

Status set_up(const Transposed& t, const char* method, Quantised& q) {
  q.sizes = {t.out, t.in};
  q.group = POM_TRY(group_of(t.in, t.groups));
  q.codes = t.bits <= 4 ? DType::uint4 : DType::uint8;
  q.offset = Offset::zero;
  q.storage = fmt::format("{} int{} g{}", method, t.bits, q.group);
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

Result<Quantised> awq(const std::string& module, Taken& taken) {
  const Sizes words = taken.sizes(module + ".qweight");
  POM_REQUIRE(words.size() == 2, "'qweight' has the sizes {}", to_string(words));
  Transposed t{words[0], words[1] * 8, 0, 4};
  POM_REQUIRE(taken.has(module + ".scales") && taken.sizes(module + ".scales").size() == 2,
              "it has no matrix of scales");
  t.groups = taken.sizes(module + ".scales")[0];
  Quantised q;
  POM_TRY(set_up(t, "AWQ", q));
  q.sources = {POM_TRY(taken.take(module + ".qweight", words, DType::int32)),
               POM_TRY(taken.take(module + ".scales", {t.groups, t.out})),
               POM_TRY(taken.take(module + ".qzeros", {t.groups, words[1]}, DType::int32))};
  std::size_t in = std::size_t(t.in), out = std::size_t(t.out), groups = std::size_t(t.groups);
  q.read_codes = [in, out](std::span<const Tensor> from, std::size_t begin, std::size_t count, std::uint8_t* codes) {
    for (std::size_t c = 0; c < in; ++c)
      for (std::size_t r = 0; r < count; ++r) codes[r * in + c] = std::uint8_t(awq_code(from[0], c, out, begin + r));
  };
  q.read_scales = [out, groups](std::span<const Tensor> from, std::size_t begin, std::size_t count, float* scales,
                                float* offsets) {
    for (std::size_t g = 0; g < groups; ++g)
      for (std::size_t r = 0; r < count; ++r) {
        scales[r * groups + g] = number_of(from[1], g * out + begin + r);
        if (offsets) offsets[r * groups + g] = float(awq_code(from[2], g, out, begin + r));
      }
  };
  return q;
}

struct Gptq {
  Quantised quantised;  // its columns in the order `columns`
  std::vector<std::size_t> columns;
};

Result<Gptq> gptq(const std::string& module, const Json& settings, Taken& taken) {
  const Sizes words = taken.sizes(module + ".qweight");
  unsigned bits = bits_in(settings);
  POM_REQUIRE(bits == 2 || bits == 3 || bits == 4 || bits == 8, "its codes have {} bits", bits);
  POM_REQUIRE(words.size() == 2 && words[0] < 1ll << 40, "'qweight' has the sizes {}", to_string(words));
  Transposed t{words[0] * 32 / std::int64_t(bits), words[1], 0, bits};
  POM_REQUIRE(taken.has(module + ".scales") && taken.sizes(module + ".scales").size() == 2,
              "it has no matrix of scales");
  t.groups = taken.sizes(module + ".scales")[0];
  Gptq result;
  Quantised& q = result.quantised;
  POM_TRY(set_up(t, "GPTQ", q));
  if (bits == 2) q.values = {0, 1, 2, 3};
  std::int64_t zero_words = (t.out * std::int64_t(bits) + 31) / 32;
  q.sources = {POM_TRY(taken.take(module + ".qweight", words, DType::int32)),
               POM_TRY(taken.take(module + ".scales", {t.groups, t.out})),
               POM_TRY(taken.take(module + ".qzeros", {t.groups, zero_words}, DType::int32))};
  if (taken.has(module + ".g_idx"))
    result.columns =
        POM_TRY(column_order(POM_TRY(taken.take(module + ".g_idx", {t.in}, DType::int32)), t.groups, q.group));
  // The first version stores zero points less one, so that they reach 2^bits.
  float added = text_field(settings, "checkpoint_format", "gptq") == "gptq_v2" ? 0 : 1;
  std::size_t in = std::size_t(t.in), out = std::size_t(t.out), groups = std::size_t(t.groups),
              zero_row = std::size_t(zero_words);
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
        scales[r * groups + g] = number_of(from[1], g * out + begin + r);
        if (offsets) offsets[r * groups + g] = float(code_at(from[2].data(), g * zero_row, 1, begin + r, bits)) + added;
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
    Quantised q = POM_TRY_IN(awq(module, taken), "module '{}'", module);
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

}  // namespace pomona::llm
