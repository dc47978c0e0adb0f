#include "llm/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pomona::llm {
namespace {

void penalise(std::vector<float>& logits, const SamplingOptions& o, std::span<const int> text, std::size_t prompt) {
  std::map<int, int> generated;
  std::map<int, bool> seen;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] < 0 || std::size_t(text[i]) >= logits.size()) continue;
    seen[text[i]] = true;
    if (i >= prompt) ++generated[text[i]];
  }
  if (o.repetition_penalty != 1)
    for (const auto& [id, yes] : seen) {
      float& logit = logits[std::size_t(id)];
      logit = float(logit > 0 ? logit / o.repetition_penalty : logit * o.repetition_penalty);
    }
  for (const auto& [id, times] : generated)
    logits[std::size_t(id)] -= float(o.presence_penalty + o.frequency_penalty * times);
  for (const auto& [id, bias] : o.logit_bias)
    if (id >= 0 && std::size_t(id) < logits.size()) logits[std::size_t(id)] += float(bias);
}

struct Candidate {
  int id;
  float logit;
  double probability;
};

// Sorted, the most probable first.
std::vector<Candidate> candidates_of(const std::vector<float>& logits, const SamplingOptions& o) {
  std::vector<Candidate> all(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) all[i] = {int(i), logits[i], 0};
  auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  std::size_t kept = o.top_k > 0 ? std::min(all.size(), std::size_t(o.top_k)) : all.size();
  std::partial_sort(all.begin(), all.begin() + std::ptrdiff_t(kept), all.end(), before);
  all.resize(kept);
  double sum = 0;
  for (Candidate& c : all) sum += c.probability = std::exp((double(c.logit) - all[0].logit) / o.temperature);
  for (Candidate& c : all) c.probability /= sum;
  return all;
}

void narrow(std::vector<Candidate>& all, const SamplingOptions& o) {
  std::size_t kept = all.size();
  if (o.top_p < 1) {
    double sum = 0;
    for (kept = 0; kept < all.size() && (kept == 0 || sum < o.top_p); ++kept) sum += all[kept].probability;
  }
  double least = o.min_p * all[0].probability;
  while (kept > 1 && all[kept - 1].probability < least) --kept;
  all.resize(kept);
}

}  // namespace

int largest(std::span<const float> values) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < values.size(); ++i)
    if (values[i] > values[best]) best = i;
  return int(best);
}

// SplitMix64 (Steele, Lea, Flood 2014) of seed and counter.
double Sampler::draw() {
  std::uint64_t z = options_.seed * 0x9E3779B97F4A7C15u + ++drawn_ * 0xD1342543DE82EF95u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return double((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

int Sampler::choose(std::span<const float> logits, std::span<const int> text, std::size_t prompt) {
  const SamplingOptions& o = options_;
  bool changes =
      o.repetition_penalty != 1 || o.presence_penalty != 0 || o.frequency_penalty != 0 || !o.logit_bias.empty();
  if (o.temperature <= 0 && !changes) return largest(logits);
  std::vector<float> changed(logits.begin(), logits.end());
  if (changes) penalise(changed, o, text, prompt);
  if (o.temperature <= 0) return largest(changed);
  std::vector<Candidate> all = candidates_of(changed, o);
  narrow(all, o);
  double sum = 0, at = 0;
  for (const Candidate& c : all) sum += c.probability;
  double point = draw() * sum;
  for (const Candidate& c : all)
    if ((at += c.probability) > point) return c.id;
  return all.back().id;
}

}  // namespace pomona::llm
