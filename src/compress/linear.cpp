#include "compress/linear.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/half.h"
#include "base/threads.h"
#include "compress/linear_quantise.h"
#include "ops/constexpr.h"

namespace pomona::compress {
namespace {

// Rows are encoded in pieces of about so many weights, on several threads.
constexpr std::size_t piece_elements = 1 << 18;
// fp16 ends at 65,504, and a code times a rounded scale may be a little more than the weight.
constexpr double largest_in_half = 65000;

// How a weight is cut into blocks, and where a scale lies along each of its axes.
struct Cut {
  BlockedShape shape;
  Sizes scale_sizes;
  std::string words, note;
};

std::size_t product(const Sizes& sizes, std::size_t begin, std::size_t end) {
  std::size_t result = 1;
  for (std::size_t d = begin; d < end; ++d) result *= std::size_t(sizes[d]);
  return result;
}

Cut whole_tensor(const Sizes& sizes) {
  std::size_t count = product(sizes, 0, sizes.size());
  return {{1, count, 1, 1, count}, Sizes(sizes.size(), 1), "per tensor", {}};
}

Cut by_channel(const Sizes& sizes, std::size_t axis) {
  std::size_t outer = product(sizes, 0, axis), channels = std::size_t(sizes[axis]),
              inner = product(sizes, axis + 1, sizes.size());
  Cut cut;
  if (outer == 1)
    cut.shape = {channels, inner, 1, 1, inner};
  else
    cut.shape = {outer, channels, inner, outer, 1};
  cut.scale_sizes = Sizes(sizes.size(), 1);
  cut.scale_sizes[axis] = sizes[axis];
  cut.words = fmt::format("per channel of axis {}", axis);
  return cut;
}

Result<Cut> by_block(const Sizes& sizes, const ChannelAxes& axes, std::int64_t wanted) {
  std::size_t first = std::min(axes.output, axes.input), second = std::max(axes.output, axes.input);
  POM_REQUIRE(second == first + 1 && second < sizes.size(), "its channel axes {} and {} are not neighbours",
              axes.output, axes.input);
  std::int64_t block = nearest_divisor(sizes[axes.input], wanted);
  std::size_t outer = product(sizes, 0, first), inner = product(sizes, second + 1, sizes.size());
  Cut cut;
  cut.shape = {outer * std::size_t(sizes[first]), std::size_t(sizes[second]), inner, 1, 1};
  (axes.input == first ? cut.shape.block_rows : cut.shape.block_columns) = std::size_t(block);
  cut.scale_sizes = Sizes(sizes.size(), 1);
  for (std::size_t d = 0; d <= second; ++d) cut.scale_sizes[d] = sizes[d];
  cut.scale_sizes[axes.input] /= block;
  cut.words = fmt::format("per block of {} along axis {}", block, axes.input);
  cut.note = divisor_note("block", axes.input, sizes[axes.input], wanted, block);
  return cut;
}

struct Coding {
  DType dtype;
  LinearOptions options;
  bool has_zero_points;
  Cut cut;
};

// Encodes whole rows of blocks, `pieces` at a time, into the places of the result.
struct Codes {
  std::vector<std::uint8_t> codes, zero_points;
  std::vector<float> scales;
  std::vector<double> squared_errors;
  Status status;
};

template <class Element>
Result<Codes> encode_rows(std::span<const Element> weights, const Coding& coding) {
  const BlockedShape& shape = coding.cut.shape;
  std::size_t row = shape.columns * shape.depth, block_row = row * shape.block_rows;
  std::size_t bands = shape.rows / shape.block_rows, scales_per_band = shape.columns / shape.block_columns;
  std::size_t step = std::max<std::size_t>(1, piece_elements / std::max<std::size_t>(1, block_row));
  std::size_t pieces = (bands + step - 1) / step;
  Codes result;
  result.codes.resize(weights.size());
  result.scales.resize(bands * scales_per_band);
  if (coding.has_zero_points) result.zero_points.resize(result.scales.size());
  result.squared_errors.resize(pieces);
  std::vector<Status> statuses(pieces);
  parallel_for(pieces, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) {
      std::size_t first = p * step, count = std::min(step, bands - first);
      BlockedShape part = shape;
      part.rows = count * shape.block_rows;
      auto coded = quantise_linear(weights.subspan(first * block_row, count * block_row), part, coding.options);
      if (!coded) {
        statuses[p] = std::move(coded).error();
        continue;
      }
      std::copy(coded->codes.begin(), coded->codes.end(), result.codes.begin() + std::ptrdiff_t(first * block_row));
      auto scale = std::ptrdiff_t(first * scales_per_band);
      std::copy(coded->scales.begin(), coded->scales.end(), result.scales.begin() + scale);
      std::copy(coded->zero_points.begin(), coded->zero_points.end(), result.zero_points.begin() + scale);
      result.squared_errors[p] = coded->squared_error;
    }
  });
  for (Status& status : statuses) POM_TRY(std::move(status));
  return result;
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
MakeParts encoder(const Coding& coding, const Sizes& sizes, const Sizes& scale_sizes,
                  const std::shared_ptr<Measured>& measured) {
  return [=](std::span<const Tensor> in) -> Result<Tensors> {
    bool half = in[0].dtype() == DType::fp16;
    Codes coded =
        POM_TRY(half ? encode_rows(in[0].view<std::uint16_t>(), coding) : encode_rows(in[0].view<float>(), coding));
    double error = 0;
    for (double each : coded.squared_errors) error += each;
    measured->squared_error = error;
    Tensors parts{tensor_of(coding.dtype, sizes, std::move(coded.codes)),
                  tensor_of_scales(in[0].dtype(), scale_sizes, coded.scales)};
    if (coding.has_zero_points) parts.push_back(tensor_of(coding.dtype, scale_sizes, std::move(coded.zero_points)));
    return parts;
  };
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
    POM_REQUIRE(*o.block_size >= 1, "block_size is {}", *o.block_size);
    POM_REQUIRE(*o.search >= 1 && *o.search <= 1024, "search is {}; 1 to 1024 ranges can be tried", *o.search);
    bool symmetric = *o.mode == "linear_symmetric", is_signed = info(*dtype).is_signed;
    POM_REQUIRE(!o.full_range || (symmetric && is_signed), "full_range is for linear_symmetric int8 and int4");
    scheme->dtype_ = *dtype;
    scheme->coding_ = {info(*dtype).bits, is_signed, symmetric, o.full_range, ScaleType::fp16, unsigned(*o.search)};
    return std::shared_ptr<const Scheme>(std::move(scheme));
  }

  std::int64_t weight_threshold() const override { return options_.weight_threshold; }

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
    Coding coding{dtype_, coding_, !coding_.symmetric || !coding_.is_signed, POM_TRY(cut(candidate))};
    const Weight& weight = candidate.weight;
    coding.options.scale_type = weight.dtype() == DType::fp16 ? ScaleType::fp16 : ScaleType::fp32;
    double span = candidate.summary.largest_magnitude * (coding_.symmetric ? 1 : 2);
    POM_REQUIRE(weight.dtype() != DType::fp16 || span <= largest_in_half,
                "its largest magnitude is {}, too near the end of fp16 for a scale",
                candidate.summary.largest_magnitude);
    auto measured = std::make_shared<Measured>();
    Encoded encoded;
    encoded.scheme = fmt::format("{} {}{}", *options_.dtype, coding.cut.words, coding_.symmetric ? "" : ", asymmetric");
    encoded.note = coding.cut.note;
    encoded.measured = measured;
    bool old_form = candidate.opset < iOS18;
    Sizes scale_sizes = old_form ? old_scale_sizes(coding.cut) : coding.cut.scale_sizes;
    std::vector<PartType> types{{dtype_, weight.sizes()}, {weight.dtype(), scale_sizes}};
    if (coding.has_zero_points) types.push_back({dtype_, scale_sizes});
    std::string what = fmt::format("linear {} {} {} search {} {} {}", *options_.mode, *options_.dtype, coding.cut.words,
                                   *options_.search, options_.full_range ? "full" : "", to_string(scale_sizes));
    auto parts =
        parts_of(what, {weight}, types, encoder(coding, weight.sizes(), scale_sizes, measured), candidate.shelf);
    if (old_form)
      fill_old_form(encoded, parts, coding.cut);
    else
      fill(encoded, parts);
    return encoded;
  }

 private:
  Result<Cut> cut(const Candidate& candidate) const {
    const Sizes& sizes = candidate.weight.sizes();
    if (*options_.granularity == "per_tensor") return whole_tensor(sizes);
    ChannelAxes axes = POM_TRY(Result<ChannelAxes>(candidate.axes));
    if (*options_.granularity == "per_channel") return by_channel(sizes, axes.output);
    return by_block(sizes, axes, *options_.block_size);
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

  void fill(Encoded& encoded, const std::vector<Weight>& parts) const {
    const OpDef& op = def<mil::constexpr_blockwise_shift_scale>();
    encoded.op = &op;
    encoded.attributes = op.defaults;
    encoded.operands.resize(op.inputs.size());
    encoded.operands[*op.input_index("data")] = parts[0];
    encoded.operands[*op.input_index("scale")] = parts[1];
    if (parts.size() > 2) encoded.operands[*op.input_index("offset")] = parts[2];
  }

  void fill_old_form(Encoded& encoded, const std::vector<Weight>& parts, const Cut& cut) const {
    const OpDef& op = def<mil::constexpr_affine_dequantize>();
    encoded.op = &op;
    encoded.attributes = op.defaults;
    encoded.attributes[*op.attribute_index("axis")] = std::int64_t(scale_axis(cut).value_or(0));
    encoded.operands.resize(op.inputs.size());
    encoded.operands[*op.input_index("quantized_data")] = parts[0];
    encoded.operands[*op.input_index("scale")] = parts[1];
    // This form always has a zero point.
    encoded.operands[*op.input_index("zero_point")] = parts.size() > 2 ? parts[2] : Weight(Tensor(dtype_, {}));
  }

  LinearSchemeOptions options_;
  LinearOptions coding_;
  DType dtype_ = DType::int8;
};

}  // namespace

Result<std::shared_ptr<const Scheme>> make_linear(const SchemeOptions& options) { return LinearScheme::make(options); }

}  // namespace pomona::compress
