// What quantised activations do to a function's outputs, before any is quantised for good.
//
//   ActivationTrial trial(function, places, samples);
//   Harm h = POM_TRY(trial.harm({codes of place 0, none for place 1, ...}));
//
// While it lives, the function has nodes that round each value the way its codes would; scales come in as inputs, so
// that the function is planned once for all trials. The destructor takes them out again.
#pragma once
#include <memory>
#include <optional>

#include "compress/activation_ranges.h"
#include "cpu/runner.h"

namespace pomona::compress {

struct TrialPlace {
  Value value;
  std::vector<Node*> readers;  // what is to read the rounded value
};

// Of the outputs, against those of the plain function.
struct Harm {
  double relative_error = 0;  // squared error over squares: mean over outputs and samples
  double least_cosine = 1;
};

class ActivationTrial {
 public:
  // At most so many samples are used.
  ActivationTrial(Function& function, const std::vector<TrialPlace>& places, const std::vector<NamedTensors>& samples,
                  std::size_t most_samples);
  ~ActivationTrial();
  ActivationTrial(const ActivationTrial&) = delete;
  ActivationTrial& operator=(const ActivationTrial&) = delete;
  Result<Harm> harm(const std::vector<std::optional<Codes>>& codes);

 private:
  struct Inserted;
  Result<std::vector<std::vector<double>>> outputs(const std::vector<std::optional<Codes>>& codes, std::size_t sample);
  Function& function_;
  std::vector<NamedTensors> samples_;
  std::vector<Inserted> inserted_;
  std::optional<cpu::Runner> runner_;
  std::vector<std::vector<std::vector<double>>> plain_;  // by sample and output
  Status status_;
};

}  // namespace pomona::compress
