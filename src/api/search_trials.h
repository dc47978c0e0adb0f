// What `search` knows of a model: its weights, the ways to store each, and what each way costs in bytes and in error.
//
//   Searcher searcher(samples, false, progress);
//   POM_TRY(searcher.prepare(POM_TRY(ways_for("gpu")), {}));
//   Searcher::Choice choice = searcher.within(bytes);                  // an option for each weight
//   SearchPoint whole = POM_TRY(searcher.point("mixed", choice));
//
// The error is the relative squared one of the outputs (their mean over outputs and samples); of a language model it is
// the divergence of the next token's distribution (KL, a mean over places).
#pragma once
#include <set>

#include "api/calibration.h"
#include "api/search.h"
#include "compress/policy.h"

namespace pomona::api {

// A scheme that is tried for each weight.
struct Way {
  std::string name;    // "none": as it is
  std::string config;  // as a configuration says it
  std::shared_ptr<const compress::Scheme> scheme;
};
// Those that an engine takes: ane, gpu, cpu, or any.
Result<std::vector<Way>> ways_for(const std::string& engine);

// One weight stored in one way.
struct WayOption {
  Way way;
  Weight decoded;
  std::uint64_t bytes = 0;
  double error = 0;         // of the outputs, with all other weights as they are
  double weight_error = 0;  // squared, relative
};
struct Subject {
  Node* node;
  Weight plain;
  std::vector<WayOption> options;  // options[0] leaves it
};

class Searcher {
 public:
  using Choice = std::vector<std::size_t>;  // an option for each subject

  // `language`: the samples are calls of a language model.
  Searcher(LanguageSamples samples, bool language, const Progress& progress);

  // Measures each weight in each way. Of a language model, whose runs take long, each weight is measured in one way,
  // and the error in the others is in proportion to the weight's own, as is right for small errors.
  // Weights with a name in `left` are none of its business.
  Status prepare(const std::vector<Way>& ways, const std::set<std::string>& left);

  // For a price per byte.
  Choice at_price(double price) const;
  // The cheapest price at which the choice fits, then what still fits is stored better.
  Choice within(std::uint64_t bytes) const;
  // Each weight in the way of this name, or as it is where it does not take it.
  Choice uniform(const std::string& name) const;
  std::uint64_t bytes_of(const Choice& choice) const;
  std::size_t elements() const;

  // The weights as the choice makes them, while `work` runs.
  template <class Work>
  auto with(const Choice& choice, Work work) {
    for (std::size_t i = 0; i < choice.size(); ++i)
      subjects_[i].node->literal = subjects_[i].options[choice[i]].decoded;
    auto done = work();
    for (Subject& subject : subjects_) subject.node->literal = subject.plain;
    return done;
  }
  Result<SearchPoint> point(std::string name, const Choice& choice);

  const std::vector<Subject>& subjects() const { return subjects_; }
  std::size_t runs() const { return runs_; }

 private:
  struct Score {
    double error = 0, cosine = 1, kl = 0;
  };
  void fill(Choice& choice, std::uint64_t bytes) const;
  Result<std::vector<Tensors>> outputs();
  Result<Score> measure();
  Status add_options(Subject& subject, const std::vector<Way>& ways);
  Status measure_options(Subject& subject);

  Function& function_;
  LanguageSamples samples_;
  bool language_;
  std::vector<Tensors> expected_;
  std::vector<Subject> subjects_;
  const Progress& progress_;
  std::size_t runs_ = 0;
};

}  // namespace pomona::api
