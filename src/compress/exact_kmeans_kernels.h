// The two inner loops of exact one-dimensional k-means, compiled once per instruction set and chosen at run time.
//
// Both work on prefix sums over the sorted distinct values x_0 < x_1 < ... with weights w: weight[i] is the sum of the
// first i weights and moment[i] the sum of the first i products w*x. A cluster holding the values j..i-1 then costs
//
//     cost(j, i) = -(moment[i] - moment[j])^2 / (weight[i] - weight[j])
//
// plus the part sum(w*x^2), which is the same for every clustering and is left out. This cost satisfies the Monge
// inequality cost(a,c) + cost(b,d) <= cost(a,d) + cost(b,c) for a <= b <= c <= d, which both loops rely on: the best
// left end of the last cluster never moves left as the right end moves right, and a left end that beats a smaller one
// goes on beating it.
//
// What this does not do: check its input, drop weightless values, turn left ends into tables (exact_kmeans.cpp does).
#pragma once
#include <cstddef>
#include <cstdint>

namespace pomona::compress {

// Entries that must be readable (any finite value, weights still increasing) after entry `count` of each array of
// doubles.
inline constexpr std::size_t prefix_padding = 16;

struct Prefix {
  const double* weight = nullptr;  // count + 1 entries, strictly increasing, then padding
  const double* moment = nullptr;  // count + 1 entries, then padding
  std::size_t count = 0;           // number of values
};

// One layer of the dynamic programme: after[i] = min over j of before[j] + cost(j, i), for every i in clusters..count,
// where before[j] is the least cost of the first j values in clusters - 1 clusters. choice[i] receives the minimising
// j. `lower` holds the choices of the layer before (a valid lower bound for these). Needs count < 65536. Arrays of
// doubles are padded like Prefix.
void relax_layer(const Prefix& prefix, const double* before, double* after, const std::uint16_t* lower,
                 std::uint16_t* choice, std::size_t clusters);

// The minimising j of before[j] + cost(j, row) in low..high (the smallest on a tie); stores the minimum in *least.
std::size_t best_left_end(const Prefix& prefix, const double* before, std::size_t row, std::size_t low,
                          std::size_t high, double* least);

// The clustering of least cost + penalty * clusters, for any number of clusters, in one pass: value[i] is that least
// sum for the first i values and left_end[i] the first value of its last cluster. candidate and start are scratch. All
// have count + 1 entries (value padded like Prefix).
void penalty_pass(const Prefix& prefix, double penalty, double* value, std::uint32_t* left_end,
                  std::uint32_t* candidate, std::uint32_t* start);

}  // namespace pomona::compress
