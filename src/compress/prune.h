// The scheme `prune`: small weights become zeros, which are not stored.
//
//   make_prune({{"target_sparsity", 0.5}})                                   // the half of least magnitude
//   make_prune({{"n_m_ratio", Ints{2, 4}}})                                  // 2 of every 4 input channels
//   make_prune({{"threshold", 0.01}, {"minimum_sparsity_percentile", 0.3}})  // what is at most 0.01, if that is 30 %
//
// Exactly floor(n * target_sparsity) weights become zeros; among equal magnitudes the first ones. With `budget` global
// the weights of the whole program compete, with per_channel those of each output channel.
//
// Stored as constexpr_sparse_to_dense: a bit for each weight, and the weights that are not zero.
#pragma once
#include "compress/scheme.h"

namespace pomona::compress {

struct PruneOptions {
  POM_OPTION(target_sparsity, std::optional<double>, "the part of the weights that become zeros, 0 to 1");
  POM_OPTION(block_size, Ints, "neighbours along dim that become zeros together");
  POM_OPTION(n_m_ratio, Ints, "n:m, of every m neighbours along dim the n of least magnitude become zeros");
  POM_OPTION(dim, std::optional<int>, "0, the output channels (block_size), or 1, the input channels (n_m_ratio)");
  POM_OPTION(threshold, std::optional<double>, "magnitudes up to it become zeros; without any other option 1e-12");
  POM_OPTION(minimum_sparsity_percentile, std::optional<double>,
             "with threshold: weights with a smaller part of zeros are left (0.5)");
  POM_OPTION(budget, std::string, "target_sparsity is per_weight, per_channel or global") = "per_weight";
  POM_OPTION(weight_threshold, std::int64_t, "weights of at most so many elements are left") = 2048;
};

Result<std::shared_ptr<const Scheme>> make_prune(const SchemeOptions& options);

// The pruned weight, its mask (uint1) and what that costs, before it is stored in any form.
struct Pruned {
  Weight weight, mask;
  std::int64_t ones = 0;
  double squared_error = 0;
  std::string words;
};
// `scheme` is one that make_prune() made. Errors are reasons to leave the weight.
Result<Pruned> prune(const Scheme& scheme, const Candidate& candidate);

}  // namespace pomona::compress
