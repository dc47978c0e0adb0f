// The folder that a split model is: its parts as packages, and chain.json, which says how they belong together.
//
//   {"chain": 1, "parts": [{"package": "part_0.mlpackage", "weight_bytes": 123}, ...],
//    "functions": [{"name": "decode", "inputs": [..], "outputs": [..], "states": [..]}],
//    "default_function": "decode", "metadata": {..}}
//
// Parts run in their order. A part takes each of its inputs from the whole model's inputs or from an output, of the
// same name, of a part before it; outputs that "functions" does not name are for later parts alone. A state belongs to
// one part. The metadata are the whole model's: those of a language model and its tokenizer too.
#pragma once
#include <string>
#include <vector>

#include "rewrite/chain.h"

namespace pomona::api {

inline constexpr std::string_view chain_manifest_name = "chain.json";

std::string chain_manifest(const rewrite::Chain& chain, const Metadata& metadata,
                           const std::vector<std::string>& packages);
// The whole program. Errors: a manifest that is none; a part that is missing or does not fit the others.
Result<Program> read_chain_folder(const std::string& folder);

}  // namespace pomona::api
