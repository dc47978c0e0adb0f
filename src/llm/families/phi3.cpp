// Phi-3 and Phi-4: LLaMA's form with one projection for queries, keys and values and one for gate and up.
#include "llm/families/families.h"
#include "llm/families/llama.h"

namespace pomona::llm {
namespace {

struct Phi3Config : DecoderConfig {
  POM_OPTION(original_max_position_embeddings, std::optional<std::int64_t>, "context in training");
  POM_OPTION(sliding_window, std::optional<std::int64_t>, "tokens that are seen");
  POM_OPTION(attention_bias, bool, "the projections of attention have a bias");
  POM_OPTION(mlp_bias, bool, "those of the MLP have one");
  POM_OPTION(lm_head_bias, bool, "the output projection has one");
  POM_OPTION(interpolate_factor, std::int64_t, "1 in all that is known") = std::int64_t(1);
  POM_OPTION(full_attn_mod, std::int64_t,
             "every so many layers sees everything; 1 in all that is known") = std::int64_t(1);
};

}  // namespace

Result<Decoder> phi3(const std::string& config_json) {
  Phi3Config config;
  config.rms_norm_eps.value = 1e-5;
  POM_TRY(read_config(config_json, config));
  POM_REQUIRE(config.interpolate_factor == 1 && config.full_attn_mod == 1,
              "config.json has interpolate_factor {} and full_attn_mod {}; only 1 is known", *config.interpolate_factor,
              *config.full_attn_mod);
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
