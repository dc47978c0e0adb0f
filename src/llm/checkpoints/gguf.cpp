#include "formats/gguf/gguf.h"

#include <nlohmann/json.hpp>

#include "llm/checkpoints/sources.h"
#include "llm/tokenizers/gguf.h"

namespace pomona::llm {
namespace {

using Json = nlohmann::json;

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
  checkpoint.tokenizer_config = tokenizer_config_of_gguf(file);
  if (file.text("tokenizer.ggml.model"))
    checkpoint.tokenizer = POM_TRY_IN(tokenizer_json_of_gguf(file), "file '{}'", path);
  constexpr const char* poolings[] = {"", "mean", "cls", "lasttoken"};
  auto pooling = file.integer(std::string(file.text("general.architecture").value_or("")) + ".pooling_type");
  if (pooling && *pooling > 0 && *pooling < 4) checkpoint.sentence_steps.push_back({.poolings = {poolings[*pooling]}});
  POM_TRY_IN(add_gguf_tensors(file, config, checkpoint), "file '{}'", path);
  return checkpoint;
}

}  // namespace pomona::llm
