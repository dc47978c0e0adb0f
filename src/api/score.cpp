#include "api/score.h"

#include <algorithm>
#include <cmath>

#include "api/files.h"
#include "api/tokenize.h"
#include "base/threads.h"
#include "formats/npy/npy.h"

namespace pomona::api {
namespace {

// Largest logit and the logarithm of the sum of exponentials.
struct Normalised {
  float top = 0;
  double log_sum = 0;
  double log_probability(float logit) const { return double(logit) - top - log_sum; }
};
Normalised normalise(std::span<const float> logits) {
  Normalised n;
  n.top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float v : logits) sum += std::exp(double(v) - n.top);
  n.log_sum = std::log(sum);
  return n;
}

struct Sums {
  double surprise = 0, squares = 0, other = 0, divergence = 0, largest = 0;
  std::size_t agreed = 0, scored = 0;
};

struct Place {
  double surprise = 0, other = 0, divergence = 0;
  bool agrees = false;
};

// One position: how surprising the token that follows is, to one model and perhaps to another.
Place score(std::span<const float> ours, std::span<const float> theirs, int next) {
  Place place;
  Normalised mine = normalise(ours);
  place.surprise = -mine.log_probability(ours[std::size_t(next)]);
  if (theirs.empty()) return place;
  Normalised other = normalise(theirs);
  place.other = -other.log_probability(theirs[std::size_t(next)]);
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    double log_p = other.log_probability(theirs[i]);
    place.divergence += std::exp(log_p) * (log_p - mine.log_probability(ours[i]));
  }
  place.agrees = llm::largest(ours) == llm::largest(theirs);
  return place;
}

struct Scorer {
  Language language;
  llm::Session session;
  static Result<Scorer> open(const std::string& path, std::int64_t context) {
    Language language = POM_TRY(open_language(path, {.all_logits = true, .context = context}));
    POM_REQUIRE(language.model.context >= context, "model '{}' has a context of {}, which is less than {}", path,
                language.model.context, context);
    llm::Session session = POM_TRY(llm::Session::open(*language.program));
    return Scorer{std::move(language), std::move(session)};
  }
  Result<std::vector<float>> operator()(std::span<const int> ids) {
    session.rewind(0);
    return session.feed_all(ids);
  }
};

void add(Sums& sums, std::span<const int> chunk, const std::vector<float>& ours, const std::vector<float>& theirs) {
  std::size_t width = ours.size() / chunk.size(), first = chunk.size() / 2, count = chunk.size() - 1 - first;
  std::vector<Place> places(count);
  parallel_for(count, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      std::size_t at = (first + i) * width;
      auto other = theirs.empty() ? std::span<const float>() : std::span(theirs).subspan(at, width);
      places[i] = score(std::span(ours).subspan(at, width), other, chunk[first + i + 1]);
    }
  });
  for (const Place& p : places) {
    sums.surprise += p.surprise;
    sums.squares += p.surprise * p.surprise;
    sums.other += p.other;
    sums.divergence += p.divergence;
    sums.largest = std::max(sums.largest, p.divergence);
    sums.agreed += p.agrees;
  }
  sums.scored += count;
}

PerplexityReport report_of(const Sums& sums) {
  PerplexityReport report;
  double n = double(sums.scored), mean = sums.surprise / n;
  report.perplexity = std::exp(mean);
  double variance = std::max(0.0, sums.squares / n - mean * mean);
  report.deviation = n > 1 ? report.perplexity * std::sqrt(variance / (n - 1)) : 0;
  report.scored = sums.scored;
  report.other_perplexity = std::exp(sums.other / n);
  report.divergence = sums.divergence / n;
  report.largest_divergence = sums.largest;
  report.agreement = double(sums.agreed) / n;
  return report;
}

}  // namespace

Result<LogitsReport> logits(const std::string& path, const LogitsOptions& options) {
  if (!options.output->empty()) POM_TRY(check_output(options.output, options.force));
  std::vector<int> ids = POM_TRY(ids_of_text(*options.tokens));
  if (ids.empty()) return fail("--tokens gives no token ids").advise("--tokens 504,3575,282");
  // A checkpoint is built for what is asked: some models turn positions otherwise once a text is long.
  auto context = std::int64_t(ids.size());
  Language language = POM_TRY(open_language(path, {.all_logits = true, .context = context}));
  llm::Session session = POM_TRY(llm::Session::open(*language.program));
  Stopwatch watch;
  std::vector<float> all = POM_TRY(session.feed_all(ids));
  LogitsReport report{.tokens = ids.size(), .vocabulary = all.size() / ids.size(), .run_seconds = watch.seconds()};
  report.load_seconds = language.load_seconds;
  for (std::size_t i = 0; i < ids.size(); ++i)
    report.largest.push_back(llm::largest(std::span(all).subspan(i * report.vocabulary, report.vocabulary)));
  if (options.output->empty()) return report;
  Tensor tensor(DType::fp32, {std::int64_t(ids.size()), std::int64_t(report.vocabulary)});
  std::copy(all.begin(), all.end(), tensor.mutable_view<float>().begin());
  POM_TRY(write_whole_file(options.output, POM_TRY(npy::npz_contents({{"logits", tensor}})), options.force));
  return report;
}

Result<PerplexityReport> perplexity(const std::string& path, const PerplexityOptions& options, const Report& report) {
  POM_REQUIRE(!options.text->empty(), "perplexity needs --text FILE");
  POM_REQUIRE(options.context >= 4, "--context is {}; a chunk needs at least 4 tokens", *options.context);
  Stopwatch watch;
  Bytes text = POM_TRY(map_file(options.text));
  Scorer ours = POM_TRY(Scorer::open(path, options.context));
  std::optional<Scorer> theirs;
  if (!options.against->empty()) theirs.emplace(POM_TRY(Scorer::open(options.against, options.context)));
  POM_REQUIRE(ours.language.tokenizer, "model '{}' has no tokenizer", path);
  const llm::Tokenizer& tokenizer = *ours.language.tokenizer;
  std::vector<int> ids = POM_TRY(tokenizer.encode(text.text()));
  std::vector<int> plain = POM_TRY(tokenizer.encode("a")), bare = POM_TRY(tokenizer.encode("a", {.special = false}));
  bool begins = !plain.empty() && !bare.empty() && plain[0] != bare[0];  // every chunk begins as a text does
  std::size_t size = std::size_t(*options.context), chunks = ids.size() / size;
  POM_REQUIRE(chunks >= 1, "the text has {} tokens, less than one chunk of {}", ids.size(), size);
  if (options.chunks > 0) chunks = std::min(chunks, std::size_t(*options.chunks));
  Sums sums;
  for (std::size_t c = 0; c < chunks; ++c) {
    std::vector<int> chunk(ids.begin() + std::ptrdiff_t(c * size), ids.begin() + std::ptrdiff_t((c + 1) * size));
    int kept = chunk[0];
    if (begins) chunk[0] = plain[0];
    std::vector<float> mine = POM_TRY(ours(chunk)), other;
    if (theirs) other = POM_TRY((*theirs)(chunk));
    POM_REQUIRE(!theirs || other.size() == mine.size(), "the vocabularies of both models differ in size");
    chunk[0] = kept;
    add(sums, chunk, mine, other);
    if (report) report(fmt::format("perplexity {:.4f}", report_of(sums).perplexity), double(c + 1) / double(chunks));
  }
  PerplexityReport result = report_of(sums);
  result.tokens = ids.size();
  result.chunks = chunks;
  result.compared = theirs.has_value();
  result.seconds = watch.seconds();
  return result;
}

}  // namespace pomona::api
