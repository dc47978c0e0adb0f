// What a language model thinks of a given text: logits, perplexity, divergence from another model.
//
//   PerplexityReport r = POM_TRY(perplexity("model.gguf", {.text = "book.txt"}));
//
// Perplexity is computed as llama.cpp does, so that figures can be compared: the text's tokens in chunks of --context,
// each begun afresh, of which the second half is scored.
#pragma once
#include "api/language.h"

namespace pomona::api {

struct LogitsOptions {
  POM_OPTION(tokens, std::string, "token ids: 504,3575,...");
  POM_OPTION(output, std::string, "npz with the array 'logits' [tokens, vocabulary]");
  POM_OPTION(force, bool, "replace an existing output");
};
struct LogitsReport {
  std::size_t tokens = 0, vocabulary = 0;
  std::vector<int> largest;  // at each position
  double load_seconds = 0, run_seconds = 0;
};
Result<LogitsReport> logits(const std::string& path, const LogitsOptions& options);

struct PerplexityOptions {
  POM_OPTION(text, std::string, "a file with the text");
  POM_OPTION(context, std::int64_t, "tokens of a chunk") = 512;
  POM_OPTION(chunks, std::int64_t, "score so many chunks only; 0: all") = 0;
  POM_OPTION(against, std::string, "another form of the model, to measure the divergence from");
};
struct PerplexityReport {
  double perplexity = 0, deviation = 0;  // of the perplexity, standard
  std::size_t tokens = 0, scored = 0, chunks = 0;
  double seconds = 0;
  // With `against`: its perplexity, the mean of KL(its || ours) per token, and how often both think the same token the
  // most probable.
  bool compared = false;
  double other_perplexity = 0, divergence = 0, largest_divergence = 0, agreement = 0;
};
using Report = std::function<void(std::string_view, double)>;
Result<PerplexityReport> perplexity(const std::string& path, const PerplexityOptions& options, const Report& report);

}  // namespace pomona::api
