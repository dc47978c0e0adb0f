#include "compress/linear.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/threads.h"
#include "compress/blocks.h"
#include "compress/linear_ranges.h"
#include "compress/row_sums.h"
#include "ops/constexpr.h"

namespace pomona::compress {
namespace {

// Rows are encoded in pieces of about so many weights, on several threads.
constexpr std::size_t piece_elements = 1 << 18;
// fp16 ends at 65,504, and a code times a rounded scale may be a little more than the weight.
constexpr double largest_in_half = 65000;

void to_floats(std::span<const std::uint16_t> in, float* out) { halves_to_floats(in, out); }
void to_floats(std::span<const float> in, float* out) { std::memcpy(out, in.data(), in.size_bytes()); }

// How a weight is cut into blocks. Where `shape` says it, blocks are coded where they lie, otherwise each is gathered.
struct Cut {
  Sizes block, scale_sizes;
  std::optional<BlockedShape> shape;
  std::string words, note;
};

std::size_t product(const Sizes& sizes, std::size_t begin, std::size_t end) {
  std::size_t result = 1;
  for (std::size_t d = begin; d < end; ++d) result *= std::size_t(sizes[d]);
  return result;
}

// One axis is cut and the others are whole; or two neighbours are cut, with single elements before and whole axes
// behind them.
std::optional<BlockedShape> shape_of(const Sizes& sizes, const Sizes& block) {
  std::size_t rank = sizes.size(), first = 0, last = 0, cut = 0;
  for (std::size_t d = 0; d < rank; ++d)
    if (block[d] != sizes[d]) {
      if (cut++ == 0) first = d;
      last = d;
    }
  std::size_t count = product(sizes, 0, rank);
  if (cut == 0) return BlockedShape{1, count, 1, 1, count};
  if (cut == 1) {
    std::size_t outer = product(sizes, 0, first), size = std::size_t(sizes[first]), length = std::size_t(block[first]),
                inner = product(sizes, first + 1, rank);
    if (outer == 1 && length == 1) return BlockedShape{size, inner, 1, 1, inner};
    return BlockedShape{outer, size, inner, outer, length};
  }
  std::size_t row = last - 1;
  for (std::size_t d = 0; d < row; ++d)
    if (block[d] != 1) return {};
  return BlockedShape{product(sizes, 0, row + 1), std::size_t(sizes[last]), product(sizes, last + 1, rank),
                      std::size_t(block[row]), std::size_t(block[last])};
}

// `wanted`: per axis, 0 for the whole one.
Cut cut_into(const Sizes& sizes, const Sizes& wanted, std::string words) {
  Cut cut;
  cut.words = std::move(words);
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    std::int64_t size = wanted[d] == 0 ? sizes[d] : nearest_divisor(sizes[d], wanted[d]);
    std::string note = wanted[d] == 0 ? "" : divisor_note("block", d, sizes[d], wanted[d], size);
    if (!note.empty()) cut.note += (cut.note.empty() ? "" : "; ") + note;
    cut.block.push_back(size);
    cut.scale_sizes.push_back(sizes[d] / size);
  }
  cut.shape = shape_of(sizes, cut.block);
  return cut;
}

struct Coding {
  DType dtype;
  LinearOptions options;
  Range range = Range::extremes;
  double percentile = 100;
  bool has_zero_points;
  Cut cut;
  Importance importance;
  bool balance = false;

  // Done by the kernels of linear_quantise.h.
  bool plain() const {
    return cut.shape && (range == Range::extremes || (range == Range::squared_error && !importance));
  }
};

struct Codes {
  std::vector<std::uint8_t> codes, zero_points;
  std::vector<float> scales;
  double squared_error = 0;
};

// A block far larger than a piece: its extremes first, then its pieces with them.
template <class Element>
Result<Codes> encode_whole(std::span<const Element> weights, const Coding& coding) {
  std::size_t pieces = (weights.size() + piece_elements - 1) / piece_elements;
  auto piece = [&](std::size_t p) {
    return weights.subspan(p * piece_elements, std::min(piece_elements, weights.size() - p * piece_elements));
  };
  std::vector<std::pair<float, float>> extremes(pieces);
  parallel_for(pieces, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> floats;
    for (std::size_t p = begin; p < end; ++p) {
      auto values = piece(p);
      floats.resize(values.size());
      to_floats(values, floats.data());
      float least = 0, most = 0;
      for (float value : floats) least = std::min(least, value), most = std::max(most, value);
      extremes[p] = {least, most};
    }
  });
  LinearOptions options = coding.options;
  options.extremes = extremes[0];
  for (auto [least, most] : extremes)
    options.extremes = {std::min(options.extremes->first, least), std::max(options.extremes->second, most)};
  Codes result;
  result.codes.resize(weights.size());
  result.scales.resize(1);
  std::vector<Result<LinearCodes>> coded(pieces, Result<LinearCodes>(LinearCodes{}));
  parallel_for(pieces, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) {
      auto values = piece(p);
      coded[p] = quantise_linear(values, {1, values.size(), 1, 1, values.size()}, options);
      if (!coded[p]) continue;
      std::ranges::copy(coded[p]->codes, result.codes.begin() + std::ptrdiff_t(p * piece_elements));
      std::vector<std::uint8_t>().swap(coded[p]->codes);
    }
  });
  for (auto& part : coded) {
    LinearCodes codes = POM_TRY(std::move(part));
    result.squared_error += codes.squared_error;
    result.scales = codes.scales;
    result.zero_points = codes.zero_points;
  }
  return result;
}

// Encodes whole rows of blocks, some at a time, into the places of the result.
template <class Element>
Result<Codes> encode_rows(std::span<const Element> weights, const Coding& coding) {
  const BlockedShape& shape = *coding.cut.shape;
  std::size_t row = shape.columns * shape.depth, block_row = row * shape.block_rows;
  std::size_t bands = shape.rows / shape.block_rows, scales_per_band = shape.columns / shape.block_columns;
  std::size_t step = std::max<std::size_t>(1, piece_elements / std::max<std::size_t>(1, block_row));
  std::size_t pieces = (bands + step - 1) / step;
  Codes result;
  result.codes.resize(weights.size());
  result.scales.resize(bands * scales_per_band);
  if (coding.has_zero_points) result.zero_points.resize(result.scales.size());
  std::vector<double> squared_errors(pieces);
  std::vector<Status> statuses(pieces);
  parallel_for(pieces, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) {
      std::size_t first = p * step, count = std::min(step, bands - first);
      BlockedShape part = shape;
      part.rows = count * shape.block_rows;
      auto scale = first * scales_per_band;
      LinearPlaces places{std::span(result.codes).subspan(first * block_row, count * block_row),
                          std::span(result.scales).subspan(scale, count * scales_per_band),
                          {}};
      if (coding.has_zero_points)
        places.zero_points = std::span(result.zero_points).subspan(scale, count * scales_per_band);
      auto error =
          quantise_linear_into(places, weights.subspan(first * block_row, count * block_row), part, coding.options);
      if (error)
        squared_errors[p] = *error;
      else
        statuses[p] = std::move(error).error();
    }
  });
  for (Status& status : statuses) POM_TRY(std::move(status));
  for (double each : squared_errors) result.squared_error += each;
  return result;
}

template <class Element>
Codes encode_gathered(std::span<const Element> weights, const Sizes& sizes, const Coding& coding) {
  Blocks blocks(sizes, coding.cut.block);
  std::size_t count = blocks.count(), elements = blocks.elements();
  Codes result;
  result.codes.resize(weights.size());
  result.scales.resize(count);
  if (coding.has_zero_points) result.zero_points.resize(count);
  std::vector<double> squared_errors(count);
  std::vector<float> factors = coding.importance.of_all(weights.size());
  parallel_for(count, 1 + (1 << 14) / elements, [&](std::size_t begin, std::size_t end) {
    std::vector<Element> gathered(elements);
    std::vector<float> floats(elements), block_factors(factors.empty() ? 0 : elements);
    for (std::size_t b = begin; b < end; ++b) {
      if (!factors.empty()) blocks.gather(b, factors.data(), block_factors.data());
      blocks.gather(b, weights.data(), gathered.data());
      to_floats(std::span<const Element>(gathered), floats.data());
      BlockCodes coded = code_block(floats, block_factors, coding.options, coding.range, coding.percentile);
      blocks.scatter(b, coded.codes.data(), result.codes.data());
      result.scales[b] = coded.scale;
      if (coding.has_zero_points) result.zero_points[b] = coded.zero_point;
      squared_errors[b] = coded.squared_error;
    }
  });
  for (double each : squared_errors) result.squared_error += each;
  return result;
}

template <class Element>
Result<Codes> encode_all(std::span<const Element> weights, const Sizes& sizes, const Coding& coding) {
  if (!coding.plain()) return encode_gathered(weights, sizes, coding);
  bool one = coding.cut.shape->rows == 1 && coding.cut.shape->block_columns == coding.cut.shape->columns;
  if (one && coding.options.candidates == 1 && weights.size() > piece_elements) return encode_whole(weights, coding);
  return encode_rows(weights, coding);
}

Result<Codes> encode_tensor(const Tensor& tensor, const Coding& coding) {
  if (tensor.dtype() == DType::fp16) return encode_all(tensor.view<std::uint16_t>(), tensor.sizes(), coding);
  return encode_all(tensor.view<float>(), tensor.sizes(), coding);
}

// Rows lie beside each other, each with scales of its own.
void balance(Codes& coded, const Tensor& tensor, const Coding& coding) {
  const BlockedShape& shape = *coding.cut.shape;
  Tensor floats = tensor.converted(DType::fp32);
  coded.squared_error = balance_rows(
      floats.view<float>(),
      {coded.codes, coded.scales, shape.rows, shape.columns / shape.block_columns, coding.options.scale_type});
}

Tensor tensor_of(DType dtype, const Sizes& sizes, std::vector<std::uint8_t> elements) {
  auto owner = std::make_shared<const std::vector<std::uint8_t>>(std::move(elements));
  return Tensor(dtype, sizes, Bytes(owner, *owner));
}

Tensor tensor_of_scales(DType dtype, const Sizes& sizes, const std::vector<float>& scales) {
  Tensor tensor(dtype, sizes);
  if (dtype == DType::fp16)
    floats_to_halves(scales, tensor.mutable_view<std::uint16_t>().data());
  else
    std::copy(scales.begin(), scales.end(), tensor.mutable_view<float>().begin());
  return tensor;
}

// The parts: codes, scales, and zero points where there are any.
MakeParts encoder(const Coding& coding, const Sizes& scale_sizes, const std::shared_ptr<Measured>& measured) {
  return [=](std::span<const Tensor> in) -> Result<Tensors> {
    Codes coded = POM_TRY(encode_tensor(in[0], coding));
    if (coding.balance) balance(coded, in[0], coding);
    measured->squared_error = coded.squared_error;
    Tensors parts{tensor_of(coding.dtype, in[0].sizes(), std::move(coded.codes)),
                  tensor_of_scales(in[0].dtype(), scale_sizes, coded.scales)};
    if (coding.has_zero_points) parts.push_back(tensor_of(coding.dtype, scale_sizes, std::move(coded.zero_points)));
    return parts;
  };
}

std::optional<Range> range_named(std::string_view name) {
  if (name == "minmax") return Range::extremes;
  if (name == "mse") return Range::squared_error;
  if (name == "percentile") return Range::percentile;
  if (name == "hqq") return Range::half_quadratic;
  return {};
}

class LinearScheme : public Scheme {
 public:
  static Result<std::shared_ptr<const Scheme>> make(const SchemeOptions& given) {
    auto scheme = std::make_shared<LinearScheme>();
    LinearSchemeOptions& o = scheme->options_;
    POM_TRY(set_fields(o, given));
    POM_REQUIRE(*o.mode == "linear_symmetric" || *o.mode == "linear", "mode is linear_symmetric or linear, not '{}'",
                *o.mode);
    auto dtype = dtype_named(*o.dtype);
    POM_REQUIRE(dtype == DType::int8 || dtype == DType::uint8 || dtype == DType::int4 || dtype == DType::uint4,
                "dtype is int8, uint8, int4 or uint4, not '{}'", *o.dtype);
    POM_REQUIRE(*o.granularity == "per_tensor" || *o.granularity == "per_channel" || *o.granularity == "per_block",
                "granularity is per_tensor, per_channel or per_block, not '{}'", *o.granularity);
    for (std::int64_t size : *o.block_size) POM_REQUIRE(size >= 0, "block_size is {}", size);
    POM_REQUIRE(!o.block_size->empty(), "block_size is empty");
    POM_REQUIRE(*o.search >= 1 && *o.search <= 1024, "search is {}; 1 to 1024 ranges can be tried", *o.search);
    auto range = range_named(*o.range);
    POM_REQUIRE(range, "range is minmax, mse, percentile or hqq, not '{}'", *o.range);
    POM_REQUIRE(*o.percentile > 50 && *o.percentile <= 100, "percentile is {}, not above 50 and up to 100",
                *o.percentile);
    POM_REQUIRE(*o.search == 1 || *range == Range::extremes || *range == Range::squared_error,
                "search goes with range mse, not with {}", *o.range);
    POM_REQUIRE(*o.first_layers >= 0 && *o.first_layers <= 1, "first_layers is {}, not 0 to 1", *o.first_layers);
    POM_REQUIRE(!o.balance || (symmetric_int8(o) && *range == Range::extremes && *o.search == 1),
                "balance is for linear_symmetric int8 with range minmax");
    POM_REQUIRE(*o.max_error >= 0, "max_error is {}", *o.max_error);
    unsigned bits = info(*dtype).bits;
    if (o.nbits->has_value()) {
      POM_REQUIRE(**o.nbits >= 2 && unsigned(**o.nbits) <= bits, "nbits is 2 to {} in {}, not {}", bits, *o.dtype,
                  **o.nbits);
      bits = unsigned(**o.nbits);
    }
    bool symmetric = *o.mode == "linear_symmetric", is_signed = info(*dtype).is_signed;
    POM_REQUIRE(!o.full_range || (symmetric && is_signed), "full_range is for linear_symmetric int8 and int4");
    scheme->dtype_ = *dtype;
    scheme->range_ = *range;
    unsigned candidates = unsigned(*o.search);
    if (*range == Range::squared_error && candidates == 1) candidates = 16;
    if (candidates > 1) scheme->range_ = Range::squared_error;
    scheme->coding_ = {bits, is_signed, symmetric, o.full_range, ScaleType::fp16, candidates, {}};
    return std::shared_ptr<const Scheme>(std::move(scheme));
  }

  std::string_view scheme_name() const override { return "linear"; }
  std::int64_t weight_threshold() const override { return options_.weight_threshold; }
  double first_layers() const override { return options_.first_layers; }

  Status check(Target opset) const override {
    std::string_view needs = info(dtype_).bits < 8                  ? *options_.dtype
                             : *options_.granularity == "per_block" ? "per_block"
                                                                    : std::string_view();
    if (opset >= iOS18 || (opset >= iOS16 && needs.empty())) return {};
    if (needs.empty())
      return fail("the program is for {}, but compressed weights need iOS16", name(opset))
          .advise("convert the model with --target iOS16 or later");
    return fail("the program is for {}, but {} weights need iOS18", name(opset), needs)
        .advise("convert the model with --target iOS18")
        .advise("--scheme int8, which iOS16 has");
  }

  Result<Encoded> encode(const Candidate& candidate) const override {
    Cut asked = POM_TRY(cut(candidate, *options_.granularity));
    if (*options_.max_error == 0) return encode(candidate, std::move(asked));
    double loss = POM_TRY(relative_error(candidate, asked));
    if (loss <= *options_.max_error) return encode(candidate, std::move(asked));
    std::string lost = fmt::format("{} would lose {:.2g} %", asked.words, 100 * loss);
    auto finer = cut(candidate, "per_block");
    bool better =
        finer && candidate.opset >= iOS18 && POM_TRY(relative_error(candidate, *finer)) <= *options_.max_error;
    if (!better) return fail("{}", lost);
    finer->note += (finer->note.empty() ? "" : "; ") + lost;
    return encode(candidate, *std::move(finer));
  }

 private:
  static bool symmetric_int8(const LinearSchemeOptions& o) {
    return *o.mode == "linear_symmetric" && *o.dtype == "int8" && !o.nbits->has_value() && !o.full_range;
  }

  Coding coding_for(const Candidate& candidate, Cut cut) const {
    Coding coding{dtype_,         coding_, range_, *options_.percentile, !coding_.symmetric || !coding_.is_signed,
                  std::move(cut), {}};
    // Its first axis is that of the outputs.
    coding.balance = options_.balance && candidate.convolved && !candidate.sparse && !candidate.kept &&
                     coding.cut.shape && coding.cut.shape->block_rows == 1 &&
                     coding.cut.shape->rows == std::size_t(candidate.weight.sizes()[0]);
    if (coding.balance) {
      coding.options.candidates = 16;
      coding.options.fine = true;
    }
    // Few codes are worth a range that clips what hardly matters.
    if (candidate.importance && coding_.bits <= 4 && range_ == Range::extremes) {
      coding.range = Range::squared_error;
      coding.options.candidates = 24;
    }
    if (coding.range == Range::squared_error) coding.importance = candidate.importance;
    coding.options.scale_type = candidate.weight.dtype() == DType::fp16 ? ScaleType::fp16 : ScaleType::fp32;
    return coding;
  }

  Result<double> relative_error(const Candidate& candidate, const Cut& cut) const {
    Coding coding = coding_for(candidate, cut);
    if (coding.options.fine) coding.options.candidates = 1;
    Codes coded = POM_TRY(encode_tensor(candidate.tensor, coding));
    double squares = candidate.summary.sum_of_squares;
    return squares > 0 ? std::sqrt(coded.squared_error / squares) : 0;
  }

  Result<Encoded> encode(const Candidate& candidate, Cut cut) const {
    Coding coding = coding_for(candidate, std::move(cut));
    const Weight& weight = candidate.weight;
    double span = candidate.summary.largest_magnitude * (coding_.symmetric ? 1 : 2);
    POM_REQUIRE(weight.dtype() != DType::fp16 || span <= largest_in_half,
                "its largest magnitude is {}, too near the end of fp16 for a scale",
                candidate.summary.largest_magnitude);
    bool old_form = candidate.opset < iOS18;
    POM_REQUIRE(!old_form || std::ranges::count_if(coding.cut.scale_sizes, [](auto n) { return n != 1; }) <= 1,
                "scales along several axes need iOS18");
    auto measured = std::make_shared<Measured>();
    Encoded encoded;
    encoded.scheme = words(coding);
    encoded.note = coding.cut.note;
    encoded.measured = measured;
    Sizes scale_sizes = old_form ? old_scale_sizes(coding.cut) : coding.cut.scale_sizes;
    std::vector<PartType> types{{dtype_, weight.sizes()}, {weight.dtype(), scale_sizes}};
    if (coding.has_zero_points) types.push_back({dtype_, scale_sizes});
    std::string what =
        fmt::format("linear {} {} {} search {} {} {} {}", *options_.mode, encoded.scheme, *options_.range,
                    *options_.search, *options_.percentile, options_.full_range ? "full" : "", to_string(scale_sizes)) +
        fmt::format(" {} {}", coding.balance, static_cast<const void*>(coding.importance.values.get()));
    auto parts = parts_of(what, {weight}, types, encoder(coding, scale_sizes, measured), candidate.shelf);
    encoded.add(old_form ? old_stage(parts, coding.cut) : new_stage(parts));
    return encoded;
  }

  std::string words(const Coding& coding) const {
    std::string bits = coding_.bits < info(dtype_).bits ? fmt::format("{} bits in ", coding_.bits) : "";
    std::string range = range_ == Range::percentile       ? fmt::format(", {} % inside", *options_.percentile)
                        : range_ == Range::half_quadratic ? ", half-quadratic"
                                                          : "";
    return fmt::format("{}{} {}{}{}", bits, *options_.dtype, coding.cut.words, coding_.symmetric ? "" : ", asymmetric",
                       range);
  }

  Result<Cut> cut(const Candidate& candidate, std::string_view granularity) const {
    const Sizes& sizes = candidate.weight.sizes();
    Sizes block(sizes.size(), 0);
    if (granularity == "per_tensor") return cut_into(sizes, block, "per tensor");
    if (granularity == "per_block" && options_.block_size->size() > 1) {
      POM_REQUIRE(options_.block_size->size() == sizes.size(), "block_size has {} sizes, but its rank is {}",
                  options_.block_size->size(), sizes.size());
      Cut made = cut_into(sizes, options_.block_size, "");
      made.words = "per block of " + to_string(made.block);
      return made;
    }
    ChannelAxes axes = POM_TRY(channels(candidate));
    if (granularity == "per_channel") {
      block[axes.output] = 1;
      return cut_into(sizes, block, fmt::format("per channel of axis {}", axes.output));
    }
    // Single elements before the channel axes, so that blocks never span the matrices of a batch.
    for (std::size_t d = 0; d < std::min(axes.output, axes.input); ++d) block[d] = 1;
    block[axes.output] = 1;
    block[axes.input] = options_.block_size->front();
    Cut made = cut_into(sizes, block, "");
    made.words = fmt::format("per block of {} along axis {}", made.block[axes.input], axes.input);
    return made;
  }

  Result<ChannelAxes> channels(const Candidate& candidate) const {
    if (!options_.channel_axis->has_value()) return Result<ChannelAxes>(candidate.axes);
    int axis = **options_.channel_axis, rank = int(candidate.weight.sizes().size());
    POM_REQUIRE(axis >= -rank && axis < rank, "channel_axis {} is outside its rank {}", axis, rank);
    auto output = std::size_t(axis < 0 ? axis + rank : axis);
    return ChannelAxes{output, output == 0 ? std::size_t(1) : output - 1};
  }

  // The axis along which scales differ; without one, rank 0.
  static std::optional<std::size_t> scale_axis(const Cut& cut) {
    for (std::size_t d = 0; d < cut.scale_sizes.size(); ++d)
      if (cut.scale_sizes[d] != 1) return d;
    return {};
  }
  static Sizes old_scale_sizes(const Cut& cut) {
    auto axis = scale_axis(cut);
    return axis ? Sizes{cut.scale_sizes[*axis]} : Sizes{};
  }

  static Stage new_stage(const std::vector<Weight>& parts) {
    std::vector<std::pair<std::string, Part>> operands{{"data", parts[0]}, {"scale", parts[1]}};
    if (parts.size() > 2) operands.emplace_back("offset", parts[2]);
    return stage<mil::constexpr_blockwise_shift_scale>(std::move(operands));
  }

  // This form always has a zero point.
  Stage old_stage(const std::vector<Weight>& parts, const Cut& cut) const {
    return stage<mil::constexpr_affine_dequantize>(
        {{"quantized_data", parts[0]},
         {"scale", parts[1]},
         {"zero_point", parts.size() > 2 ? parts[2] : Weight(Tensor(dtype_, {}))}},
        {{"axis", std::int64_t(scale_axis(cut).value_or(0))}});
  }

  LinearSchemeOptions options_;
  LinearOptions coding_;
  Range range_ = Range::extremes;
  DType dtype_ = DType::int8;
};

}  // namespace

Result<std::shared_ptr<const Scheme>> make_linear(const SchemeOptions& options) { return LinearScheme::make(options); }

}  // namespace pomona::compress
