// Makes the weights of a package smaller, or plain again.
//
//   CompressReport report = POM_TRY(compress("in.mlpackage", "out.mlpackage", {.scheme = "int4"}, {}, {}));
//   report.lines[0].relative_error()
#pragma once
#include "api/convert.h"
#include "api/verify.h"
#include "compress/activations.h"
#include "compress/scaling.h"

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
  POM_OPTION(no_refinement, bool, "with --calibrate: do not fit codes, scales and tables to each other in the end");
  POM_OPTION(scaling, std::string,
             "with --calibrate: awq or smooth_quant, size of inputs moved into weights, folded into what comes before");
  POM_OPTION(smoothing_strength, std::optional<double>,
             "of smooth_quant: 0 moves nothing into the weights, 1 everything (0.5)");
  POM_OPTION(bias_correction, bool, "with --calibrate: what outputs lose on average is taken out of biases");
  POM_OPTION(importance, std::string,
             "how much each input channel matters: an imatrix file of llama.cpp (.dat or .gguf), or an .npz by weight");
  POM_OPTION(recompress, bool, "weights that are compressed already are decoded first, and compressed anew");
  POM_OPTION(joint, bool,
             "weights that are compressed already keep their zeros or tables, and what is left of them is compressed");
  POM_OPTION(min_cosine, std::optional<double>, "the least cosine of the outputs that passes: else exit status 1");
  POM_OPTION(keep, bool, "keep an output that does not pass");
  POM_OPTION(seed, std::int64_t, "of random inputs") = 0;
  POM_OPTION(force, bool, "replace an existing output");
};
// What a layer gives now, against what it gave.
struct LayerLoss {
  std::string name, type;
  double snr_decibel = 0;
};
// Inputs of layers whose size has been moved, or why it has not.
using ScalingLine = compress::ScalingLine;
struct CompressReport {
  std::uint64_t bytes_before = 0, bytes_after = 0, peak_memory = 0;
  std::vector<compress::WeightLine> lines;
  std::vector<compress::ActivationLine> activations;
  std::vector<ScalingLine> scaling;
  std::vector<std::string> warnings;
  std::optional<VerifyReport> verification;  // with data or a bar: the outputs, against those of the input
  std::vector<LayerLoss> layers;             // with data: results of ops that read weights, or run on integers
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
