#include "compress/linear_quantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "compress/linear_quantise_kernels.h"

namespace pomona::compress {
namespace {

// Weights of one row segment are converted together, at least this many where the shape allows.
constexpr std::size_t segment_weights = 64;
constexpr std::size_t staged_weights = 4096;

void to_floats(std::span<const std::uint16_t> in, float* out) { halves_to_floats(in, out); }
void to_floats(std::span<const float> in, float* out) { std::memcpy(out, in.data(), in.size_bytes()); }
float to_float(std::uint16_t half) { return half_to_float(half); }
float to_float(float value) { return value; }

Status check(std::size_t weights, const BlockedShape& shape, const LinearOptions& options) {
  POM_REQUIRE(shape.rows > 0 && shape.columns > 0 && shape.depth > 0, "the weight is empty: {} x {} x {}", shape.rows,
              shape.columns, shape.depth);
  POM_REQUIRE(weights / shape.rows / shape.columns == shape.depth && weights % (shape.rows * shape.columns) == 0,
              "{} weights do not fill {} x {} x {}", weights, shape.rows, shape.columns, shape.depth);
  POM_REQUIRE(shape.block_rows > 0 && shape.rows % shape.block_rows == 0, "{} rows cannot be cut into blocks of {}",
              shape.rows, shape.block_rows);
  POM_REQUIRE(shape.block_columns > 0 && shape.columns % shape.block_columns == 0,
              "{} columns cannot be cut into blocks of {}", shape.columns, shape.block_columns);
  POM_REQUIRE(options.bits >= 2 && options.bits <= 8, "codes of {} bits were asked for; linear codes have 2 to 8",
              options.bits);
  POM_REQUIRE(!options.lowest_code || (options.symmetric && options.is_signed),
              "the lowest code is only left out of symmetric signed ranges, so it can only be added to those");
  POM_REQUIRE(options.candidates >= 1 && options.candidates <= 1024,
              "{} candidate ranges were asked for; 1 to 1024 can be tried", options.candidates);
  return {};
}

// The codes in use and the zero point of symmetric blocks, as in coremltools: symmetric ranges have as many codes below
// as above.
BlockCoding coding_for(const LinearOptions& options) {
  BlockCoding coding;
  const auto codes = static_cast<float>(1u << options.bits);
  coding.lowest = options.is_signed ? -codes / 2 : 0;
  coding.highest = coding.lowest + codes - 1;
  if (options.symmetric && options.is_signed && !options.lowest_code) coding.lowest += 1;
  if (options.symmetric && !options.is_signed) coding.highest -= 1;
  coding.symmetric = options.symmetric;
  coding.zero_point = options.is_signed ? 0 : coding.highest / 2;
  coding.fp16_scales = options.scale_type == ScaleType::fp16;
  coding.candidates = options.candidates;
  coding.fine = options.fine;
  if (options.extremes) {
    coding.given_extremes = true;
    coding.least = std::min(options.extremes->first, 0.0f);
    coding.most = std::max(options.extremes->second, 0.0f);
  }
  return coding;
}

// Where a run of blocks beside each other lies: block_rows segments of `blocks * run` weights.
struct Strip {
  std::size_t first_weight, blocks, run, block_rows, row_weights;
};

// Blocks are staged this far apart: a multiple of the padding and, where a block spans rows, an odd one, since segments
// are dealt out over all blocks at once and blocks a multiple of 4 KiB apart would compete for the same cache lines.
std::size_t staged_stride(std::size_t block_weights, std::size_t block_rows) {
  const std::size_t paddings = (block_weights + block_padding - 1) / block_padding;
  const bool competes = block_rows > 1 && block_weights >= 512 && paddings % 2 == 0;
  return (paddings + (competes ? 1 : 0)) * block_padding;
}

// Copies `runs` runs of `run` elements from places `from_step` apart to places `to_step` apart.
template <class Element>
void deal(const Element* from, std::size_t from_step, Element* to, std::size_t to_step, std::size_t runs,
          std::size_t run) {
  if (run == 1) {
    for (std::size_t k = 0; k < runs; ++k) to[k * to_step] = from[k * from_step];
    return;
  }
  for (std::size_t k = 0; k < runs; ++k) std::copy_n(from + k * from_step, run, to + k * to_step);
}

// Converts a strip to fp32, block after block, each `stride` apart. The padding of the blocks in `staged` is 0 already.
template <class Weight>
void gather(std::span<const Weight> weights, const Strip& strip, std::size_t stride, float* segment, float* staged) {
  for (std::size_t row = 0; row < strip.block_rows; ++row) {
    const auto part = weights.subspan(strip.first_weight + row * strip.row_weights, strip.blocks * strip.run);
    if (strip.run == stride) {
      to_floats(part, staged);
      continue;
    }
    to_floats(part, segment);
    deal(segment, strip.run, staged + row * strip.run, stride, strip.blocks, strip.run);
  }
}

void scatter(const std::uint8_t* staged, const Strip& strip, std::size_t stride, std::uint8_t* codes) {
  for (std::size_t row = 0; row < strip.block_rows; ++row) {
    std::uint8_t* to = codes + strip.first_weight + row * strip.row_weights;
    deal(staged + row * strip.run, stride, to, strip.run, strip.blocks, strip.run);
  }
}

template <class Weight>
Error explain(std::span<const Weight> weights, const BlockedShape& shape, std::size_t block) {
  const auto bad =
      std::find_if(weights.begin(), weights.end(), [](Weight weight) { return !std::isfinite(to_float(weight)); });
  if (bad != weights.end()) {
    return fail("weight {} of {} is {}; only finite weights can be quantised", bad - weights.begin(), weights.size(),
                to_float(*bad));
  }
  const std::size_t per_row = shape.columns / shape.block_columns;
  return fail("the block at row {}, column {} needs a scale above {}, the largest fp16 number",
              block / per_row * shape.block_rows, block % per_row * shape.block_columns, largest_half)
      .advise("store the scales as fp32");
}

std::uint8_t byte_of(float zero_point) { return static_cast<std::uint8_t>(static_cast<int>(zero_point) & 255); }

template <class Weight>
Result<double> quantise_into(const LinearPlaces& out, std::span<const Weight> weights, const BlockedShape& shape,
                             const LinearOptions& options) {
  POM_TRY(check(weights.size(), shape, options));
  const BlockCoding coding = coding_for(options);
  const std::size_t per_row = shape.columns / shape.block_columns;
  const std::size_t run = shape.block_columns * shape.depth;
  const std::size_t stride = staged_stride(shape.block_rows * run, shape.block_rows);
  const std::size_t wanted = std::max(staged_weights / stride, (segment_weights + run - 1) / run);
  const std::size_t together = std::clamp<std::size_t>(wanted, 1, per_row);
  // Blocks of one row without padding are coded into their place.
  const bool in_place = run == stride;

  double squared_error = 0;
  std::vector<float> staged(together * stride);
  std::vector<float> segment(in_place ? 0 : together * run);
  std::vector<std::uint8_t> staged_codes(in_place ? 0 : together * stride);
  std::vector<float> zero_points(together);
  for (std::size_t block = 0; block < out.scales.size();) {
    const std::size_t column = block % per_row;
    Strip strip{0, std::min(together, per_row - column), run, shape.block_rows, shape.columns * shape.depth};
    strip.first_weight = block / per_row * shape.block_rows * strip.row_weights + column * run;
    gather(weights, strip, stride, segment.data(), staged.data());
    std::uint8_t* codes = in_place ? out.codes.data() + strip.first_weight : staged_codes.data();
    const std::size_t done = code_blocks(staged.data(), strip.blocks, stride, coding, out.scales.data() + block,
                                         zero_points.data(), codes, &squared_error);
    if (done < strip.blocks) return explain(weights, shape, block + done);
    if (!in_place) scatter(codes, strip, stride, out.codes.data());
    if (!out.zero_points.empty())
      std::transform(zero_points.begin(), zero_points.begin() + std::ptrdiff_t(strip.blocks),
                     out.zero_points.begin() + std::ptrdiff_t(block), byte_of);
    block += strip.blocks;
  }
  return squared_error;
}

template <class Weight>
Result<LinearCodes> quantise(std::span<const Weight> weights, const BlockedShape& shape, const LinearOptions& options) {
  POM_TRY(check(weights.size(), shape, options));
  LinearCodes out;
  out.codes.resize(weights.size());
  out.scales.resize(shape.rows / shape.block_rows * (shape.columns / shape.block_columns));
  if (!options.symmetric || !options.is_signed) out.zero_points.resize(out.scales.size());
  out.squared_error = POM_TRY(quantise_into({out.codes, out.scales, out.zero_points}, weights, shape, options));
  return out;
}

}  // namespace

Result<LinearCodes> quantise_linear(std::span<const std::uint16_t> halves, const BlockedShape& shape,
                                    const LinearOptions& options) {
  return quantise(halves, shape, options);
}
Result<LinearCodes> quantise_linear(std::span<const float> floats, const BlockedShape& shape,
                                    const LinearOptions& options) {
  return quantise(floats, shape, options);
}

Result<double> quantise_linear_into(const LinearPlaces& places, std::span<const std::uint16_t> halves,
                                    const BlockedShape& shape, const LinearOptions& options) {
  return quantise_into(places, halves, shape, options);
}
Result<double> quantise_linear_into(const LinearPlaces& places, std::span<const float> floats,
                                    const BlockedShape& shape, const LinearOptions& options) {
  return quantise_into(places, floats, shape, options);
}

}  // namespace pomona::compress
