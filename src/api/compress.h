// Makes the weights of a package smaller, or plain again.
//
//   CompressReport report = POM_TRY(compress("in.mlpackage", "out.mlpackage", {.scheme = "int4"}, {}, {}));
//   report.lines[0].relative_error()
#pragma once
#include "api/convert.h"
#include "api/verify.h"
#include "compress/activations.h"

namespace pomona::api {

struct CompressOptions {
  POM_OPTION(scheme, std::string,
             "linear, palettize, prune or activations, or a short name: int8, int4, lut4, w8a8, sparse50+lut4, ...");
  POM_OPTION(activations, std::string, "int8, uint8 or auto: quantise activations too, beside --scheme");
  POM_OPTION(config, std::string, "YAML or JSON file that says which weight gets which scheme");
  POM_OPTION(calibrate, std::string,
             "npz, folder, picture or text file of samples; random: seeded inputs, a poor choice");
  POM_OPTION(samples, int, "the most samples that are used; of random, how many") = 16;
  POM_OPTION(tokenizer, std::string, "vocab.txt, tokenizer.json or the folder of one, for --calibrate with a text");
  POM_OPTION(no_rounding, bool, "with --calibrate: round to nearest, instead of taking rounding errors back (GPTQ)");
  POM_OPTION(damping, double, "of the inputs' matrices, as a part of their mean diagonal") = 0.01;
  POM_OPTION(no_activation_order, bool, "with --calibrate: round input channels in their order");
  POM_OPTION(min_cosine, std::optional<double>, "the least cosine of the outputs that passes: else exit status 1");
  POM_OPTION(keep, bool, "keep an output that does not pass");
  POM_OPTION(seed, std::int64_t, "of random inputs") = 0;
  POM_OPTION(force, bool, "replace an existing output");
};
struct CompressReport {
  std::uint64_t bytes_before = 0, bytes_after = 0, peak_memory = 0;
  std::vector<compress::WeightLine> lines;
  std::vector<compress::ActivationLine> activations;
  std::vector<std::string> warnings;
  std::optional<VerifyReport> verification;  // with data or a bar: the outputs, against those of the input
  bool written = true;
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
