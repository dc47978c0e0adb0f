// Compresses a program: which constants are weights, which scheme each gets, and a line about every one of them.
//
//   Request request(POM_TRY(make_scheme("int4")));
//   Report report = POM_TRY(compress(program, request));
//   ... write_package(program, ...);        // encodes, tensor by tensor
//   report.lines[0].relative_error()        // known once the weight was encoded
//
// A weight is a constant of fp16 or fp32 that some op reads. Left as they are, each with its reason: other dtypes, rank
// below 2 (Core ML mishandles compressed vectors), no more elements than the scheme's threshold, constants that the
// model returns, NaN or infinity inside, users that disagree about the channel axis where the scheme needs it, and what
// the scheme itself refuses. What is compressed already stays. Constants of fewer than 10 elements are not mentioned:
// they are stored within the program, not as weights.
//
// Equal weights, also those of different functions, are encoded once and share their bytes.
#pragma once
#include <functional>
#include <map>

#include "compress/already.h"
#include "compress/calibration.h"
#include "compress/journal.h"
#include "compress/recipe.h"

namespace pomona::compress {

struct Request {
  Recipe recipe;
  // With data: tables and ranges are fitted to what matters, and codes are chosen anew where the data allow it.
  std::shared_ptr<Calibration> calibration;
  Rounding rounding;
  bool round = true;
  bool correct_bias = false;  // with data: take what outputs lose on average out of biases
  // By a weight's name: how much the squared error of its elements matters, one number per input channel or per
  // element.
  std::map<std::string, std::vector<float>> importance;
  std::map<std::string, std::string> left;  // weights that are left unless the recipe has names, and why
  bool keep_first_layers = true;            // where a scheme says so (first_layers.h)
  std::shared_ptr<Journal> journal;         // for long jobs, or null
  Already already;  // of weights that were compressed before, and keep what that has made of them
  // Whether quantise_activations() has been called for the recipe, and the names that it used.
  bool activations_done = false;
  std::vector<bool> used_names;
  Request(Recipe of_weights) : recipe(std::move(of_weights)) {}
  Request(std::shared_ptr<const Scheme> for_all) { recipe.global = std::move(for_all); }
};

struct WeightLine {
  std::string function, name;
  DType dtype = DType::fp16;
  Sizes sizes;
  std::string scheme;                               // what it is stored as now; empty: it was left
  std::string note;                                 // why it was left, or what is not as it was asked for
  std::uint64_t bytes_before = 0, bytes_after = 0;  // both 0 when another line counts the same bytes
  double sum_of_squares = 0, error_before = 0;      // of the weight; squared error before it was encoded
  std::shared_ptr<const Measured> measured;         // null: left

  bool compressed() const { return measured != nullptr; }
  double bits_per_weight() const;  // of the stored parts; 0 when another line counts them
  // sqrt(squared error / sum of squares), and the same in decibel; absent until the weight has been encoded.
  std::optional<double> relative_error() const;
  std::optional<double> snr_decibel() const;  // infinite without error
};

struct Report {
  std::vector<WeightLine> lines;
  std::vector<std::string> warnings;  // names in the recipe that no weight has
};

// An error where the recipe does not suit the functions' operator sets, or needs data that there are none of.
Status check_recipe(const Program& program, const Recipe& recipe, bool activations_done);

// The program's weights that are not left for reasons of their own, whatever the scheme; of equal ones the first.
std::vector<Node*> compressible_weights(Function& function, std::int64_t threshold);
// A weight in the place of this node's literal by one scheme, without touching the program.
Result<Encoded> encode_alone(const Node& node, const Weight& weight, const Scheme& scheme);

using CompressProgress = std::function<void(std::size_t done, std::size_t total)>;

// Replaces the program's weights by constexpr nodes, which keep the names. Errors: the scheme is not for the program's
// operator set; a weight cannot be read.
Result<Report> compress(Program& program, const Request& request, const CompressProgress& progress = {});

// Replaces every constexpr node by a constant that is decoded when it is written. The number of nodes replaced.
Result<std::size_t> decompress(Program& program);

}  // namespace pomona::compress
