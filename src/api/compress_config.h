// Configuration files of `compress`: which weight gets which scheme, in YAML or JSON.
//
//   scheme: int8                       # or global: {scheme: linear, dtype: int4, granularity: per_block}
//   types:
//     gather: none                     # left
//     conv: {scheme: palettize, nbits: 6}
//   names:
//     "*embedding*": lut8
//     "re:layer\\.[0-3]\\..*": {scheme: int4, block_size: 64}
//   exclude: [head]
//
// Two kinds of documents of coremltools are taken as they are: what OptimizationConfig.from_yaml reads (config_type,
// global_config, op_type_configs, op_name_configs), and the dictionaries of coremltools.optimize.torch
// (global_config, module_type_configs, module_name_configs) of its post-training quantiser, palettizers and pruner.
// Options that are not honoured are errors.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "compress/recipe.h"

namespace pomona::api {

Result<compress::Recipe> read_recipe(const std::string& path);
// `options` come on top of those of the scheme for all.
Result<compress::Recipe> recipe_of(const nlohmann::json& document, const compress::SchemeOptions& options = {});
// A YAML document (JSON is one). Numbers, truth values and null are what YAML's core schema says.
Result<nlohmann::json> parse_yaml(const std::string& text);

}  // namespace pomona::api
