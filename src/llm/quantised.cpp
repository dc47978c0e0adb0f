#include "llm/quantised.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/threads.h"
#include "ops/constexpr.h"

namespace pomona::llm {
namespace {

// About so many elements are done by a thread at a time.
constexpr std::size_t piece_elements = 1 << 16;

// Calls f(begin, count) for runs of rows, on several threads.
template <class F>
void for_rows(const Quantised& q, F f) {
  std::size_t run = 1 + piece_elements / std::max<std::size_t>(1, q.columns());
  parallel_for((q.rows() + run - 1) / run, 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) f(i * run, std::min(run, q.rows() - i * run));
  });
}

struct Scales {
  std::vector<float> scales, offsets;
};
void read_scales(const Quantised& q, std::span<const Tensor> in, std::size_t begin, std::size_t count, Scales& out) {
  out.scales.resize(count * q.groups());
  out.offsets.resize(q.offset == Offset::none ? 0 : out.scales.size());
  q.read_scales(in, begin, count, out.scales.data(), out.offsets.empty() ? nullptr : out.offsets.data());
}

// Codes as the numbers they stand for.
std::array<float, 256> numbers_of(const Quantised& q) {
  std::array<float, 256> numbers{};
  bool is_signed = info(q.codes).is_signed;
  for (unsigned i = 0; i < 256; ++i) numbers[i] = is_signed ? float(std::int8_t(i)) : float(i);
  std::copy(q.table.begin(), q.table.end(), numbers.begin());
  return numbers;
}

float value_of(Offset kind, float scale, float offset, float code) {
  if (kind == Offset::zero) code -= offset;
  // A statement of its own: the sum below must not be contracted with it.
  float product = scale * code;
  return kind == Offset::shift ? product + offset : product;
}

void decode_group(Offset kind, float scale, float offset, std::span<const float, 256> numbers,
                  std::span<const std::uint8_t> codes, float* out) {
  for (std::size_t i = 0; i < codes.size(); ++i) out[i] = value_of(kind, scale, offset, numbers[codes[i]]);
}

Tensor decode(const Quantised& q, std::span<const Tensor> in) {
  Tensor out(DType::fp32, q.sizes);
  float* to = out.mutable_view<float>().data();
  auto numbers = numbers_of(q);
  for_rows(q, [&](std::size_t begin, std::size_t count) {
    Scales s;
    read_scales(q, in, begin, count, s);
    std::vector<std::uint8_t> codes(count * q.columns());
    q.read_codes(in, begin, count, codes.data());
    std::size_t group = std::size_t(q.group);
    for (std::size_t g = 0; g < s.scales.size(); ++g)
      decode_group(q.offset, s.scales[g], s.offsets.empty() ? 0 : s.offsets[g], numbers,
                   std::span(codes).subspan(g * group, group), to + begin * q.columns() + g * group);
  });
  return out;
}

// How a group's scale and offset are written: value = scale * (code - offset), the codes set to 0 when `flat`.
struct Written {
  float scale, offset;
  bool flat;
};
Written written(Offset kind, float scale, float offset) {
  if (kind != Offset::shift) return {scale, offset, false};
  if (scale == 0) return {offset, -1, true};
  return {scale, -offset / scale, false};
}

// What all scales of a weight tell about how it can be kept.
struct Findings {
  bool finite = true, fits_half = true, whole_offsets = true, any_flat = false;
};

bool fits_half(float value) { return std::isfinite(half_to_float(float_to_half(value))); }

// Numbers below fp16's normal ones lose bits, at last all. That does not matter for a scale whose largest code still
// gives what fp16 would take for zero.
bool keeps_size(float scale) {
  float half = half_to_float(float_to_half(scale));
  constexpr float largest_code = 255, half_of_smallest = 0x1p-25f;
  return std::abs(half - scale) <= std::abs(scale) * 0x1p-6f || std::abs(scale) * largest_code < half_of_smallest;
}

Findings look_at(const Quantised& q, std::span<const Tensor> in) {
  std::atomic<bool> finite = true, fits = true, whole = q.offset == Offset::zero, flat = false;
  double lowest = lowest_value(q.codes), highest = highest_value(q.codes);
  for_rows(q, [&](std::size_t begin, std::size_t count) {
    Scales s;
    read_scales(q, in, begin, count, s);
    for (std::size_t i = 0; i < s.scales.size(); ++i) {
      Written w = written(q.offset, s.scales[i], s.offsets.empty() ? 0 : s.offsets[i]);
      if (!std::isfinite(w.scale) || !std::isfinite(w.offset)) finite = false;
      if (!fits_half(w.scale) || !keeps_size(w.scale) || !fits_half(w.offset)) fits = false;
      if (w.flat) flat = true;
      if (w.offset != std::floor(w.offset) || w.offset < lowest || w.offset > highest) whole = false;
    }
  });
  return {finite, fits, whole, flat};
}

Sizes scale_sizes(const Quantised& q) {
  Sizes sizes = q.sizes;
  sizes.back() /= q.group;
  return sizes;
}

Tensor kept_codes(const Quantised& q, std::span<const Tensor> in, bool any_flat) {
  Tensor out(q.codes, q.sizes);
  std::uint8_t* to = out.mutable_data();
  for_rows(q, [&](std::size_t begin, std::size_t count) {
    std::uint8_t* codes = to + begin * q.columns();
    q.read_codes(in, begin, count, codes);
    if (!any_flat) return;
    Scales s;
    read_scales(q, in, begin, count, s);
    std::size_t group = std::size_t(q.group);
    for (std::size_t g = 0; g < s.scales.size(); ++g)
      if (written(q.offset, s.scales[g], s.offsets[g]).flat) std::fill_n(codes + g * group, group, std::uint8_t(0));
  });
  return out;
}

// The scales, or the offsets, of all groups as a tensor.
Tensor kept_scales(const Quantised& q, std::span<const Tensor> in, DType dtype, bool offsets) {
  Tensor out(DType::fp32, scale_sizes(q));
  float* to = out.mutable_view<float>().data();
  for_rows(q, [&](std::size_t begin, std::size_t count) {
    Scales s;
    read_scales(q, in, begin, count, s);
    for (std::size_t i = 0; i < s.scales.size(); ++i) {
      Written w = written(q.offset, s.scales[i], s.offsets.empty() ? 0 : s.offsets[i]);
      to[begin * q.groups() + i] = offsets ? w.offset : w.scale;
    }
  });
  return dtype == DType::fp32 ? out : out.converted(dtype);
}

EncodedWeight plain(const Quantised& q, const KeepOptions& options, const std::string& why) {
  EncodedWeight result;
  result.operands = {Weight::cast(decoded(q), options.decoded)};
  result.scheme = std::string(name(options.decoded));
  result.note = fmt::format("{} decoded: {}", q.storage, why);
  return result;
}

// What the indices of a table per group stand for: the entries of the weight's own table, or the few values that its
// codes take.
std::vector<float> entries_of(const Quantised& q) {
  std::vector<float> entries = q.table;
  if (entries.empty()) entries.assign(q.values.begin(), q.values.end());
  entries.resize(std::bit_ceil(entries.size()), 0.0f);
  return entries;
}
DType index_dtype(std::size_t entries) {
  return entries <= 2    ? DType::uint1
         : entries <= 4  ? DType::uint2
         : entries <= 8  ? DType::uint3
         : entries <= 16 ? DType::uint4
                         : DType::uint6;
}

Tensor kept_indices(const Quantised& q, std::span<const Tensor> in) {
  Tensor codes = kept_codes(q, in, false);
  if (q.table.empty()) {
    std::array<std::uint8_t, 256> position{};
    for (std::size_t i = 0; i < q.values.size(); ++i) position[std::uint8_t(q.values[i])] = std::uint8_t(i);
    std::uint8_t* each = codes.mutable_data();
    for (std::size_t i = 0; i < codes.count(); ++i) each[i] = position[each[i]];
  }
  return codes.reinterpreted(index_dtype(entries_of(q).size()));
}

// Whether an index into the few values that codes take is narrower than the codes: from iOS26 on scales may stand
// behind a table. The runtime's kernels want the codes.
bool wants_one_table(const Quantised& q, const KeepOptions& options) {
  return !options.in_memory && options.target >= Target::iOS26 && q.codes == DType::int8 && q.table.empty() &&
         !q.values.empty() && q.values.size() <= 64;
}

// Indices into one table of int8, which holds the values that codes take.
EncodedWeight one_table(const Quantised& q) {
  const OpDef& op = def<mil::constexpr_lut_to_dense>();
  EncodedWeight result;
  result.op = &op;
  result.attributes = op.defaults;
  result.operands.resize(op.inputs.size());
  DType indices = index_dtype(q.values.size());
  Sizes sizes(q.sizes.size(), 1);
  sizes.insert(sizes.end(), {std::int64_t(1) << info(indices).bits, 1});
  Tensor lut(DType::int8, sizes);
  std::copy(q.values.begin(), q.values.end(), lut.mutable_view<std::int8_t>().begin());
  result.operands[*op.input_index("indices")] =
      Weight::derived({"indices of " + q.what, indices, q.sizes, q.sources,
                       [q](std::span<const Tensor> in) -> Result<Tensor> { return kept_indices(q, in); }});
  result.operands[*op.input_index("lut")] = Weight(std::move(lut));
  result.scheme = fmt::format("{} into a table of int8, scales", name(indices));
  return result;
}

// The codes, scales and offsets behind one constexpr_blockwise_shift_scale.
EncodedWeight blockwise(const Quantised& q, const KeepOptions& options, const Findings& found) {
  const OpDef& op = def<mil::constexpr_blockwise_shift_scale>();
  EncodedWeight result;
  result.op = &op;
  result.attributes = op.defaults;
  result.operands.resize(op.inputs.size());
  if (wants_one_table(q, options))
    result.data = std::make_shared<EncodedWeight>(one_table(q));
  else
    result.operands[*op.input_index("data")] = Weight::derived(
        {"codes of " + q.what, q.codes, q.sizes, q.sources,
         [q, flat = found.any_flat](std::span<const Tensor> in) -> Result<Tensor> { return kept_codes(q, in, flat); }});
  auto add = [&](std::string_view input, DType dtype, bool offsets) {
    result.operands[*op.input_index(input)] =
        Weight::derived({fmt::format("{} {} of {}", name(dtype), input, q.what), dtype, scale_sizes(q), q.sources,
                         [q, dtype, offsets](std::span<const Tensor> in) -> Result<Tensor> {
                           return kept_scales(q, in, dtype, offsets);
                         }});
  };
  add("scale", options.decoded, false);
  if (q.offset != Offset::none) add("offset", found.whole_offsets ? q.codes : options.decoded, true);
  std::string codes = result.data ? result.data->scheme : std::string(name(q.codes));
  result.scheme = fmt::format("{} per block of {} ({})", codes, q.group, q.storage);
  return result;
}

Tensor kept_tables(const Quantised& q, std::span<const Tensor> in, DType dtype, const Sizes& sizes) {
  Tensor out(DType::fp32, sizes);
  float* to = out.mutable_view<float>().data();
  std::vector<float> entries = entries_of(q);
  for_rows(q, [&](std::size_t begin, std::size_t count) {
    Scales s;
    read_scales(q, in, begin, count, s);
    for (std::size_t g = 0; g < s.scales.size(); ++g)
      for (std::size_t i = 0; i < entries.size(); ++i)
        to[(begin * q.groups() + g) * entries.size() + i] =
            value_of(q.offset, s.scales[g], s.offsets.empty() ? 0 : s.offsets[g], entries[i]);
  });
  return dtype == DType::fp32 ? out : out.converted(dtype);
}

// Indices into tables that hold what each stands for in its group.
EncodedWeight tables(const Quantised& q, const KeepOptions& options) {
  const OpDef& op = def<mil::constexpr_lut_to_dense>();
  EncodedWeight result;
  result.op = &op;
  result.attributes = op.defaults;
  result.operands.resize(op.inputs.size());
  DType indices = index_dtype(entries_of(q).size());
  Sizes sizes = scale_sizes(q);
  sizes.insert(sizes.end(), {std::int64_t(1) << info(indices).bits, 1});
  result.operands[*op.input_index("indices")] =
      Weight::derived({"indices of " + q.what, indices, q.sizes, q.sources,
                       [q](std::span<const Tensor> in) -> Result<Tensor> { return kept_indices(q, in); }});
  result.operands[*op.input_index("lut")] =
      Weight::derived({fmt::format("{} tables of {}", name(options.decoded), q.what), options.decoded, sizes, q.sources,
                       [q, sizes, dtype = options.decoded](std::span<const Tensor> in) -> Result<Tensor> {
                         return kept_tables(q, in, dtype, sizes);
                       }});
  result.scheme = fmt::format("{} with a table per block of {} ({})", name(indices), q.group, q.storage);
  return result;
}

// Whether a table per group is the better form: for codes that stand for no whole numbers, and for those of one or two
// bits where the tables cost less than what integers of a program are too wide. The runtime's kernels want scales.
bool wants_tables(const Quantised& q, const KeepOptions& options) {
  if (!q.table.empty()) return true;
  if (options.in_memory || q.values.empty() || q.values.size() > 4) return false;
  double entries = double(std::bit_ceil(q.values.size())), group = double(q.group);
  double with_tables = info(index_dtype(std::size_t(entries))).bits + 16 * entries / group;
  double with_scales = info(q.codes).bits + (q.offset == Offset::none ? 16 : 32) / group;
  return with_tables < with_scales;
}

Result<Tensors> materialised(const std::vector<Weight>& weights) {
  Tensors tensors;
  for (const Weight& weight : weights) tensors.push_back(POM_TRY(weight.materialise()));
  return tensors;
}

}  // namespace

Weight decoded(const Quantised& quantised) {
  return Weight::derived({"decode " + quantised.what, DType::fp32, quantised.sizes, quantised.sources,
                          [q = quantised](std::span<const Tensor> in) -> Result<Tensor> { return decode(q, in); }});
}

Result<EncodedWeight> kept(const Quantised& quantised, const KeepOptions& options) {
  if (!options.in_memory && options.target < Target::iOS18)
    return plain(quantised, options, fmt::format("blocks need iOS18, the target is {}", name(options.target)));
  if (wants_tables(quantised, options)) {
    if (quantised.table.size() > 16)
      return plain(quantised, options, "its codes stand for no whole numbers and are too many for a table per block");
    return tables(quantised, options);
  }
  Findings found = look_at(quantised, POM_TRY(materialised(quantised.sources)));
  if (!found.finite) return plain(quantised, options, "a scale or an offset is no finite number");
  if (options.decoded == DType::fp16 && !found.fits_half)
    return plain(quantised, options, "a scale or an offset leaves the range of fp16");
  return blockwise(quantised, options, found);
}

Quantised with_rows(const Quantised& quantised, std::shared_ptr<const std::vector<std::size_t>> rows,
                    const std::string& what) {
  Quantised result = quantised;
  result.what = fmt::format("{} of {}", what, quantised.what);
  result.read_codes = [q = quantised, rows](std::span<const Tensor> in, std::size_t begin, std::size_t count,
                                            std::uint8_t* codes) {
    for (std::size_t i = 0; i < count; ++i) q.read_codes(in, (*rows)[begin + i], 1, codes + i * q.columns());
  };
  result.read_scales = [q = quantised, rows](std::span<const Tensor> in, std::size_t begin, std::size_t count,
                                             float* scales, float* offsets) {
    for (std::size_t i = 0; i < count; ++i)
      q.read_scales(in, (*rows)[begin + i], 1, scales + i * q.groups(), offsets ? offsets + i * q.groups() : nullptr);
  };
  return result;
}

Weight with_rows(const Weight& matrix, std::shared_ptr<const std::vector<std::size_t>> rows, const std::string& what) {
  return Weight::derived(
      {what, matrix.dtype(), matrix.sizes(), {matrix}, [rows](std::span<const Tensor> in) -> Result<Tensor> {
         Tensor out(in[0].dtype(), in[0].sizes());
         std::size_t row = rows->empty() ? 0 : out.size_bytes() / rows->size();
         std::uint8_t* to = out.mutable_data();
         for (std::size_t i = 0; i < rows->size(); ++i) std::memcpy(to + i * row, in[0].data() + (*rows)[i] * row, row);
         return out;
       }});
}

}  // namespace pomona::llm
