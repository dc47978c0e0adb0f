#include "compress/exact_kmeans_price.h"

#include <algorithm>
#include <cmath>

namespace pomona::compress {
namespace {

// A cheapest clustering at some price: its left ends and its cost without the price.
struct Clustering {
  std::vector<std::uint32_t> ends;
  double cost = 0;
};

// Scratch of the passes, shared by all levels.
struct Scratch {
  std::vector<double> value;
  std::vector<std::uint32_t> left_end, candidate, start;

  explicit Scratch(std::size_t count)
      : value(count + 1 + prefix_padding), left_end(count + 1), candidate(count + 1), start(count + 1) {}
};

double cost_of(const Prefix& prefix, std::size_t begin, std::size_t end) {
  const double moment = prefix.moment[end] - prefix.moment[begin];
  return -moment * moment / (prefix.weight[end] - prefix.weight[begin]);
}

Clustering cheapest_at(const Prefix& prefix, double price, Scratch& scratch) {
  penalty_pass(prefix, price, scratch.value.data(), scratch.left_end.data(), scratch.candidate.data(),
               scratch.start.data());
  Clustering found;
  for (std::size_t end = prefix.count; end > 0; end = scratch.left_end[end]) {
    found.ends.push_back(scratch.left_end[end]);
    found.cost += cost_of(prefix, scratch.left_end[end], end);
  }
  std::reverse(found.ends.begin(), found.ends.end());
  return found;
}

Clustering one_cluster(const Prefix& prefix) { return {{0}, cost_of(prefix, 0, prefix.count)}; }

Clustering all_single(const Prefix& prefix) {
  Clustering all;
  all.ends.resize(prefix.count);
  for (std::size_t i = 0; i < prefix.count; ++i) {
    all.ends[i] = static_cast<std::uint32_t>(i);
    all.cost += cost_of(prefix, i, i + 1);
  }
  return all;
}

// `clusters` intervals made of the beginning of `more` and the end of `fewer`. Where cluster t of `fewer` contains
// cluster t + d of `more` (d = clusters - fewer's number; such a t exists by counting), jump from more's left end to
// fewer's right end: both being cheapest at one price, the Monge inequality makes the result cheapest too.
std::vector<std::uint32_t> splice(const Clustering& fewer, const Clustering& more, std::size_t clusters,
                                  std::size_t count) {
  const std::size_t shift = clusters - fewer.ends.size();
  const auto right_of = [count](const std::vector<std::uint32_t>& ends, std::size_t c) {
    return c + 1 < ends.size() ? static_cast<std::size_t>(ends[c + 1]) : count;
  };
  std::size_t t = 0;
  while (t + 1 < fewer.ends.size() &&
         !(fewer.ends[t] <= more.ends[t + shift] && right_of(more.ends, t + shift) <= right_of(fewer.ends, t))) {
    ++t;
  }
  const auto cut = static_cast<std::ptrdiff_t>(t + shift + 1);
  std::vector<std::uint32_t> ends(more.ends.begin(), more.ends.begin() + cut);
  ends.insert(ends.end(), fewer.ends.begin() + static_cast<std::ptrdiff_t>(t + 1), fewer.ends.end());
  return ends;
}

// What the search knows: a cheapest clustering with fewer clusters than wanted (at a higher price) and one with more.
struct Bracket {
  Clustering fewer, more;
  double high_price = 0;  // 0: not met by a pass yet
  double low_price = 0;
};

// A price expected to give `clusters`, from the rule that the number of clusters falls with the cube root of the price.
double next_price(const Bracket& bracket, double price, std::size_t got, std::size_t wanted) {
  if (bracket.high_price > 0 && bracket.low_price > 0) {
    const double most = std::log(static_cast<double>(bracket.more.ends.size()));
    const double least = std::log(static_cast<double>(bracket.fewer.ends.size()));
    const double part = (most - std::log(static_cast<double>(wanted))) / (most - least);
    return bracket.low_price * std::pow(bracket.high_price / bracket.low_price, part);
  }
  const double ratio = static_cast<double>(got) / static_cast<double>(wanted);
  return price * ratio * ratio * ratio;
}

// The price at which the two clusterings of the bracket cost the same.
double chord_price(const Bracket& bracket) {
  return (bracket.fewer.cost - bracket.more.cost) /
         static_cast<double>(bracket.more.ends.size() - bracket.fewer.ends.size());
}

// Every `coarseness`-th entry of the prefix sums: the same problem with ends allowed at fewer places.
struct Coarse {
  std::vector<double> weight, moment;
  Prefix view() const { return {weight.data(), moment.data(), weight.size() - 1 - prefix_padding}; }
};

Coarse coarsen(const Prefix& prefix, std::size_t coarseness) {
  Coarse coarse;
  for (std::size_t i = 0; i < prefix.count; i += coarseness) {
    coarse.weight.push_back(prefix.weight[i]);
    coarse.moment.push_back(prefix.moment[i]);
  }
  for (std::size_t k = 0; k <= prefix_padding; ++k) {
    coarse.weight.push_back(prefix.weight[prefix.count + k]);
    coarse.moment.push_back(prefix.moment[prefix.count + k]);
  }
  return coarse;
}

constexpr std::size_t coarseness = 4;
constexpr int guesses = 4;

// A price that gives about `clusters` clusters, from coarser and coarser versions of the problem.
double estimate_price(const Prefix& prefix, std::size_t clusters, Scratch& scratch) {
  const bool coarsest = prefix.count < 32 * clusters;
  double price = 0;
  if (coarsest) {
    // Panter and Dite's formula for a normal density: error = 2.72 * variance / K^2; the price is minus its derivative.
    const double variance = one_cluster(prefix).cost - all_single(prefix).cost;
    const double wanted = static_cast<double>(clusters);
    price = 5.4 * variance / (wanted * wanted * wanted);
  } else {
    const Coarse coarse = coarsen(prefix, coarseness);
    price = estimate_price(coarse.view(), clusters, scratch);
  }
  Bracket bracket;
  for (int guess = 0; guess < guesses && price > 0; ++guess) {
    Clustering found = cheapest_at(prefix, price, scratch);
    const std::size_t got = found.ends.size();
    if (got == clusters) break;
    (got < clusters ? bracket.high_price : bracket.low_price) = price;
    (got < clusters ? bracket.fewer : bracket.more) = std::move(found);
    price = next_price(bracket, price, got, clusters);
  }
  return price;
}

}  // namespace

std::vector<std::uint32_t> priced_left_ends(const Prefix& prefix, std::size_t clusters) {
  if (clusters == 1) return {0};
  Scratch scratch(prefix.count);
  Bracket bracket{one_cluster(prefix), all_single(prefix)};
  double price = prefix.count < 32 * clusters ? 0 : estimate_price(prefix, clusters, scratch);
  for (int guess = 0;; ++guess) {
    // The chord ends the search: each such step either narrows the bracket or shows that both its ends are cheapest at
    // one price.
    const bool chord = (guess >= guesses && guess % 2 == 0) || !(price > 0);
    if (chord) price = chord_price(bracket);
    Clustering found = cheapest_at(prefix, price, scratch);
    const std::size_t got = found.ends.size();
    if (got == clusters) return found.ends;
    const bool narrower = got > bracket.fewer.ends.size() && got < bracket.more.ends.size();
    if (!narrower && chord) return splice(bracket.fewer, bracket.more, clusters, prefix.count);
    if (narrower) {
      (got < clusters ? bracket.high_price : bracket.low_price) = price;
      (got < clusters ? bracket.fewer : bracket.more) = std::move(found);
    }
    price = next_price(bracket, price, got, clusters);
  }
}

}  // namespace pomona::compress
