// The scheme `linear`: integer codes with scales, per tensor, per output channel, or per block of input channels.
//
//   make_linear({{"dtype", "int4"}, {"granularity", "per_block"}, {"block_size", std::int64_t(64)}})
//
// Stored as constexpr_blockwise_shift_scale; in programs older than iOS18, which have 8 bits per tensor or per channel
// only, as constexpr_affine_dequantize. With `search` 1 the scales and zero points are coremltools' own.
//
// A weight with further axes before its channel axes (a batched matmul's) gets scales of their own for each position
// there in `per_block`, as blocks never span them.
#pragma once
#include "compress/scheme.h"

namespace pomona::compress {

struct LinearSchemeOptions {
  POM_OPTION(mode, std::string,
             "linear_symmetric: the range is centred on 0; linear: it has a zero point") = "linear_symmetric";
  POM_OPTION(dtype, std::string, "of the codes: int8, uint8, int4 or uint4") = "int8";
  POM_OPTION(nbits, std::optional<int>, "a range of fewer bits than the dtype has: 2 to 8");
  POM_OPTION(granularity, std::string, "a scale per_tensor, per_channel or per_block") = "per_channel";
  POM_OPTION(block_size, Ints,
             "with per_block: input channels per scale, or a size for each axis (0: the whole one)") = Ints {
    32
  };
  POM_OPTION(channel_axis, std::optional<int>, "the axis of the channels, instead of the output channels'");
  POM_OPTION(weight_threshold, std::int64_t, "weights of at most so many elements are left") = 2048;
  POM_OPTION(range, std::string,
             "minmax takes the extremes, mse the range of least squared error, percentile clips, hqq is half-quadratic "
             "optimisation") = "minmax";
  POM_OPTION(search, int, "ranges tried per scale with mse (16 if not given)") = 1;
  POM_OPTION(percentile, double, "of the values that stay inside the range, with percentile") = 99.9;
  POM_OPTION(full_range, bool, "use the lowest code too, which a symmetric range leaves out");
  POM_OPTION(balance, bool,
             "symmetric int8 convolutions: best of 16 scales close to the extremes', and errors of each output channel "
             "add up to nothing");
  POM_OPTION(first_layers, double,
             "convolutions nearest to the inputs keep 16 bits, as many as make the result larger by this part") = 0.0;
  POM_OPTION(max_error, double,
             "weights that would lose more (relative, 0.01 is 1 %) are stored per block if that helps, else left; 0: "
             "none") = 0.0;
};

Result<std::shared_ptr<const Scheme>> make_linear(const SchemeOptions& options);

}  // namespace pomona::compress
