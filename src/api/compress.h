// Makes the weights of a package smaller, or plain again.
//
//   CompressReport report = POM_TRY(compress("in.mlpackage", "out.mlpackage", {.scheme = "int4"}, {}, {}));
//   report.lines[0].relative_error()
#pragma once
#include "api/convert.h"

namespace pomona::api {

struct CompressOptions {
  POM_OPTION(scheme, std::string, "linear or palettize, or a short name: int8, int4, lut4, ...");
  POM_OPTION(config, std::string, "json file with a scheme and its options");
  POM_OPTION(force, bool, "replace an existing output");
};
struct CompressReport {
  std::uint64_t bytes_before = 0, bytes_after = 0, peak_memory = 0;
  std::vector<compress::WeightLine> lines;
  double seconds = 0;
};

// `scheme_options`: the options of the scheme, by their names, on top of those in the config.
Result<CompressReport> compress(const std::string& input, const std::string& output, const CompressOptions& options,
                                const compress::SchemeOptions& scheme_options, const Progress& progress);

struct DecompressReport {
  std::uint64_t bytes_before = 0, bytes_after = 0;
  std::size_t weights = 0;
};
Result<DecompressReport> decompress(const std::string& input, const std::string& output, bool force,
                                    const Progress& progress);

}  // namespace pomona::api
