#include "formats/gguf/gguf.h"

#include <nlohmann/json.hpp>

#include "llm/checkpoints/sources.h"
#include "llm/tokenizers/gguf.h"

namespace pomona::llm {
namespace {

using Json = nlohmann::json;

// The token that a metadata key names by its id.
std::optional<std::string> token_at(const gguf::File& file, std::string_view key) {
  auto id = file.integer(key);
  const auto* tokens = file.strings("tokenizer.ggml.tokens");
  if (!id || !tokens || *id < 0 || std::size_t(*id) >= tokens->size()) return {};
  return std::string((*tokens)[std::size_t(*id)]);
}

struct Special {
  std::string_view key, token;
};
constexpr Special specials[] = {
    {"tokenizer.ggml.bos_token_id", "bos_token"},     {"tokenizer.ggml.eos_token_id", "eos_token"},
    {"tokenizer.ggml.unknown_token_id", "unk_token"}, {"tokenizer.ggml.padding_token_id", "pad_token"},
    {"tokenizer.ggml.cls_token_id", "cls_token"},     {"tokenizer.ggml.seperator_token_id", "sep_token"},
    {"tokenizer.ggml.mask_token_id", "mask_token"}};

std::string tokenizer_config_of(const gguf::File& file) {
  Json config = Json::object();
  for (const Special& special : specials)
    if (auto token = token_at(file, special.key)) config[std::string(special.token)] = *token;
  if (auto add = file.boolean("tokenizer.ggml.add_bos_token")) config["add_bos_token"] = *add;
  if (auto add = file.boolean("tokenizer.ggml.add_eos_token")) config["add_eos_token"] = *add;
  if (auto chat = file.text("tokenizer.chat_template")) config["chat_template"] = std::string(*chat);
  return config.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Everything that ends a turn ends generation.
std::string generation_config_of(const gguf::File& file) {
  Json config = Json::object(), ends = Json::array();
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    auto id = file.integer(key);
    if (id && std::find(ends.begin(), ends.end(), *id) == ends.end()) ends.push_back(*id);
  }
  if (ends.size() == 1) config["eos_token_id"] = ends[0];
  if (ends.size() > 1) config["eos_token_id"] = ends;
  if (auto id = file.integer("tokenizer.ggml.bos_token_id")) config["bos_token_id"] = *id;
  if (auto id = file.integer("tokenizer.ggml.padding_token_id")) config["pad_token_id"] = *id;
  return config.dump();
}

}  // namespace

Result<Checkpoint> open_gguf(const std::string& path) {
  gguf::File file = POM_TRY(gguf::read_gguf(path));
  Checkpoint checkpoint;
  checkpoint.path = path;
  checkpoint.format = "gguf";
  Json config = POM_TRY_IN(config_of_gguf(file), "file '{}'", path);
  checkpoint.config = config.dump(2, ' ', false, Json::error_handler_t::replace);
  checkpoint.generation_config = generation_config_of(file);
  checkpoint.tokenizer_config = tokenizer_config_of(file);
  if (file.strings("tokenizer.ggml.tokens"))
    checkpoint.tokenizer = POM_TRY_IN(tokenizer_json_of_gguf(file), "file '{}'", path);
  constexpr std::string_view poolings[] = {"", "mean", "cls", "last"};
  auto pooling = file.integer(std::string(file.text("general.architecture").value_or("")) + ".pooling_type");
  if (pooling && *pooling >= 0 && *pooling < 4) checkpoint.pooling = poolings[*pooling];
  POM_TRY_IN(add_gguf_tensors(file, config, checkpoint), "file '{}'", path);
  return checkpoint;
}

}  // namespace pomona::llm
