// The price search of exact one-dimensional k-means: K clusters as the cheapest clustering when each cluster costs a
// fixed price.
//
// For a given price one pass finds the best clustering with any number of clusters; the higher the price, the fewer
// clusters. The optimal cost is convex in K (the cost is Monge), so for every K there is a price at which a clustering
// into K is among the cheapest. Sometimes the pass finds only a cheapest clustering with fewer and one with more
// clusters (frequent on the fp16 grid, where many distances are equal): the two are then spliced at a place where a
// cluster of one contains a cluster of the other.
//
// What it does not do: check its input (exact_kmeans.cpp does).
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "compress/exact_kmeans_kernels.h"

namespace pomona::compress {

// The index of the first value of each of the `clusters` intervals with the least total cost. 1 <= clusters <
// prefix.count.
std::vector<std::uint32_t> priced_left_ends(const Prefix& prefix, std::size_t clusters);

}  // namespace pomona::compress
