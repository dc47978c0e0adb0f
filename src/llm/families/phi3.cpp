// Phi-3 and Phi-4: LLaMA's form with one projection for queries, keys and values and one for gate and up.
#include "llm/families/families.h"
#include "llm/families/llama.h"

namespace pomona::llm {
namespace {

struct Phi3Config : DecoderConfig {
  POM_OPTION(original_max_position_embeddings, std::optional<std::int64_t>, "context in training");
  POM_OPTION(sliding_window, std::optional<std::int64_t>, "tokens that are seen");
  POM_OPTION(attention_bias, bool, "the projections of attention have a bias");
};

}  // namespace

Result<Decoder> phi3(const std::string& config_json) {
  Phi3Config config;
  POM_TRY(read_config(config_json, config));
  if (config.original_max_position_embeddings->has_value())
    config.original_positions.value = *config.original_max_position_embeddings;
  Decoder d = POM_TRY(llama_like(config));
  d.names.query = d.names.key = d.names.value = d.names.gate = d.names.up = "";
  d.names.fused = "layers.{}.self_attn.qkv_proj";
  d.names.gate_up = "layers.{}.mlp.gate_up_proj";
  for (Layer& layer : d.layers) layer.window = config.sliding_window->value_or(0);
  return d;
}

}  // namespace pomona::llm
