#include <algorithm>
#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>
#include "llm/checkpoints/fields.h"
#include "llm/checkpoints/sources.h"
#include "llm/tokenizer.h"

namespace pomona::llm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

RawTensors raw_tensors(const pytorch::Entries& entries) {
  RawTensors raw;
  for (const auto& [name, entry] : entries) raw[name] = {entry.weight, entry.stored, entry.weight.stored_size()};
  return raw;
}
Result<RawTensors> raw_tensors(const safetensors::File& file) {
  RawTensors raw;
  for (const auto& [name, entry] : file.tensors)
    raw[name] = {POM_TRY_IN(entry.weight(), "tensor '{}'", name), entry.stored, entry.bytes.size()};
  return raw;
}

// PyTorch's files that an index names, which lie beside it.
Result<RawTensors> pytorch_shards(const fs::path& index) {
  Json json = Json::parse(POM_TRY(text_of(index)), nullptr, false);
  POM_REQUIRE(json.is_object() && json.contains("weight_map") && json["weight_map"].is_object(),
              "'{}' has no weight_map", index.string());
  std::set<std::string> shards;
  for (const auto& [name, shard] : json["weight_map"].items())
    if (shard.is_string()) shards.insert(shard.get<std::string>());
  RawTensors whole;
  for (const std::string& shard : shards) {
    POM_REQUIRE(shard.find('/') == shard.npos, "'{}' names a file '{}' that is not beside it", index.string(), shard);
    for (auto& [name, tensor] : raw_tensors(POM_TRY(pytorch::read_pytorch((index.parent_path() / shard).string()))))
      POM_REQUIRE(whole.emplace(name, std::move(tensor)).second, "two files have a tensor '{}'", name);
  }
  for (const auto& [name, shard] : json["weight_map"].items())
    POM_REQUIRE(whole.contains(name), "'{}' promises a tensor '{}', which no file has", index.string(), name);
  return whole;
}

bool is_pytorch(const fs::path& file) {
  auto bytes = map_file(file.string());
  return bytes && (bytes->text().starts_with("PK\x03\x04") || bytes->text().starts_with("\x80\x02"));
}

// Files that training leaves beside the weights.
bool is_training_state(const fs::path& file) {
  std::string name = file.stem().string();
  return name == "training_args" || name == "optimizer" || name == "scheduler" || name.starts_with("rng_state");
}

std::vector<fs::path> files_named(const fs::path& folder, std::initializer_list<std::string_view> extensions) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed))
    for (std::string_view extension : extensions)
      if (entry.path().extension() == extension && !is_training_state(entry.path())) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

// "model-00002-of-00003": whether these are all parts that the names speak of.
bool are_all_parts(const std::vector<fs::path>& files) {
  std::set<std::string> beginnings;
  for (const fs::path& file : files) {
    std::string name = file.stem().string();
    std::size_t of = name.rfind("-of-"), number = of == name.npos ? of : name.rfind('-', of - 1);
    if (of == name.npos || of == 0 || number == name.npos) return false;
    if (std::atoll(name.c_str() + of + 4) != std::int64_t(files.size())) return false;
    beginnings.insert(name.substr(0, number));
  }
  return beginnings.size() == 1;
}

// One file, or all parts of what has been cut without an index.
Result<std::vector<fs::path>> weights_files(const fs::path& folder) {
  std::error_code ignored;
  for (const char* name :
       {"model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin"})
    if (fs::exists(folder / name, ignored)) return std::vector<fs::path>{folder / name};
  auto found = files_named(folder, {".safetensors"});
  if (found.empty()) found = files_named(folder, {".bin", ".pt", ".pth"});
  POM_REQUIRE(!found.empty(), "the folder '{}' has a config.json, but no weights: neither *.safetensors nor *.bin",
              folder.string());
  POM_REQUIRE(found.size() == 1 || are_all_parts(found),
              "the folder '{}' has {} files of weights and no index; name one of them", folder.string(), found.size());
  return found;
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
    {"auto-round", take_auto_round},
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

// Old versions of sentence-transformers have the language model in a folder of its own.
Result<fs::path> folder_of_model(const fs::path& folder) {
  Json modules = Json::parse(POM_TRY(text_of(folder / "modules.json")), nullptr, false);
  if (!modules.is_array()) return folder;
  for (const Json& module : modules) {
    std::string path = text_field(module, "path", "");
    std::error_code ignored;
    if (text_field(module, "type", "").ends_with(".Transformer") && path.find("..") == path.npos && !path.empty() &&
        fs::exists(folder / path / "config.json", ignored))
      return folder / path;
  }
  return folder;
}

// Without a file of its own, what ends generation is the model's configuration's.
Result<std::string> generation_config_of(const fs::path& folder, const Json& config) {
  std::string text = POM_TRY(text_of(folder / "generation_config.json"));
  if (!text.empty()) return text;
  Json found = Json::object();
  for (const Json* part : {config.contains("text_config") ? &config["text_config"] : nullptr, &config})
    for (const char* name : {"bos_token_id", "eos_token_id", "pad_token_id"})
      if (part && part->is_object() && part->contains(name)) found[name] = (*part)[name];
  return found.empty() ? text : found.dump();
}

// tokenizer_config.json with what stands in files of its own: the chat template (which then is the one that counts),
// and the special tokens that it leaves out.
Result<std::string> tokenizer_config_of(const fs::path& folder) {
  std::string text = POM_TRY(text_of(folder / "tokenizer_config.json"));
  Json config = Json::parse(text, nullptr, false), before = config;
  if (!config.is_object()) config = before = Json::object();
  Json tokens = Json::parse(POM_TRY(text_of(folder / "special_tokens_map.json")), nullptr, false);
  if (tokens.is_object())
    for (const auto& [name, token] : tokens.items())
      if (!config.contains(name) || config[name].is_null()) config[name] = token;
  Json processor = Json::parse(POM_TRY(text_of(folder / "chat_template.json")), nullptr, false);
  if (processor.is_object() && processor.contains("chat_template"))
    config["chat_template"] = processor["chat_template"];
  if (std::string own = POM_TRY(text_of(folder / "chat_template.jinja")); !own.empty()) config["chat_template"] = own;
  return config == before ? text : config.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Weight as_floats(const Weight& weight) {
  return weight.dtype() == DType::fp16 || weight.dtype() == DType::bf16 ? weight : Weight::cast(weight, DType::fp32);
}

Result<std::string> text_of(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::string();
  return std::string(POM_TRY(map_file(file.string())).text());
}

Result<RawTensors> read_weights(const fs::path& file, std::string* format) {
  bool index = file.extension() == ".json";
  bool pytorch = index ? file.filename() == "pytorch_model.bin.index.json" : is_pytorch(file);
  if (format) *format = pytorch ? "pytorch" : "safetensors";
  if (pytorch) return index ? pytorch_shards(file) : raw_tensors(POM_TRY(pytorch::read_pytorch(file.string())));
  return raw_tensors(
      POM_TRY(index ? safetensors::read_sharded(file.string()) : safetensors::read_safetensors(file.string())));
}

Result<Checkpoint> open_folder(const std::string& folder, const std::string& weights) {
  Checkpoint checkpoint;
  fs::path at = weights.empty() ? POM_TRY(folder_of_model(folder)) : fs::path(folder);
  checkpoint.path = weights.empty() ? folder : (at / weights).string();
  checkpoint.config = POM_TRY(text_of(at / "config.json"));
  Json config = Json::parse(checkpoint.config, nullptr, false);
  POM_REQUIRE(config.is_object(), "'{}' is no JSON object", (at / "config.json").string());
  checkpoint.generation_config = POM_TRY(generation_config_of(at, config));
  if (has_tokenizer(at.string())) checkpoint.tokenizer = POM_TRY(tokenizer_json_of(at.string()));
  checkpoint.tokenizer_config = POM_TRY(tokenizer_config_of(at));
  auto files = weights.empty() ? POM_TRY(weights_files(at)) : std::vector<fs::path>{at / weights};
  RawTensors raw;
  for (const fs::path& file : files)
    for (auto& [name, tensor] : POM_TRY(read_weights(file, &checkpoint.format)))
      POM_REQUIRE(raw.emplace(name, std::move(tensor)).second, "two files have a tensor '{}'", name);
  POM_TRY_IN(take_quantised(config, raw, checkpoint), "'{}'", checkpoint.path);
  for (const auto& [name, tensor] : raw)
    checkpoint.tensors[name] = tensor_of(as_floats(tensor.weight), tensor.stored, tensor.bytes);
  POM_TRY_IN(read_sentence_steps(folder, at, checkpoint), "folder '{}'", folder);
  return checkpoint;
}

}  // namespace pomona::llm
