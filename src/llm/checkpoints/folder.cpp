#include <algorithm>
#include <filesystem>

#include "llm/checkpoints/fields.h"
#include "llm/checkpoints/sources.h"
#include "llm/tokenizer.h"

namespace pomona::llm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// The text of a file in the folder; empty when there is none.
Result<std::string> text_of(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::string();
  return std::string(POM_TRY(map_file(file.string())).text());
}

// Which pooling a sentence-transformers folder asks for: modules.json names the steps, each with its own settings.
Status read_pooling(const fs::path& folder, Checkpoint& checkpoint) {
  std::string text = POM_TRY(text_of(folder / "modules.json"));
  if (text.empty()) return {};
  Json modules = Json::parse(text, nullptr, false);
  POM_REQUIRE(modules.is_array(), "modules.json is no JSON array");
  for (const Json& module : modules) {
    POM_REQUIRE(module.is_object(), "an entry of modules.json is no object");
    std::string type = text_field(module, "type", ""), path = text_field(module, "path", "");
    if (type.ends_with(".Transformer")) continue;
    if (type.ends_with(".Normalize")) {
      checkpoint.normalize = true;
      continue;
    }
    POM_REQUIRE(type.ends_with(".Pooling"), "modules.json has a step '{}', which is not known", type);
    POM_REQUIRE(path.find("..") == path.npos, "modules.json names a folder '{}' that is not within this one", path);
    Json settings = Json::parse(POM_TRY(text_of(folder / path / "config.json")), nullptr, false);
    POM_REQUIRE(settings.is_object(), "'{}/config.json' is missing or no JSON object", path);
    for (const auto& [key, value] : settings.items()) {
      constexpr std::string_view prefix = "pooling_mode_";
      if (!std::string_view(key).starts_with(prefix) || value != true) continue;
      std::string mode = key.substr(prefix.size());
      if (mode == "cls_token") mode = "cls";
      if (mode == "mean_tokens") mode = "mean";
      if (mode == "max_tokens") mode = "max";
      if (mode == "lasttoken") mode = "last";
      POM_REQUIRE(checkpoint.pooling.empty(), "the pooling is both '{}' and '{}'", checkpoint.pooling, mode);
      checkpoint.pooling = mode;
    }
    if (settings.contains("pooling_mode") && settings["pooling_mode"].is_string())
      checkpoint.pooling = settings["pooling_mode"].get<std::string>();
  }
  return {};
}

std::vector<std::string> files_named(const fs::path& folder, std::string_view extension) {
  std::vector<std::string> found;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed))
    if (entry.path().extension() == extension) found.push_back(entry.path().string());
  std::sort(found.begin(), found.end());
  return found;
}

Result<safetensors::File> weights_of(const fs::path& folder, const std::string& given) {
  if (!given.empty()) return safetensors::read_safetensors((folder / given).string());
  std::error_code ignored;
  for (const char* name : {"model.safetensors.index.json", "model.safetensors"}) {
    fs::path file = folder / name;
    if (!fs::exists(file, ignored)) continue;
    return file.extension() == ".json" ? safetensors::read_sharded(file.string())
                                       : safetensors::read_safetensors(file.string());
  }
  auto found = files_named(folder, ".safetensors");
  POM_REQUIRE(!found.empty(), "the folder '{}' has a config.json, but no weights that are read: *.safetensors",
              folder.string());
  POM_REQUIRE(found.size() == 1, "the folder '{}' has {} safetensors files and no index; name one of them",
              folder.string(), found.size());
  return safetensors::read_safetensors(found[0]);
}

Result<RawTensors> raw_tensors(const safetensors::File& file) {
  RawTensors raw;
  for (const auto& [name, entry] : file.tensors)
    raw[name] = {POM_TRY_IN(entry.weight(), "tensor '{}'", name), entry.stored, entry.bytes.size()};
  return raw;
}

// A quantiser, by the name that config.json has for it.
struct Method {
  std::string_view name;
  Status (*take)(const Json& settings, RawTensors& raw, Checkpoint& checkpoint);
};
constexpr Method methods[] = {
    {"mlx", take_mlx},
    {"awq", take_awq},
    {"gptq", take_gptq},
    {"compressed-tensors", take_compressed_tensors},
    {"bitsandbytes", take_bitsandbytes},
    {"fp8", take_fp8},
    {"fbgemm_fp8", take_fp8},
};

Status take_quantised(const Json& config, RawTensors& raw, Checkpoint& checkpoint) {
  // MLX writes both keys and names no method.
  for (const char* key : {"quantization_config", "quantization"}) {
    if (!config.contains(key) || !config[key].is_object()) continue;
    const Json& settings = config[key];
    std::string name = text_field(settings, "quant_method", "mlx"), known;
    for (const Method& method : methods) {
      if (method.name == name) return method.take(settings, raw, checkpoint);
      known += (known.empty() ? "" : ", ") + std::string(method.name);
    }
    return fail("its weights are quantised by '{}', which is not known; known are: {}", name, known);
  }
  return {};
}

Weight as_floats(const Weight& weight) {
  return weight.dtype() == DType::fp16 || weight.dtype() == DType::bf16 ? weight : Weight::cast(weight, DType::fp32);
}

}  // namespace

Result<Checkpoint> open_folder(const std::string& folder, const std::string& weights) {
  Checkpoint checkpoint;
  fs::path at = folder;
  checkpoint.path = weights.empty() ? folder : (at / weights).string();
  checkpoint.format = "safetensors";
  checkpoint.config = POM_TRY(text_of(at / "config.json"));
  Json config = Json::parse(checkpoint.config, nullptr, false);
  POM_REQUIRE(config.is_object(), "'{}' is no JSON object", (at / "config.json").string());
  checkpoint.generation_config = POM_TRY(text_of(at / "generation_config.json"));
  if (has_tokenizer(at)) checkpoint.tokenizer = POM_TRY(tokenizer_json_of(at.string()));
  checkpoint.tokenizer_config = POM_TRY(text_of(at / "tokenizer_config.json"));
  POM_TRY_IN(read_pooling(at, checkpoint), "folder '{}'", folder);
  RawTensors raw = POM_TRY(raw_tensors(POM_TRY(weights_of(at, weights))));
  POM_TRY_IN(take_quantised(config, raw, checkpoint), "'{}'", checkpoint.path);
  for (const auto& [name, tensor] : raw)
    checkpoint.tensors[name] = tensor_of(as_floats(tensor.weight), tensor.stored, tensor.bytes);
  return checkpoint;
}

}  // namespace pomona::llm
