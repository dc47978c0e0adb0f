// Chooses the next token from logits.
//
//   Sampler sampler({.temperature = 0.7, .top_p = 0.9, .seed = 7});
//   int id = sampler.choose(logits, text_so_far);
//
// With temperature 0 it is the largest logit, of equal ones the lowest id. Otherwise: penalties and biases, then top-k,
// top-p and min-p, in this order, on probabilities at the temperature, then a draw. The draws come from a counter and
// the seed alone, so that they are the same on every machine.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace pomona::llm {

struct SamplingOptions {
  double temperature = 0;
  int top_k = 0;                  // 0: all
  double top_p = 1;               // the fewest tokens whose probabilities sum to this
  double min_p = 0;               // tokens at least this probable, relative to the most probable
  double repetition_penalty = 1;  // divides (or multiplies, below 0) the logits of tokens that are in the text
  double presence_penalty = 0, frequency_penalty = 0;  // taken off the logits of tokens generated, once or each time
  std::map<int, double> logit_bias;
  std::uint64_t seed = 0;
};

class Sampler {
 public:
  explicit Sampler(SamplingOptions options) : options_(std::move(options)) {}
  // `text`: all ids so far; the first `prompt` of them were given.
  int choose(std::span<const float> logits, std::span<const int> text, std::size_t prompt);

 private:
  double draw();  // in [0, 1)
  SamplingOptions options_;
  std::uint64_t drawn_ = 0;
};

// The place of the largest value, of equal ones the first.
int largest(std::span<const float> values);

}  // namespace pomona::llm
