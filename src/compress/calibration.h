// What data says about weights: how large the inputs are that each of them is multiplied by.
//
//   Calibration data(function, samples);
//   auto statistics = POM_TRY(data.of(weight));        // none where the op that reads it is not one of these
//
// The program is run by the runtime over all samples, once for each group of weights whose matrices fit the limit, in
// the order of the program. Weights that were compressed by then are run compressed, so that later ones see the inputs
// they will have. Known ops: linear, matmul with a constant matrix, conv of one group (with a kernel of one element the
// matrix too, with larger ones the moments of the channels only).
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "compress/scheme.h"

namespace pomona::compress {

// What rounding needs of a matrix: of its inverse, damped, with columns in this order, the upper factor.
struct Factor {
  double damping = 0;
  bool activation_order = true;
  std::vector<std::size_t> order;
  std::vector<float> upper;
};

struct Statistics {
  std::size_t columns = 0;            // of the weight seen as [outputs, columns]
  std::vector<float> second_moments;  // mean square of each column's input
  std::vector<float> means, largest;  // its mean and its largest magnitude
  std::vector<float> matrix;          // mean of x x^T; empty where only moments are known
  // Something else reads the weight too, of which nothing is known (the rows of an embedding, say): every column gets
  // so much of the mean moment on top.
  double unseen = 0;
  mutable std::shared_ptr<const Factor> factor;  // kept for weights with the same input
};

// An op of the known kinds that multiplies its input by the weight: the input, the axis of it that has the weight's
// input channels, and the weight's axes.
struct LayerInput {
  Value input;
  std::size_t axis = 0;
  ChannelAxes axes;
};
std::optional<LayerInput> layer_input(const Node& op, Value weight);

class Calibration {
 public:
  Calibration(Function& function, std::vector<NamedTensors> samples, std::uint64_t limit_bytes = 256 << 20)
      : function_(&function), samples_(std::move(samples)), limit_(limit_bytes) {}
  // A sample that continues finds the states as the one before left them; others begin with empty ones.
  void set_continuing(std::vector<bool> continues) { continues_ = std::move(continues); }
  // Null without statistics. The pointer holds until the next call.
  Result<const Statistics*> of(Value weight);
  Result<std::shared_ptr<const Statistics>> shared(Value weight);
  // After the function has been changed in a way that changes what its weights are multiplied by.
  void forget() { found_.clear(); }
  Function& function() const { return *function_; }

 private:
  struct Wanted;
  Status collect(Value from);
  Function* function_;
  std::vector<NamedTensors> samples_;
  std::vector<bool> continues_;
  std::uint64_t limit_;
  std::map<std::string, std::shared_ptr<const Statistics>> found_;  // by the weight's name; the same for the same input
};

// Factors of the squared errors of a weight's elements.
Importance importance_of(const Statistics& statistics, const ChannelAxes& axes, const Sizes& sizes);

// Chooses the codes of a weight anew, one input channel after the other: what rounding one costs is taken back from
// those that follow, as the inputs' matrix says (E. Frantar et al., "GPTQ", 2022). Then codes, scales and tables are
// fitted to each other. Says in the note when the weight's form or its statistics do not allow it.
struct Rounding {
  bool activation_order = true;
  double damping = 0.01;  // of the mean of the matrix's diagonal
  bool refine = true;     // fit codes and numbers to each other in the end
};
Status round_with_data(Encoded& encoded, const Candidate& candidate, const Statistics& statistics,
                       const Rounding& options);
// Makes zeros where they cost the outputs least, and changes the weights that are left to make up for them. An error
// where the statistics do not allow it.
Status prune_with_data(Candidate& candidate, const Statistics& statistics, const Rounding& options, const Zeros& zeros);

}  // namespace pomona::compress
