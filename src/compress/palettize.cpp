#include "compress/palettize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/bits.h"
#include "base/half.h"
#include "base/threads.h"
#include "compress/distinct_values.h"
#include "compress/exact_kmeans.h"
#include "ops/constexpr.h"

namespace pomona::compress {
namespace {

constexpr int known_bits[] = {1, 2, 3, 4, 6, 8};

enum class Mode : unsigned char { kmeans, uniform, unique };

// A weight cut into groups along one axis: outer x (groups x group_channels) x inner.
struct Groups {
  std::size_t axis = 0, outer = 1, groups = 1, group_channels = 1, inner = 1;
  // Elements of a group that follow each other; there are `outer` such runs.
  std::size_t run() const { return group_channels * inner; }
  std::size_t elements() const { return outer * run(); }
  std::size_t position(std::size_t group, std::size_t run_index) const { return (run_index * groups + group) * run(); }
};

// What a group's fitting needs, kept from one group to the next.
struct Workspace {
  HalfBins bins;
  std::vector<std::uint8_t> gathered, codes;
};

template <class Element>
std::span<const Element> gather(std::span<const Element> weights, const Groups& cut, std::size_t group,
                                Workspace& space) {
  if (cut.outer == 1) return weights.subspan(cut.position(group, 0), cut.run());
  space.gathered.resize(cut.elements() * sizeof(Element));
  auto* out = reinterpret_cast<Element*>(space.gathered.data());
  for (std::size_t r = 0; r < cut.outer; ++r)
    std::copy_n(weights.data() + cut.position(group, r), cut.run(), out + r * cut.run());
  return {out, cut.elements()};
}

Result<DistinctValues> distinct_values(std::span<const std::uint16_t> weights, Workspace& space) {
  return distinct_halves(weights, {}, space.bins);
}
Result<DistinctValues> distinct_values(std::span<const float> weights, Workspace&) {
  return distinct_floats(weights, {});
}

float stored(DType dtype, double value) {
  return dtype == DType::fp16 ? half_to_float(double_to_half(value)) : float(value);
}

// coremltools' evenly spaced table, with its roundings.
std::vector<float> uniform_table(const DistinctValues& distinct, std::size_t entries, DType dtype) {
  double least = distinct.values.front(), span = stored(dtype, double(distinct.values.back()) - least);
  double step = stored(dtype, span / double(entries - 1));
  std::vector<float> table(entries);
  for (std::size_t k = 0; k < entries; ++k) table[k] = stored(dtype, double(k) * step + least);
  return table;
}

Result<std::vector<float>> fitted_table(const DistinctValues& distinct, std::size_t entries, Mode mode, DType dtype) {
  std::vector<float> table;
  if (mode == Mode::uniform) return uniform_table(distinct, entries, dtype);
  if (mode == Mode::unique) {
    table = distinct.values;
    POM_REQUIRE(table.size() <= entries, "{} values do not fit a table of {}", table.size(), entries);
  } else {
    KmeansTable fitted = POM_TRY(exact_kmeans(distinct.values, distinct.weights, {.clusters = entries}));
    for (double centroid : fitted.centroids) table.push_back(stored(dtype, centroid));
  }
  table.resize(entries, table.back());
  return table;
}

double squared_error(const DistinctValues& distinct, std::span<const std::uint8_t> nearest,
                     std::span<const float> table) {
  double error = 0;
  for (std::size_t i = 0; i < distinct.values.size(); ++i) {
    double off = double(distinct.values[i]) - double(table[nearest[i]]);
    error += distinct.weights[i] * off * off;
  }
  return error;
}

void encode_group(std::span<const std::uint16_t> weights, const DistinctValues& distinct,
                  std::span<const std::uint8_t> nearest, std::span<const float>, Workspace& space,
                  std::uint8_t* codes) {
  encode_halves(weights, distinct, nearest, space.bins, codes);
}
void encode_group(std::span<const float> weights, const DistinctValues&, std::span<const std::uint8_t>,
                  std::span<const float> table, Workspace&, std::uint8_t* codes) {
  encode_floats(weights, table, codes);
}

struct Coding {
  Mode mode;
  unsigned bits;
  Groups cut;
  bool packed;  // the older form: indices as packed bytes
};

struct Indices {
  std::vector<std::uint8_t> codes;
  std::vector<float> tables;
  std::vector<double> errors;
};

// Fits one group's table and writes the codes of its weights.
template <class Element>
Status fit_group(std::span<const Element> weights, const Coding& coding, std::size_t group, Workspace& space,
                 Indices& result) {
  constexpr DType dtype = sizeof(Element) == 2 ? DType::fp16 : DType::fp32;
  const Groups& cut = coding.cut;
  std::size_t entries = std::size_t(1) << coding.bits;
  auto values = gather(weights, cut, group, space);
  DistinctValues distinct = POM_TRY(distinct_values(values, space));
  std::vector<float> table = POM_TRY(fitted_table(distinct, entries, coding.mode, dtype));
  auto nearest = nearest_entries(distinct.values, table);
  result.errors[group] = squared_error(distinct, nearest, table);
  std::copy(table.begin(), table.end(), result.tables.begin() + std::ptrdiff_t(group * entries));
  if (coding.packed) {
    if constexpr (sizeof(Element) == 2) {
      encode_halves_packed(values, distinct, nearest, coding.bits, space.bins, result.codes.data());
    } else {
      std::vector<std::uint8_t> codes(values.size());
      encode_floats(values, table, codes.data());
      result.codes = pack_bits(codes, coding.bits);
    }
    return {};
  }
  if (cut.outer == 1) {
    encode_group(values, distinct, nearest, table, space, result.codes.data() + cut.position(group, 0));
    return {};
  }
  space.codes.resize(values.size());
  encode_group(values, distinct, nearest, table, space, space.codes.data());
  for (std::size_t r = 0; r < cut.outer; ++r)
    std::copy_n(space.codes.data() + r * cut.run(), cut.run(), result.codes.data() + cut.position(group, r));
  return {};
}

template <class Element>
Result<Indices> fit_groups(std::span<const Element> weights, const Coding& coding) {
  Indices result;
  result.codes.resize(coding.packed ? packed_size_bytes(weights.size(), coding.bits) : weights.size());
  result.tables.resize(coding.cut.groups << coding.bits);
  result.errors.resize(coding.cut.groups);
  std::vector<Status> statuses(coding.cut.groups);
  // Few chunks, as each sets up a workspace.
  std::size_t grain = (coding.cut.groups + 4 * thread_count() - 1) / (4 * thread_count());
  parallel_for(coding.cut.groups, grain, [&](std::size_t begin, std::size_t end) {
    Workspace space;
    for (std::size_t g = begin; g < end; ++g) statuses[g] = fit_group(weights, coding, g, space, result);
  });
  for (Status& status : statuses) POM_TRY(std::move(status));
  return result;
}

Tensor tensor_of(DType dtype, const Sizes& sizes, std::vector<std::uint8_t> elements) {
  auto owner = std::make_shared<const std::vector<std::uint8_t>>(std::move(elements));
  return Tensor(dtype, sizes, Bytes(owner, *owner));
}

// The parts: indices and tables.
MakeParts encoder(const Coding& coding, const PartType& indices, const PartType& tables,
                  const std::shared_ptr<Measured>& measured) {
  return [=](std::span<const Tensor> in) -> Result<Tensors> {
    bool half = in[0].dtype() == DType::fp16;
    Indices fitted =
        POM_TRY(half ? fit_groups(in[0].view<std::uint16_t>(), coding) : fit_groups(in[0].view<float>(), coding));
    double error = 0;
    for (double each : fitted.errors) error += each;
    measured->squared_error = error;
    Tensor table(tables.dtype, tables.sizes);
    if (half)
      floats_to_halves(fitted.tables, table.mutable_view<std::uint16_t>().data());
    else
      std::copy(fitted.tables.begin(), fitted.tables.end(), table.mutable_view<float>().begin());
    return Tensors{tensor_of(indices.dtype, indices.sizes, std::move(fitted.codes)), std::move(table)};
  };
}

template <class Element>
Result<std::size_t> most_distinct(std::span<const Element> weights, const Groups& cut) {
  std::size_t most = 0;
  Workspace space;
  for (std::size_t g = 0; g < cut.groups; ++g)
    most = std::max(most, POM_TRY(distinct_values(gather(weights, cut, g, space), space)).values.size());
  return most;
}

DType index_dtype(unsigned bits) {
  static constexpr DType by_bits[] = {DType::uint1, DType::uint1, DType::uint2, DType::uint3, DType::uint4,
                                      DType::uint6, DType::uint6, DType::uint8, DType::uint8};
  return by_bits[bits];
}

class PalettizeScheme : public Scheme {
 public:
  static Result<std::shared_ptr<const Scheme>> make(const SchemeOptions& given) {
    auto scheme = std::make_shared<PalettizeScheme>();
    PalettizeOptions& o = scheme->options_;
    POM_TRY(set_fields(o, given));
    POM_REQUIRE(*o.mode == "kmeans" || *o.mode == "uniform" || *o.mode == "unique",
                "mode is kmeans, uniform or unique, not '{}'", *o.mode);
    scheme->mode_ = *o.mode == "kmeans" ? Mode::kmeans : *o.mode == "uniform" ? Mode::uniform : Mode::unique;
    bool unique = scheme->mode_ == Mode::unique;
    POM_REQUIRE(unique != o.nbits->has_value(), "{}",
                unique ? "mode unique finds the bits itself: nbits is not given" : "nbits is missing");
    POM_REQUIRE(unique || std::ranges::find(known_bits, **o.nbits) != std::end(known_bits),
                "nbits is 1, 2, 3, 4, 6 or 8, not {}", **o.nbits);
    POM_REQUIRE(*o.granularity == "per_tensor" || *o.granularity == "per_grouped_channel",
                "granularity is per_tensor or per_grouped_channel, not '{}'", *o.granularity);
    POM_REQUIRE(*o.group_size >= 1, "group_size is {}", *o.group_size);
    POM_REQUIRE(*o.cluster_dim == 1, "cluster_dim {} is not in this version; 1 is", *o.cluster_dim);
    POM_REQUIRE(!o.enable_per_channel_scale, "enable_per_channel_scale is not in this version");
    return std::shared_ptr<const Scheme>(std::move(scheme));
  }

  std::int64_t weight_threshold() const override { return options_.weight_threshold; }

  Status check(Target opset) const override {
    std::string needs;
    if (grouped()) needs = "tables per group of channels";
    if (mode_ != Mode::unique && **options_.nbits == 3) needs = "3-bit tables";
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
    Coding coding{mode_, 0, POM_TRY(cut(candidate, encoded.note)), candidate.opset < iOS18};
    coding.bits = mode_ == Mode::unique ? POM_TRY(bits_of_unique(candidate, coding.cut)) : unsigned(**options_.nbits);
    auto measured = std::make_shared<Measured>();
    encoded.measured = measured;
    encoded.scheme = fmt::format("{}-bit table {}", coding.bits, grouped_words(coding.cut));
    std::int64_t entries = std::int64_t(1) << coding.bits;
    PartType indices{index_dtype(coding.bits), weight.sizes()}, tables{weight.dtype(), {entries}};
    if (coding.packed) {
      indices = {DType::uint8, {std::int64_t(packed_size_bytes(weight.count(), coding.bits))}};
    } else {
      tables.sizes = Sizes(weight.sizes().size(), 1);
      tables.sizes[coding.cut.axis] = std::int64_t(coding.cut.groups);
      tables.sizes.insert(tables.sizes.end(), {entries, 1});
    }
    std::string what = fmt::format("{} {}{}", *options_.mode, encoded.scheme, coding.packed ? " packed" : "");
    auto parts =
        parts_of(what, {weight}, {indices, tables}, encoder(coding, indices, tables, measured), candidate.shelf);
    if (coding.packed)
      encoded.add(stage<mil::constexpr_lut_to_dense_iOS16>({{"indices", parts[0]}, {"lut", parts[1]}},
                                                           {{"shape", Ints(weight.sizes())}}));
    else
      encoded.add(stage<mil::constexpr_lut_to_dense>({{"indices", parts[0]}, {"lut", parts[1]}}));
    return encoded;
  }

 private:
  bool grouped() const { return *options_.granularity == "per_grouped_channel"; }

  std::string grouped_words(const Groups& cut) const {
    if (!grouped()) return "per tensor";
    return fmt::format("per {} channels of axis {}", cut.group_channels, cut.axis);
  }

  Result<Groups> cut(const Candidate& candidate, std::string& note) const {
    const Sizes& sizes = candidate.weight.sizes();
    Groups groups;
    if (!grouped()) {
      groups.inner = candidate.weight.count();
      return groups;
    }
    if (options_.channel_axis->has_value()) {
      int axis = **options_.channel_axis, rank = int(sizes.size());
      POM_REQUIRE(axis >= -rank && axis < rank, "channel_axis {} is outside its rank {}", axis, rank);
      groups.axis = std::size_t(axis < 0 ? axis + rank : axis);
    } else {
      groups.axis = POM_TRY(Result<ChannelAxes>(candidate.axes)).output;
    }
    std::int64_t channels = sizes[groups.axis], size = nearest_divisor(channels, *options_.group_size);
    note = divisor_note("group", groups.axis, channels, *options_.group_size, size);
    groups.group_channels = std::size_t(size);
    groups.groups = std::size_t(channels / size);
    for (std::size_t d = 0; d < sizes.size(); ++d)
      if (d != groups.axis) (d < groups.axis ? groups.outer : groups.inner) *= std::size_t(sizes[d]);
    return groups;
  }

  // The fewest bits that index every group's values.
  Result<unsigned> bits_of_unique(const Candidate& candidate, const Groups& cut) const {
    Tensor tensor = POM_TRY(candidate.weight.materialise());
    std::size_t most = POM_TRY(tensor.dtype() == DType::fp16 ? most_distinct(tensor.view<std::uint16_t>(), cut)
                                                             : most_distinct(tensor.view<float>(), cut));
    for (int bits : known_bits)
      if (most <= std::size_t(1) << bits && (bits != 3 || candidate.opset >= iOS18)) return unsigned(bits);
    return fail("it has {} distinct values{}, and a table holds 256", most, grouped() ? " in a group" : "");
  }

  PalettizeOptions options_;
  Mode mode_ = Mode::kmeans;
};

}  // namespace

Result<std::shared_ptr<const Scheme>> make_palettize(const SchemeOptions& options) {
  return PalettizeScheme::make(options);
}

}  // namespace pomona::compress
