#include "compress/palettize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/bits.h"
#include "base/half.h"
#include "compress/table_fit.h"
#include "ops/constexpr.h"

namespace pomona::compress {
namespace {

Tensor tensor_of(DType dtype, const Sizes& sizes, std::vector<std::uint8_t> elements) {
  auto owner = std::make_shared<const std::vector<std::uint8_t>>(std::move(elements));
  return Tensor(dtype, sizes, Bytes(owner, *owner));
}

Tensor tensor_of_floats(DType dtype, const Sizes& sizes, const std::vector<float>& floats) {
  Tensor tensor(dtype, sizes);
  if (dtype == DType::fp16)
    floats_to_halves(floats, tensor.mutable_view<std::uint16_t>().data());
  else
    std::copy(floats.begin(), floats.end(), tensor.mutable_view<float>().begin());
  return tensor;
}

DType index_dtype(unsigned bits) {
  static constexpr DType by_bits[] = {DType::uint1, DType::uint1, DType::uint2, DType::uint3, DType::uint4,
                                      DType::uint6, DType::uint6, DType::uint8, DType::uint8};
  return by_bits[bits];
}

// Scales are the largest magnitudes along all axes but one, or along one.
struct ScaleAxis {
  std::size_t axis = 0;
  bool along = false;  // the maximum along `axis`, which is how coremltools takes it; else of each position of it
};

struct Scales {
  Sizes sizes;
  std::vector<float> values;
  Tensor quotients;
  std::vector<float> squares;  // of the scale, per element
};

Scales scales_of(const Tensor& tensor, const ScaleAxis& by) {
  const Sizes& sizes = tensor.sizes();
  Scales scales;
  std::size_t inner = std::size_t(strides_of(sizes)[by.axis]), size = std::size_t(sizes[by.axis]);
  scales.sizes = by.along ? sizes : Sizes(sizes.size(), 1);
  scales.sizes[by.axis] = by.along ? 1 : sizes[by.axis];
  scales.values.assign(std::size_t(element_count(scales.sizes)), 0);
  auto index = [&](std::size_t i) { return by.along ? i / (inner * size) * inner + i % inner : i / inner % size; };
  Tensor floats = tensor.converted(DType::fp32);
  std::span<float> all = floats.mutable_view<float>();
  for (std::size_t i = 0; i < all.size(); ++i)
    scales.values[index(i)] = std::max(scales.values[index(i)], std::fabs(all[i]));
  for (float& value : scales.values)
    if (value == 0) value = 1;
  scales.squares.resize(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    float scale = scales.values[index(i)];
    all[i] /= scale;
    scales.squares[i] = scale * scale;
  }
  scales.quotients = floats.converted(tensor.dtype());
  return scales;
}

// What one weight's parts are made by.
struct Work {
  TableCoding coding;
  Importance importance;
  std::optional<ScaleAxis> scale;
};

struct Made {
  TableCodes codes;
  Scales scales;
};

Result<Made> make(const Tensor& tensor, const Work& work) {
  Made made;
  TableCoding coding = work.coding;
  coding.importance = work.importance.of_all(tensor.count());
  if (!work.scale) {
    made.codes = POM_TRY(fit_tables(tensor, coding));
    return made;
  }
  made.scales = scales_of(tensor, *work.scale);
  coding.error_factor = made.scales.squares;
  if (coding.importance.empty()) coding.importance.assign(tensor.count(), 1);
  for (std::size_t i = 0; i < tensor.count(); ++i) coding.importance[i] *= made.scales.squares[i];
  made.codes = POM_TRY(fit_tables(made.scales.quotients, coding));
  return made;
}

// Indices; tables (and their scale, when they are int8); scales of the channels.
MakeParts encoder(const Work& work, const std::vector<PartType>& types, const std::shared_ptr<Measured>& measured) {
  return [=](std::span<const Tensor> in) -> Result<Tensors> {
    Made made = POM_TRY(make(in[0], work));
    measured->squared_error = made.codes.squared_error;
    Tensors parts{tensor_of(types[0].dtype, types[0].sizes, std::move(made.codes.codes))};
    if (work.coding.int8_tables) {
      const auto& table = made.codes.int8_tables;
      parts.push_back(tensor_of(DType::int8, types[1].sizes, {table.begin(), table.end()}));
      parts.push_back(tensor_of_floats(types[2].dtype, types[2].sizes, {made.codes.table_scale}));
    } else {
      parts.push_back(tensor_of_floats(types[1].dtype, types[1].sizes, made.codes.tables));
    }
    if (work.scale) parts.push_back(tensor_of_floats(in[0].dtype(), types.back().sizes, made.scales.values));
    return parts;
  };
}

class PalettizeScheme : public Scheme {
 public:
  static Result<std::shared_ptr<const Scheme>> make(const SchemeOptions& given) {
    auto scheme = std::make_shared<PalettizeScheme>();
    PalettizeOptions& o = scheme->options_;
    POM_TRY(set_fields(o, given));
    static constexpr std::pair<std::string_view, TableMode> modes[] = {{"kmeans", TableMode::kmeans},
                                                                       {"uniform", TableMode::uniform},
                                                                       {"unique", TableMode::unique},
                                                                       {"custom", TableMode::custom}};
    auto mode = std::ranges::find(modes, std::string_view(*o.mode), [](const auto& each) { return each.first; });
    POM_REQUIRE(mode != std::end(modes), "mode is kmeans, uniform, unique or custom, not '{}'", *o.mode);
    scheme->mode_ = mode->second;
    POM_TRY(scheme->check_table());
    POM_REQUIRE(
        *o.granularity == "per_tensor" || *o.granularity == "per_grouped_channel" || *o.granularity == "per_channel",
        "granularity is per_tensor, per_grouped_channel or per_channel, not '{}'", *o.granularity);
    POM_REQUIRE(*o.group_size >= 0, "group_size is {}", *o.group_size);
    POM_REQUIRE(*o.cluster_dim >= 1 && *o.cluster_dim <= 64, "cluster_dim is {}", *o.cluster_dim);
    POM_REQUIRE(*o.cluster_dim == 1 || (*o.mode != "uniform" && *o.mode != "custom"),
                "tables of vectors have mode kmeans or unique, not {}", *o.mode);
    POM_REQUIRE(*o.cluster_dim == 1 || *o.granularity != "per_channel",
                "vectors lie along the channels, so a table per channel cannot have them");
    POM_REQUIRE(*o.lut_dtype == "float" || *o.lut_dtype == "int8", "lut_dtype is float or int8, not '{}'",
                *o.lut_dtype);
    POM_REQUIRE(*o.num_kmeans_workers >= 1, "num_kmeans_workers is {}", *o.num_kmeans_workers);
    return std::shared_ptr<const Scheme>(std::move(scheme));
  }

  std::string_view scheme_name() const override { return "palettize"; }
  std::int64_t weight_threshold() const override { return options_.weight_threshold; }

  Status check(Target opset) const override {
    std::string needs;
    if (grouped()) needs = "tables per group of channels";
    if (options_.nbits->has_value() && **options_.nbits == 3) needs = "3-bit tables";
    if (*options_.cluster_dim > 1) needs = "tables of vectors";
    if (options_.enable_per_channel_scale) needs = "scales on top of tables";
    if (*options_.lut_dtype == "int8") needs = "int8 tables";
    if (opset >= iOS18 || (opset >= iOS16 && needs.empty())) return {};
    if (needs.empty())
      return fail("the program is for {}, but compressed weights need iOS16", name(opset))
          .advise("convert the model with --target iOS16 or later");
    return fail("the program is for {}, but {} need iOS18", name(opset), needs)
        .advise("convert the model with --target iOS18")
        .advise("--scheme lut4-per-tensor, which iOS16 has");
  }

  Result<Encoded> encode(const Candidate& candidate) const override {
    const Weight& weight = candidate.weight;
    Encoded encoded;
    Work work;
    TableCoding& coding = work.coding;
    coding = {
        .mode = mode_, .cut = POM_TRY(cut(candidate, encoded.note)), .vector = std::size_t(*options_.cluster_dim)};
    coding.packed = candidate.opset < iOS18;
    coding.skip_zeros = candidate.sparse;
    coding.int8_tables = *options_.lut_dtype == "int8";
    coding.bits = POM_TRY(bits(candidate, coding));
    for (double value : *options_.lut_values) coding.entries.push_back(float(value));
    if (mode_ == TableMode::kmeans) work.importance = candidate.importance;
    if (options_.enable_per_channel_scale) work.scale = POM_TRY(better_scale(candidate, work));
    auto measured = std::make_shared<Measured>();
    encoded.measured = measured;
    encoded.scheme = words(coding, work);
    std::vector<PartType> types = part_types(weight, work);
    std::string what = fmt::format("{} {}{} {} {} {}", *options_.mode, encoded.scheme, coding.packed ? " packed" : "",
                                   candidate.sparse, fmt::join(coding.entries, " "),
                                   static_cast<const void*>(work.importance.values.get()));
    auto parts = parts_of(what, {weight}, types, encoder(work, types, measured), candidate.shelf);
    add_stages(encoded, parts, work, weight);
    return encoded;
  }

 private:
  Status check_table() {
    const PalettizeOptions& o = options_;
    bool finds_bits = mode_ == TableMode::unique || mode_ == TableMode::custom;
    POM_REQUIRE(
        finds_bits != o.nbits->has_value(), "{}",
        finds_bits ? fmt::format("mode {} finds the bits itself: nbits is not given", *o.mode) : "nbits is missing");
    POM_REQUIRE(finds_bits || std::ranges::find(table_bits, **o.nbits) != std::end(table_bits),
                "nbits is 1, 2, 3, 4, 6 or 8, not {}", **o.nbits);
    POM_REQUIRE(
        (mode_ == TableMode::custom) != o.lut_values->empty(), "lut_values {}",
        mode_ == TableMode::custom ? "is missing: mode custom takes the table from it" : "goes with mode custom");
    POM_REQUIRE(o.lut_values->size() <= 256, "lut_values has {} entries, and a table holds 256", o.lut_values->size());
    return {};
  }

  bool grouped() const { return *options_.granularity != "per_tensor"; }

  std::string words(const TableCoding& coding, const Work& work) const {
    std::string text = fmt::format("{}-bit table", coding.bits);
    if (coding.vector > 1) text += fmt::format(" of {}-vectors", coding.vector);
    text += grouped() ? fmt::format(" per {} channels of axis {}", coding.cut.group_channels, coding.cut.axis)
                      : " per tensor";
    if (coding.vector > 1 && !grouped()) text += fmt::format(" along axis {}", coding.cut.axis);
    if (coding.int8_tables) text += ", int8 entries";
    if (work.scale)
      text += fmt::format(", scales {} axis {}", work.scale->along ? "along" : "per channel of", work.scale->axis);
    return text;
  }

  Result<std::size_t> axis(const Candidate& candidate) const {
    if (!options_.channel_axis->has_value()) return POM_TRY(Result<ChannelAxes>(candidate.axes)).output;
    int axis = **options_.channel_axis, rank = int(candidate.weight.sizes().size());
    POM_REQUIRE(axis >= -rank && axis < rank, "channel_axis {} is outside its rank {}", axis, rank);
    return std::size_t(axis < 0 ? axis + rank : axis);
  }

  Result<Groups> cut(const Candidate& candidate, std::string& note) const {
    const Sizes& sizes = candidate.weight.sizes();
    Groups groups;
    std::int64_t vector = *options_.cluster_dim;
    if (!grouped() && vector == 1) {
      groups.inner = candidate.weight.count();
      return groups;
    }
    groups.axis = POM_TRY(axis(candidate));
    std::int64_t channels = sizes[groups.axis];
    POM_REQUIRE(channels % vector == 0, "axis {} of size {} cannot be cut into vectors of {}", groups.axis, channels,
                vector);
    std::int64_t wanted = !grouped() || (*options_.group_size == 0 && *options_.granularity != "per_channel") ? channels
                          : *options_.granularity == "per_channel"                                            ? 1
                                                                   : *options_.group_size;
    std::int64_t size = nearest_divisor(channels / vector, (wanted + vector - 1) / vector) * vector;
    note = divisor_note("group", groups.axis, channels, wanted, size);
    groups.group_channels = std::size_t(size);
    groups.groups = std::size_t(channels / size);
    for (std::size_t d = 0; d < sizes.size(); ++d)
      if (d != groups.axis) (d < groups.axis ? groups.outer : groups.inner) *= std::size_t(sizes[d]);
    return groups;
  }

  Result<unsigned> bits(const Candidate& candidate, const TableCoding& coding) const {
    if (mode_ == TableMode::unique)
      return bits_of_unique(candidate.tensor, coding.cut, coding.vector, candidate.opset >= iOS18);
    if (mode_ != TableMode::custom) return unsigned(**options_.nbits);
    for (int bits : table_bits)
      if (options_.lut_values->size() <= std::size_t(1) << bits && (bits != 3 || candidate.opset >= iOS18))
        return unsigned(bits);
    return 8u;
  }

  // coremltools scales along the channels' axis. Which of the two loses less depends on the weight.
  Result<ScaleAxis> better_scale(const Candidate& candidate, const Work& work) const {
    POM_REQUIRE(!candidate.sparse, "tables with scales have no sparse form here");
    Work first = work, second = work;
    first.scale = ScaleAxis{POM_TRY(axis(candidate)), false};
    second.scale = ScaleAxis{first.scale->axis, true};
    Made a = POM_TRY(compress::make(candidate.tensor, first)), b = POM_TRY(compress::make(candidate.tensor, second));
    return a.codes.squared_error <= b.codes.squared_error ? *first.scale : *second.scale;
  }

  static std::vector<PartType> part_types(const Weight& weight, const Work& work) {
    const TableCoding& coding = work.coding;
    std::int64_t entries = std::int64_t(1) << coding.bits;
    if (coding.packed)
      return {{DType::uint8, {std::int64_t(packed_size_bytes(weight.count(), coding.bits))}},
              {weight.dtype(), {entries}}};
    Sizes indices = weight.sizes(), tables(indices.size(), 1), ones(indices.size() + 2, 1);
    if (coding.vector > 1) indices[coding.cut.axis] /= std::int64_t(coding.vector);
    tables[coding.cut.axis] = std::int64_t(coding.cut.groups);
    tables.insert(tables.end(), {entries, std::int64_t(coding.vector)});
    std::vector<PartType> types{{index_dtype(coding.bits), indices},
                                {coding.int8_tables ? DType::int8 : weight.dtype(), tables}};
    if (coding.int8_tables) types.push_back({weight.dtype(), ones});
    if (!work.scale) return types;
    Sizes scales = work.scale->along ? weight.sizes() : Sizes(weight.sizes().size(), 1);
    scales[work.scale->axis] = work.scale->along ? 1 : weight.sizes()[work.scale->axis];
    types.push_back({weight.dtype(), scales});
    return types;
  }

  static void add_stages(Encoded& encoded, const std::vector<Weight>& parts, const Work& work, const Weight& weight) {
    const TableCoding& coding = work.coding;
    if (coding.packed) {
      encoded.add(stage<mil::constexpr_lut_to_dense_iOS16>({{"indices", parts[0]}, {"lut", parts[1]}},
                                                           {{"shape", Ints(weight.sizes())}}));
      return;
    }
    Part table(parts[1]);
    if (coding.int8_tables)
      table = encoded.add(stage<mil::constexpr_blockwise_shift_scale>({{"data", parts[1]}, {"scale", parts[2]}}));
    std::vector<std::pair<std::string, Attribute>> attributes;
    if (coding.vector > 1) attributes.emplace_back("vector_axis", std::int64_t(coding.cut.axis));
    Part dense = encoded.add(stage<mil::constexpr_lut_to_dense>({{"indices", parts[0]}, {"lut", table}}, attributes));
    if (work.scale)
      encoded.add(stage<mil::constexpr_blockwise_shift_scale>({{"data", dense}, {"scale", parts.back()}}));
  }

  PalettizeOptions options_;
  TableMode mode_ = TableMode::kmeans;
};

}  // namespace

Result<std::shared_ptr<const Scheme>> make_palettize(const SchemeOptions& options) {
  return PalettizeScheme::make(options);
}

}  // namespace pomona::compress
