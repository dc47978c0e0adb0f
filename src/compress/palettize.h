// The scheme `palettize`: indices of 1, 2, 3, 4, 6 or 8 bits into look-up tables, one table per tensor or per group of
// channels; with `cluster_dim` an index stands for several neighbours along the channels' axis.
//
//   make_palettize({{"nbits", std::int64_t(4)}, {"granularity", "per_grouped_channel"}, {"group_size",
//   std::int64_t(16)}})
//
// Modes: `kmeans`, tables of least squared error; `uniform`, evenly spaced tables as coremltools makes them; `unique`,
// the values themselves when they fit, without loss; `custom`, the entries given as `lut_values`. Every weight gets the
// nearest entry of the table as it is stored. Entries that are not needed repeat the last one.
//
// With `enable_per_channel_scale` channels are divided by their largest magnitude first; tables are fitted to what the
// weights lose, not to what the quotients lose.
//
// Stored as constexpr_lut_to_dense, in its older form in programs older than iOS18, which have one table per tensor and
// no 3 bits.
#pragma once
#include "compress/scheme.h"

namespace pomona::compress {

struct PalettizeOptions {
  POM_OPTION(mode, std::string, "kmeans, uniform, unique or custom") = "kmeans";
  POM_OPTION(nbits, std::optional<int>, "bits per index: 1, 2, 3, 4, 6 or 8; not with unique and custom");
  POM_OPTION(granularity, std::string, "a table per_tensor, per_grouped_channel or per_channel") = "per_tensor";
  POM_OPTION(group_size, int, "channels per table, with per_grouped_channel; 0: all") = 32;
  POM_OPTION(channel_axis, std::optional<int>, "the axis that is cut into groups, instead of the output channels'");
  POM_OPTION(cluster_dim, int, "elements per table entry: neighbours along the channels' axis") = 1;
  POM_OPTION(enable_per_channel_scale, bool, "a scale per channel on top of the table");
  POM_OPTION(lut_dtype, std::string, "of the tables: float (as the weight), or int8 with one scale") = "float";
  POM_OPTION(lut_values, Floats, "the table's entries, with custom");
  POM_OPTION(num_kmeans_workers, int, "taken for compatibility: --threads says how many work") = 1;
  POM_OPTION(weight_threshold, std::int64_t, "weights of at most so many elements are left") = 2048;
};

Result<std::shared_ptr<const Scheme>> make_palettize(const SchemeOptions& options);

}  // namespace pomona::compress
