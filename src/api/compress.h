// From a package to a smaller one, and back.
//
//   auto report = POM_TRY(compress("encoder.mlpackage", "smaller.mlpackage", {.scheme = "int4"}, {}));
//   report.weights.lines[0].snr_decibel()
//
// A pipeline is refused (its members are packages of their own).
#pragma once
#include "api/convert.h"
#include "compress/policy.h"

namespace pomona::api {

// What belongs to a scheme stays empty unless it is given: the defaults are the scheme's own (compress/linear.h,
// compress/palettize.h).
struct CompressOptions {
  POM_OPTION(scheme, std::string, "linear, palettize, or a short name: int8, int4, lut4, ...");
  POM_OPTION(mode, std::optional<std::string>, "linear_symmetric or linear; kmeans, uniform or unique");
  POM_OPTION(dtype, std::optional<std::string>, "linear: int8, uint8, int4 or uint4");
  POM_OPTION(granularity, std::optional<std::string>, "per_tensor, per_channel, per_block or per_grouped_channel");
  POM_OPTION(block_size, std::optional<std::int64_t>, "linear: input channels per scale, with per_block");
  POM_OPTION(search, std::optional<std::int64_t>, "linear: ranges tried per scale, for the least squared error");
  POM_OPTION(full_range, bool, "linear: use the lowest code too");
  POM_OPTION(nbits, std::optional<std::int64_t>, "palettize: bits per index: 1, 2, 3, 4, 6 or 8");
  POM_OPTION(group_size, std::optional<std::int64_t>, "palettize: output channels per table");
  POM_OPTION(channel_axis, std::optional<std::int64_t>, "palettize: the axis that is cut into groups");
  POM_OPTION(cluster_dim, std::optional<std::int64_t>, "palettize: elements per table entry");
  POM_OPTION(enable_per_channel_scale, bool, "palettize: a scale per channel on top of the table");
  POM_OPTION(weight_threshold, std::optional<std::int64_t>, "weights of at most so many elements are left");
  POM_OPTION(force, bool, "replace an existing output");
};

struct CompressReport {
  compress::Report weights;  // no lines after decompress()
  std::size_t decoded = 0;   // constexpr nodes that decompress() replaced
  std::uint64_t source_bytes = 0, output_bytes = 0, peak_memory = 0;
  double seconds = 0;
};

Result<CompressReport> compress(const std::string& source, const std::string& output, const CompressOptions& options,
                                const Progress& progress);
Result<CompressReport> decompress(const std::string& source, const std::string& output, bool force,
                                  const Progress& progress);

}  // namespace pomona::api
