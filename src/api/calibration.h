// Samples for calibration, from what users have.
//
//   auto samples = POM_TRY(calibration_samples({.place = "data.npz"}, program, function));
//
//   data.npz      arrays by input name; where they are longer than the input along its first axis, several samples
//   folder        each file in it (.npz, .npy, .json, pictures) is a sample, in the order of their names
//   photo.png     one sample
//   text.txt      with a tokenizer: each line that is not empty is a sample
//   random        seeded random inputs, which are a poor stand-in for data
#pragma once
#include "api/model.h"

namespace pomona::api {

struct SampleChoice {
  std::string place, tokenizer;
  int count = 16;  // at most; of random, as many
  std::int64_t seed = 0;
};
// By the names and dtypes of the program.
Result<std::vector<NamedTensors>> calibration_samples(const SampleChoice& choice, const Program& program,
                                                      const Function& function);

// For a language model: a text in pieces of at most 512 tokens, at most `count` of them from all over it, each as calls
// of the function that takes most tokens at once.
struct LanguageSamples {
  Function* function = nullptr;
  std::vector<NamedTensors> inputs;
  std::vector<bool> continues;  // with the states that the one before left
};
Result<LanguageSamples> language_samples(const SampleChoice& choice, Program& program);
// Where pieces of so many tokens begin, at most `count` from all over the text; the only one where it is shorter.
std::vector<std::size_t> spread_pieces(std::size_t tokens, std::size_t piece, std::size_t count);

}  // namespace pomona::api
