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
// Without left ends and with price 0 as long as no pass has found one.
struct Bracket {
  Clustering fewer, more;
  double high_price = 0;
  double low_price = 0;
};

bool is_closed(const Bracket& bracket) { return bracket.high_price > 0 && bracket.low_price > 0; }

bool is_inside(const Bracket& bracket, std::size_t clusters) {
  return (bracket.fewer.ends.empty() || clusters > bracket.fewer.ends.size()) &&
         (bracket.more.ends.empty() || clusters < bracket.more.ends.size());
}

void narrow(Bracket& bracket, double price, Clustering found, std::size_t wanted) {
  const bool few = found.ends.size() < wanted;
  (few ? bracket.high_price : bracket.low_price) = price;
  (few ? bracket.fewer : bracket.more) = std::move(found);
}

// A price expected to give `wanted` clusters, from the rule that their number falls with the cube root of the price.
// While all guesses fell on one side, each aims twice as far beyond the target as the rule says, so that the bracket
// closes soon.
double next_price(const Bracket& bracket, double price, std::size_t got, std::size_t wanted, int guess) {
  const double target = static_cast<double>(wanted);
  if (is_closed(bracket)) {
    const double most = std::log(static_cast<double>(bracket.more.ends.size()));
    const double least = std::log(static_cast<double>(bracket.fewer.ends.size()));
    return bracket.low_price *
           std::pow(bracket.high_price / bracket.low_price, (most - std::log(target)) / (most - least));
  }
  const double distance = std::ldexp(static_cast<double>(got) - target, guess);
  const double ratio = std::max(1 + distance / target, 0.25);
  return price * ratio * ratio * ratio;
}

// The price at which the two clusterings of the bracket cost the same. A side not found yet is the extreme one: a
// single cluster is cheapest at a price high enough, a cluster per value at price 0.
double chord_price(const Prefix& prefix, Bracket& bracket) {
  if (bracket.fewer.ends.empty()) bracket.fewer = one_cluster(prefix);
  if (bracket.more.ends.empty()) bracket.more = all_single(prefix);
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
constexpr int guesses = 4;        // before a coarse search settles for what it has, and a fine one turns to chords
constexpr int most_guesses = 40;  // before the fine one uses chords only

// A price expected to give about `clusters` clusters: found by search on a coarser version of the problem, or for the
// coarsest by Panter and Dite's formula for a normal density, error = 2.72 * variance / K^2, of which the price is
// minus the derivative.
double starting_price(const Prefix& prefix, std::size_t clusters, Scratch& scratch) {
  if (prefix.count < 32 * clusters) {
    const double variance = one_cluster(prefix).cost - all_single(prefix).cost;
    const double wanted = static_cast<double>(clusters);
    return 5.4 * variance / (wanted * wanted * wanted);
  }
  const Coarse coarse = coarsen(prefix, coarseness);
  const Prefix coarse_prefix = coarse.view();
  double price = starting_price(coarse_prefix, clusters, scratch);
  Bracket bracket;
  for (int guess = 0; guess < guesses && price > 0; ++guess) {
    Clustering found = cheapest_at(coarse_prefix, price, scratch);
    const std::size_t got = found.ends.size();
    if (got == clusters) break;
    narrow(bracket, price, std::move(found), clusters);
    price = next_price(bracket, price, got, clusters, guess);
  }
  return price;
}

}  // namespace

std::vector<std::uint32_t> priced_left_ends(const Prefix& prefix, std::size_t clusters) {
  if (clusters == 1) return {0};
  Scratch scratch(prefix.count);
  Bracket bracket;
  double price = starting_price(prefix, clusters, scratch);
  for (int guess = 0;; ++guess) {
    // The chord ends the search: each such step either narrows the bracket or shows that both its ends are cheapest at
    // one price.
    const bool chord =
        (guess >= guesses && guess % 2 == 0 && is_closed(bracket)) || guess > most_guesses || !(price > 0);
    if (chord) price = chord_price(prefix, bracket);
    Clustering found = cheapest_at(prefix, price, scratch);
    const std::size_t got = found.ends.size();
    if (got == clusters) return found.ends;
    if (is_inside(bracket, got)) {
      narrow(bracket, price, std::move(found), clusters);
    } else if (chord) {
      return splice(bracket.fewer, bracket.more, clusters, prefix.count);
    }
    price = next_price(bracket, price, got, clusters, guess);
  }
}

}  // namespace pomona::compress
