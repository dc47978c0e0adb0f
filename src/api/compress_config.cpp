#include "api/compress_config.h"

#include <yaml-cpp/yaml.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "ir/op.h"
#include "ops/catalogue.h"

namespace pomona::api {
namespace {

using Json = nlohmann::json;
using compress::Recipe;
using compress::SchemeOptions;
using SchemePointer = std::shared_ptr<const compress::Scheme>;

Json scalar_of(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // in quotes
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const char* end = text.data() + text.size();
  std::int64_t integer = 0;
  if (auto [stop, failed] = std::from_chars(text.data(), end, integer); failed == std::errc() && stop == end)
    return integer;
  char* stop = nullptr;
  double real = std::strtod(text.c_str(), &stop);
  bool numeric = std::string_view("+-.0123456789").find(text[0]) != std::string_view::npos;
  if (numeric && stop == text.c_str() + text.size()) return real;
  return text;
}

Result<Json> json_of(const YAML::Node& node, int depth = 0) {
  POM_REQUIRE(depth < 32, "it is nested more than 32 deep");
  if (node.IsScalar()) return scalar_of(node);
  if (node.IsSequence()) {
    Json list = Json::array();
    for (const YAML::Node& each : node) list.push_back(POM_TRY(json_of(each, depth + 1)));
    return list;
  }
  if (!node.IsMap()) return Json(nullptr);
  Json object = Json::object();
  for (const auto& each : node) {
    POM_REQUIRE(each.first.IsScalar(), "a key is no text");
    const std::string& key = each.first.Scalar();
    POM_REQUIRE(!object.contains(key), "'{}' is there twice", key);
    object[key] = POM_TRY_IN(json_of(each.second, depth + 1), "'{}'", key);
  }
  return object;
}

Result<Attribute> attribute_of(const Json& value) {
  if (value.is_boolean()) return Attribute(value.get<bool>());
  if (value.is_number_integer()) return Attribute(value.get<std::int64_t>());
  if (value.is_number()) return Attribute(value.get<double>());
  if (value.is_string()) return Attribute(value.get<std::string>());
  if (value.is_array() && std::ranges::all_of(value, [](const Json& v) { return v.is_number_integer(); }))
    return Attribute(value.get<Ints>());
  if (value.is_array() && std::ranges::all_of(value, [](const Json& v) { return v.is_number(); }))
    return Attribute(value.get<Floats>());
  return fail("{} is no number, text, truth value or list of numbers", value.dump());
}

Result<SchemeOptions> options_of(const Json& object) {
  SchemeOptions options;
  for (const auto& [key, value] : object.items())
    if (!value.is_null()) options[key] = POM_TRY_IN(attribute_of(value), "'{}'", key);
  return options;
}

// "int8", {"scheme": "linear", "dtype": "int4"}, or none.
Result<SchemePointer> scheme_of(const Json& value, const SchemeOptions& more = {}) {
  if (value.is_null() || value == "none") return SchemePointer();
  if (value.is_string()) return compress::make_scheme(value.get<std::string>(), more);
  POM_REQUIRE(value.is_object() && value.contains("scheme") && value["scheme"].is_string(),
              "{} is neither a scheme's name nor {{scheme: NAME, ...}}", value.dump());
  Json rest = value;
  rest.erase("scheme");
  SchemeOptions options = POM_TRY(options_of(rest));
  for (const auto& [name, given] : more) options[name] = given;
  return compress::make_scheme(value["scheme"].get<std::string>(), options);
}

Status check_type(const std::string& type) {
  POM_REQUIRE(mil::find_op(type, iOS18) || mil::find_op(type, iOS15), "there is no op '{}'", type);
  return {};
}

Status check_keys(const Json& object, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.items())
    POM_REQUIRE(std::ranges::find(known, std::string_view(key)) != known.end(), "'{}' is not one of {}", key,
                fmt::join(known, ", "));
  return {};
}

Status add_name(Recipe& recipe, const std::string& pattern, SchemePointer scheme) {
  POM_TRY(compress::check_pattern(pattern));
  recipe.names.push_back({pattern, std::move(scheme)});
  return {};
}

// The members of a mapping within the document; none when it is not there.
using Members = std::vector<std::pair<std::string, Json>>;
Result<Members> members_of(const Json& document, const char* key) {
  Members members;
  if (!document.contains(key) || document[key].is_null()) return members;
  POM_REQUIRE(document[key].is_object(), "'{}' is no mapping", key);
  for (const auto& [name, value] : document[key].items()) members.emplace_back(name, value);
  return members;
}

// ---- our own documents

// What is done with data, beside the schemes: taken out of the document.
Status take_methods(Json& document, Recipe::Methods& methods) {
  auto text = [&](const char* key, std::string& to) -> Status {
    if (!document.contains(key)) return {};
    POM_REQUIRE(document[key].is_string(), "'{}' is no text", key);
    to = document[key].get<std::string>();
    document.erase(key);
    return {};
  };
  auto number = [&](const char* key, std::optional<double>& to) -> Status {
    if (!document.contains(key)) return {};
    POM_REQUIRE(document[key].is_number(), "'{}' is no number", key);
    to = document[key].get<double>();
    document.erase(key);
    return {};
  };
  POM_TRY(text("scaling", methods.scaling));
  POM_TRY(text("importance", methods.importance));
  POM_TRY(number("smoothing_strength", methods.smoothing_strength));
  POM_TRY(number("damping", methods.damping));
  for (const char* key : {"bias_correction", "activation_order"}) {
    if (!document.contains(key)) continue;
    POM_REQUIRE(document[key].is_boolean(), "'{}' is true or false", key);
    bool value = document[key].get<bool>();
    if (key == std::string_view("bias_correction"))
      methods.bias_correction = value;
    else
      methods.activation_order = value;
    document.erase(key);
  }
  return {};
}

Result<Recipe> own_recipe(Json document, const SchemeOptions& more) {
  Recipe recipe;
  POM_TRY(take_methods(document, recipe.methods));
  bool flat = document.contains("scheme");
  static constexpr std::string_view levels[] = {"global", "types", "names", "exclude"};
  Json global = document;
  for (std::string_view level : levels) global.erase(std::string(level));
  if (!flat) {
    POM_TRY(check_keys(global, {"global", "types", "names", "exclude", "scheme"}));
    global = document.value("global", Json(nullptr));
  } else {
    POM_REQUIRE(!document.contains("global"), "'scheme' and 'global' say the same thing twice");
  }
  recipe.global = POM_TRY_IN(scheme_of(global, more), "{}", flat ? "'scheme'" : "'global'");
  for (const auto& [type, value] : POM_TRY(members_of(document, "types"))) {
    POM_TRY_IN(check_type(type), "'types'");
    recipe.types[type] = POM_TRY_IN(scheme_of(value), "'types', '{}'", type);
  }
  if (document.contains("exclude")) {
    POM_REQUIRE(document["exclude"].is_array(), "'exclude' is no list");
    for (const Json& pattern : document["exclude"]) {
      POM_REQUIRE(pattern.is_string(), "'exclude' has {}, which is no text", pattern.dump());
      POM_TRY(add_name(recipe, pattern.get<std::string>(), nullptr));
    }
  }
  for (const auto& [pattern, value] : POM_TRY(members_of(document, "names")))
    POM_TRY(add_name(recipe, pattern, POM_TRY_IN(scheme_of(value), "'names', '{}'", pattern)));
  return recipe;
}

// ---- coremltools.optimize.coreml

struct CoremlClass {
  std::string_view name, scheme;
};
constexpr CoremlClass coreml_classes[] = {{"OpLinearQuantizerConfig", "linear"},
                                          {"OpPalettizerConfig", "palettize"},
                                          {"OpThresholdPrunerConfig", "prune"},
                                          {"OpMagnitudePrunerConfig", "prune"}};

Result<SchemePointer> coreml_scheme(Json config, std::string type) {
  if (config.is_null()) return SchemePointer();
  POM_REQUIRE(config.is_object(), "{} is no mapping", config.dump());
  if (config.contains("config_type")) {
    POM_REQUIRE(config["config_type"].is_string(), "'config_type' is no text");
    type = config["config_type"].get<std::string>();
    config.erase("config_type");
  }
  auto known = std::ranges::find(coreml_classes, std::string_view(type), &CoremlClass::name);
  POM_REQUIRE(known != std::end(coreml_classes), "there is no config_type '{}'", type);
  SchemeOptions options = POM_TRY(options_of(config));
  if (auto mode = options.find("mode"); mode != options.end())
    if (auto* text = std::get_if<std::string>(&mode->second))
      std::ranges::transform(*text, text->begin(), [](char c) { return char(std::tolower(c)); });
  if (type == "OpThresholdPrunerConfig") options.try_emplace("threshold", 1e-12);
  if (type == "OpMagnitudePrunerConfig")
    POM_REQUIRE(options.count("target_sparsity") + options.count("n_m_ratio") == 1,
                "either target_sparsity or n_m_ratio is to be given");
  return POM_TRY_IN(compress::make_scheme(known->scheme, options), "{}", type);
}

Result<Recipe> coreml_recipe(const Json& document) {
  POM_TRY(check_keys(document, {"config_type", "global_config", "op_type_configs", "op_name_configs"}));
  POM_REQUIRE(document.contains("config_type") && document["config_type"].is_string(), "'config_type' is missing");
  std::string type = document["config_type"].get<std::string>();
  Recipe recipe;
  if (document.contains("global_config"))
    recipe.global = POM_TRY_IN(coreml_scheme(document["global_config"], type), "'global_config'");
  for (const auto& [op, config] : POM_TRY(members_of(document, "op_type_configs"))) {
    POM_TRY_IN(check_type(op), "'op_type_configs'");
    recipe.types[op] = POM_TRY_IN(coreml_scheme(config, type), "'op_type_configs', '{}'", op);
  }
  for (const auto& [op, config] : POM_TRY(members_of(document, "op_name_configs")))
    POM_TRY(add_name(recipe, op, POM_TRY_IN(coreml_scheme(config, type), "'op_name_configs', '{}'", op)));
  return recipe;
}

// ---- coremltools.optimize.torch

std::string text_at(const Json& config, const char* key, const std::string& otherwise) {
  if (!config.contains(key) || config[key].is_null()) return otherwise;
  std::string text = config[key].is_string() ? config[key].get<std::string>() : config[key].dump();
  return text.starts_with("torch.") ? text.substr(6) : text;
}

// Options of `linear` for what a module's configuration says of its codes.
Result<SchemeOptions> linear_options(const Json& config) {
  std::string dtype = text_at(config, "weight_dtype", "int8");
  std::string scheme = text_at(config, "quantization_scheme", "symmetric");
  POM_REQUIRE(scheme == "symmetric" || scheme == "affine", "quantization_scheme is symmetric or affine, not '{}'",
              scheme);
  std::string granularity = text_at(config, "granularity", "per_channel");
  SchemeOptions options{{"mode", std::string(scheme == "affine" ? "linear" : "linear_symmetric")},
                        {"granularity", granularity}};
  // Three bits and the like are ranges in the next container.
  bool is_signed = !dtype.starts_with("u");
  int bits = 0;
  std::string_view digits = std::string_view(dtype).substr(is_signed ? 0 : 1);
  POM_REQUIRE(digits.starts_with("int") &&
                  std::from_chars(digits.data() + 3, digits.data() + digits.size(), bits).ec == std::errc() &&
                  bits >= 2 && bits <= 8,
              "Core ML has no weights of weight_dtype '{}'", dtype);
  int container = bits <= 4 ? 4 : 8;
  options["dtype"] = fmt::format("{}int{}", is_signed ? "" : "u", container);
  if (bits != container) options["nbits"] = std::int64_t(bits);
  if (config.contains("block_size") && !config["block_size"].is_null()) {
    POM_REQUIRE(granularity == "per_block", "block_size goes with granularity per_block");
    options["block_size"] = POM_TRY_IN(attribute_of(config["block_size"]), "'block_size'");
  }
  return options;
}

Result<SchemePointer> torch_quantizer(const Json& config) {
  POM_TRY(check_keys(config, {"weight_dtype", "granularity", "quantization_scheme", "block_size"}));
  if (text_at(config, "weight_dtype", "int8") == "float32") return SchemePointer();
  return compress::make_scheme("linear", POM_TRY(linear_options(config)));
}

std::string without_prefix(std::string text, std::string_view prefix) {
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

// LinearQuantizer's modules: weights and activations. What its observers do while training, calibration does here.
Result<SchemePointer> torch_linear_quantizer(const Json& config) {
  POM_TRY(check_keys(config, {"algorithm", "weight_dtype", "weight_observer", "weight_per_channel", "activation_dtype",
                              "activation_observer", "quantization_scheme", "milestones"}));
  POM_REQUIRE(text_at(config, "algorithm", "vanilla") == "vanilla", "algorithm '{}' belongs to training",
              text_at(config, "algorithm", ""));
  POM_REQUIRE(!config.contains("milestones") || config["milestones"].is_null(), "'milestones' belongs to training");
  std::string scheme = text_at(config, "quantization_scheme", "symmetric");
  POM_REQUIRE(scheme == "symmetric" || scheme == "affine", "quantization_scheme is symmetric or affine, not '{}'",
              scheme);
  std::string mode = scheme == "affine" ? "linear" : "linear_symmetric";
  auto dtype_at = [&](const char* key, const char* otherwise) {
    return without_prefix(text_at(config, key, otherwise), "q");
  };
  std::string weights = dtype_at("weight_dtype", "int8"), activations = text_at(config, "activation_dtype", "quint8");
  bool per_channel = !config.contains("weight_per_channel") || config["weight_per_channel"] != Json(false);
  SchemeOptions options{{"mode", mode}, {"granularity", std::string(per_channel ? "per_channel" : "per_tensor")}};
  if (weights != "float32") options["dtype"] = weights;
  POM_REQUIRE(activations == "quint8" || activations == "float32", "activation_dtype is quint8 or float32, not '{}'",
              activations);
  if (activations == "float32")
    return weights == "float32" ? Result<SchemePointer>(SchemePointer()) : compress::make_scheme("linear", options);
  std::string observer = text_at(config, "activation_observer", "moving_average_min_max");
  POM_REQUIRE(observer == "min_max" || observer == "moving_average_min_max" || observer == "ema_min_max",
              "there is no activation_observer '{}'", observer);
  if (weights == "float32") options.clear();
  options["weights"] = std::string(weights == "float32" ? "none" : "linear");
  options["activation_mode"] = mode;
  // Symmetric quint8 has its zero at 0 where nothing is negative, else in the middle: int8 by another name.
  options["activation_dtype"] = std::string(mode == "linear" ? "uint8" : "auto");
  options["activation_range"] = std::string(observer == "min_max" ? "minmax" : "moving_average");
  return compress::make_scheme("activations", options);
}

// The two options about speed change nothing here: tables are exact without them.
Result<SchemePointer> torch_palettizer(const Json& config) {
  POM_TRY(check_keys(config, {"n_bits", "lut_dtype", "granularity", "group_size", "channel_axis", "cluster_dim",
                              "enable_per_channel_scale", "enable_fast_kmeans_mode", "rounding_precision"}));
  SchemeOptions options;
  Json rest = config;
  for (const char* key : {"n_bits", "lut_dtype", "enable_fast_kmeans_mode", "rounding_precision"}) rest.erase(key);
  options = POM_TRY(options_of(rest));
  options["nbits"] = std::int64_t(4);
  if (config.contains("n_bits") && !config["n_bits"].is_null())
    options["nbits"] = POM_TRY_IN(attribute_of(config["n_bits"]), "'n_bits'");
  std::string dtype = text_at(config, "lut_dtype", "float32");
  POM_REQUIRE(dtype == "float32" || dtype == "float16" || dtype == "int8", "tables of lut_dtype '{}' are not made here",
              dtype);
  if (dtype == "int8") options["lut_dtype"] = std::string("int8");
  return compress::make_scheme("palettize", options);
}

Result<SchemePointer> torch_pruner(const Json& config) {
  POM_TRY(check_keys(config, {"target_sparsity", "granularity", "block_size", "n_m_ratio", "dim", "param_name"}));
  Json rest = config;
  rest.erase("granularity");
  rest.erase("param_name");
  POM_REQUIRE(text_at(config, "param_name", "weight") == "weight", "only weights are pruned, not '{}'",
              text_at(config, "param_name", ""));
  if (rest.value("block_size", 1) == 1) rest.erase("block_size");
  std::string granularity = text_at(config, "granularity", "per_scalar");
  POM_REQUIRE(granularity == "per_scalar", "granularity '{}' of the pruner is not made here", granularity);
  SchemeOptions options = POM_TRY(options_of(rest));
  if (!options.count("n_m_ratio")) options.try_emplace("target_sparsity", 0.5);
  if (!options.count("n_m_ratio") && !options.count("block_size")) options.erase("dim");
  return compress::make_scheme("prune", options);
}

// What a configuration says for one module, and this program does for all.
template <class Value>
Status agree(std::optional<Value>& known, const Value& value, const char* what) {
  POM_REQUIRE(!known || *known == value, "{} differs between modules", what);
  known = value;
  return {};
}

// QLoRA's and bitsandbytes' numbers (T. Dettmers et al., 2023), as coremltools has them.
constexpr double normal_floats_4[] = {-1.0,
                                      -0.6961928009986877,
                                      -0.5250730514526367,
                                      -0.39491748809814453,
                                      -0.28444138169288635,
                                      -0.18477343022823334,
                                      -0.09105003625154495,
                                      0.0,
                                      0.07958029955625534,
                                      0.16093020141124725,
                                      0.24611230194568634,
                                      0.33791524171829224,
                                      0.44070982933044434,
                                      0.5626170039176941,
                                      0.7229568362236023,
                                      1.0};
constexpr double normal_floats_3[] = {-1.0, -0.4786292, -0.21714179, 0.0, 0.1609302, 0.33791524, 0.562617, 1.0};

Result<SchemeOptions> normal_float_options(const std::string& dtype, const std::string& granularity) {
  POM_REQUIRE(granularity == "per_channel", "normal floats have one scale per channel, not granularity {}",
              granularity);
  bool four = dtype.ends_with("int4");
  POM_REQUIRE(four || dtype.ends_with("int3"), "normal floats have 3 or 4 bits, not weight_dtype {}", dtype);
  Floats values;
  if (four)
    values.assign(std::begin(normal_floats_4), std::end(normal_floats_4));
  else
    values.assign(std::begin(normal_floats_3), std::end(normal_floats_3));
  return SchemeOptions{{"mode", std::string("custom")}, {"lut_values", values}, {"enable_per_channel_scale", true}};
}

// LayerwiseCompressor's modules: GPTQ and SparseGPT. Both need data; groups of columns are a matter of speed here.
Result<SchemePointer> torch_layerwise(const Json& config, Recipe::Methods& methods) {
  bool sparse = config["algorithm"] == "sparse_gpt";
  if (sparse)
    POM_TRY(check_keys(config,
                       {"algorithm", "target_sparsity", "n_m_ratio", "weight_dtype", "quantization_granularity",
                        "quantization_scheme", "enable_normal_float", "hessian_dampening", "processing_group_size"}));
  else
    POM_TRY(check_keys(
        config, {"algorithm", "weight_dtype", "granularity", "quantization_scheme", "block_size", "enable_normal_float",
                 "hessian_dampening", "use_activation_order_heuristic", "processing_group_size"}));
  std::string dtype = text_at(config, "weight_dtype", sparse ? "float32" : "uint8");
  if (dtype == "float32" && !sparse) return SchemePointer();
  methods.needs_data = "algorithm " + config["algorithm"].get<std::string>();
  double damping = config.value("hessian_dampening", 0.01);
  POM_TRY(agree(methods.damping, damping, "hessian_dampening"));
  bool in_order = config.value("use_activation_order_heuristic", false);
  if (!sparse) POM_TRY(agree(methods.activation_order, in_order, "use_activation_order_heuristic"));
  std::string granularity = text_at(config, sparse ? "quantization_granularity" : "granularity", "per_channel");
  bool normal_float = config.value("enable_normal_float", false);
  SchemeOptions options;
  std::string scheme = normal_float ? "palettize" : "linear";
  if (dtype != "float32") {
    Json linear{{"weight_dtype", dtype}, {"granularity", granularity}};
    for (const char* key : {"quantization_scheme", "block_size"})
      if (config.contains(key)) linear[key] = config[key];
    options = POM_TRY(normal_float ? normal_float_options(dtype, granularity) : linear_options(linear));
  }
  if (!sparse) return compress::make_scheme(scheme, options);
  if (config.contains("n_m_ratio") && !config["n_m_ratio"].is_null())
    options["n_m_ratio"] = POM_TRY_IN(attribute_of(config["n_m_ratio"]), "'n_m_ratio'");
  else
    options["target_sparsity"] = config.value("target_sparsity", 0.5);
  return compress::make_scheme(dtype == "float32" ? "prune" : "prune+" + scheme, options);
}

bool has_any(const Json& config, std::initializer_list<const char*> keys) {
  return std::ranges::any_of(keys, [&](const char* key) { return config.contains(key); });
}

Result<SchemePointer> torch_scheme(const Json& config, Recipe::Methods& methods) {
  if (config.is_null()) return SchemePointer();
  POM_REQUIRE(config.is_object(), "{} is no mapping", config.dump());
  if (config.contains("algorithm") && (config["algorithm"] == "gptq" || config["algorithm"] == "sparse_gpt"))
    return torch_layerwise(config, methods);
  for (const char* training : {"scheduler", "quant_min", "add_extra_centroid", "cluster_permute"})
    POM_REQUIRE(!config.contains(training), "'{}' belongs to training, which Core ML packages cannot do", training);
  if (has_any(config, {"algorithm", "weight_observer", "weight_per_channel", "activation_dtype", "activation_observer",
                       "milestones"}))
    return torch_linear_quantizer(config);
  if (has_any(config, {"n_bits", "lut_dtype", "group_size", "cluster_dim", "enable_per_channel_scale"}))
    return torch_palettizer(config);
  if (has_any(config, {"target_sparsity", "n_m_ratio"})) return torch_pruner(config);
  return torch_quantizer(config);
}

// The ops that a module of this class becomes.
Result<std::vector<std::string>> ops_of_module(std::string name) {
  for (std::string_view prefix : {"torch.nn.", "nn."})
    if (name.starts_with(prefix)) name = name.substr(prefix.size());
  if (name == "Linear" || name == "MultiheadAttention") return std::vector<std::string>{"linear", "matmul"};
  if (name == "Conv1d" || name == "Conv2d" || name == "Conv3d") return std::vector<std::string>{"conv"};
  if (name.starts_with("ConvTranspose")) return std::vector<std::string>{"conv_transpose"};
  if (name == "Embedding") return std::vector<std::string>{"gather"};
  return fail("modules of class '{}' have no weights that are compressed", name);
}

Result<Recipe> torch_recipe(const Json& document) {
  POM_TRY(check_keys(document, {"global_config", "module_type_configs", "module_name_configs", "calibration_nsamples",
                                "layers", "input_cacher", "non_traceable_module_names", "preserved_attributes"}));
  Recipe recipe;
  if (document.contains("global_config"))
    recipe.global = POM_TRY_IN(torch_scheme(document["global_config"], recipe.methods), "'global_config'");
  for (const auto& [module, config] : POM_TRY(members_of(document, "module_type_configs"))) {
    SchemePointer scheme = POM_TRY_IN(torch_scheme(config, recipe.methods), "'module_type_configs', '{}'", module);
    for (const std::string& op : POM_TRY_IN(ops_of_module(module), "'module_type_configs'")) recipe.types[op] = scheme;
  }
  for (const auto& [module, config] : POM_TRY(members_of(document, "module_name_configs")))
    POM_TRY(add_name(recipe, "re:" + module,
                     POM_TRY_IN(torch_scheme(config, recipe.methods), "'module_name_configs', '{}'", module)));
  // Only what is in these layers is compressed.
  if (document.contains("layers") && !document["layers"].is_null()) {
    POM_REQUIRE(document["layers"].is_array(), "'layers' is no list of names");
    for (const Json& layer : document["layers"]) {
      POM_REQUIRE(layer.is_string(), "'layers' has {}, which is no name", layer.dump());
      POM_TRY(add_name(recipe, "re:(?:" + layer.get<std::string>() + ")(?:[._/].*)?", recipe.global));
    }
    recipe.global = nullptr;
  }
  return recipe;
}

}  // namespace

Result<Json> parse_yaml(const std::string& text) {
  try {
    return json_of(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return fail("line {}: {}", error.mark.line + 1, error.msg);
  }
}

Result<Recipe> recipe_of(const Json& document, const SchemeOptions& options) {
  POM_REQUIRE(document.is_object(), "it is no mapping with a scheme and its options");
  bool coreml = has_any(document, {"config_type", "op_type_configs", "op_name_configs"});
  bool torch = has_any(document, {"global_config", "module_type_configs", "module_name_configs"}) && !coreml;
  POM_REQUIRE(options.empty() || !(coreml || torch), "options on the command line do not go with this configuration");
  if (coreml) return coreml_recipe(document);
  if (torch) return torch_recipe(document);
  return own_recipe(document, options);
}

Result<Recipe> read_recipe(const std::string& path) {
  Bytes bytes = POM_TRY(map_file(path));
  Json document = POM_TRY_IN(parse_yaml(std::string(bytes.text())), "'{}'", path);
  return POM_TRY_IN(recipe_of(document), "'{}'", path);
}

}  // namespace pomona::api
