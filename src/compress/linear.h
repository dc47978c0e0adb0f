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
  POM_OPTION(granularity, std::string, "a scale per_tensor, per_channel or per_block") = "per_channel";
  POM_OPTION(block_size, int, "input channels per scale, with per_block") = 32;
  POM_OPTION(weight_threshold, std::int64_t, "weights of at most so many elements are left") = 2048;
  POM_OPTION(search, int, "ranges tried per scale: 1 takes the extremes, more the one of least squared error") = 1;
  POM_OPTION(full_range, bool, "use the lowest code too, which a symmetric range leaves out");
};

Result<std::shared_ptr<const Scheme>> make_linear(const SchemeOptions& options);

}  // namespace pomona::compress
