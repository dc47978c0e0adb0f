// Two schemes on one weight: zeros left out of codes or table indices.
//
//   make_scheme("prune+palettize", {{"target_sparsity", 0.5}, {"nbits", std::int64_t(4)}})
//   make_scheme("sparse50+lut4"); make_scheme("sparse75+int8")
//
// The first scheme prunes, the second encodes what is left: constexpr_lut_to_sparse or
// constexpr_sparse_blockwise_shift_scale before constexpr_sparse_to_dense. (int8 tables are an option of palettize.)
#pragma once
#include "compress/scheme.h"

namespace pomona::compress {

// `pruner` is one that make_prune() made.
std::shared_ptr<const Scheme> make_joint(std::shared_ptr<const Scheme> pruner, std::shared_ptr<const Scheme> inner);

}  // namespace pomona::compress
