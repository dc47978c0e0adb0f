// Which scheme for which weight: measured on the model's outputs, chosen for a goal, written as a configuration.
//
//   SearchReport report = POM_TRY(search("in.mlpackage", "recipe.yaml", {.max_size = "10MB"}, {}));
//   report.chosen; report.points                  // compress --config recipe.yaml does it
//
// Each weight is compressed alone with each scheme and the outputs are held against those of the plain model. Weights
// then get the schemes that cost least for the bytes they save (one price per byte for all, searched for the goal), and
// the choice is measured as a whole, next to every scheme used for all weights; when one of those is better within the
// goal, it is taken. What is measured, and how: search_trials.h.
#pragma once
#include <optional>

#include "api/convert.h"

namespace pomona::api {

struct SearchOptions {
  POM_OPTION(max_size, std::string, "goal: bytes of all weights, such as 12MB or 900000");
  POM_OPTION(bits_per_weight, std::optional<double>, "goal: bits per compressed weight, on average");
  POM_OPTION(min_cosine, std::optional<double>, "goal: the least cosine of any output; as small as possible");
  POM_OPTION(max_kl, std::optional<double>, "goal: the largest mean KL divergence of softmax(outputs), in nats");
  POM_OPTION(metric, std::string,
             "a command that prints how good a package is, more being better; its path takes the place of {}, or comes "
             "last");
  POM_OPTION(max_drop, std::optional<double>, "goal: how much less than the input's the metric may be");
  POM_OPTION(calibrate, std::string, "npz, folder, picture or text file of samples; random: seeded inputs") = "random";
  POM_OPTION(samples, int, "the most samples that are used") = 2;
  POM_OPTION(tokenizer, std::string, "vocab.txt, tokenizer.json or the folder of one, for --calibrate with a text");
  POM_OPTION(seed, std::int64_t, "of random inputs") = 0;
  POM_OPTION(plot, std::string, "SVG file of error against size; without it, beside the recipe");
  POM_OPTION(force, bool, "replace existing outputs");
};

struct SearchPoint {
  std::string name;  // a scheme for all weights, or "chosen"
  std::uint64_t bytes = 0;
  double error = 0, cosine = 1, kl = 0;
  std::optional<double> metric = {};
  bool mixed = false;
};
struct SearchChoice {
  std::string weight, scheme;  // "none": left
  std::uint64_t bytes = 0;
  double error = 0;  // alone
};
struct SearchReport {
  std::vector<SearchChoice> chosen;
  std::vector<SearchPoint> points;  // by size
  SearchPoint result;
  bool reached = true;
  std::string recipe, plot;
  std::size_t runs = 0;
  double seconds = 0;
};
// `engine`: ane, gpu, cpu, or empty for any: which schemes are tried.
Result<SearchReport> search(const std::string& input, const std::string& recipe, const std::string& engine,
                            const SearchOptions& options, const Progress& progress);

}  // namespace pomona::api
