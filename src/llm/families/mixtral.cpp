// Mixtral: LLaMA's form with experts in place of the MLP.
#include "llm/families/families.h"
#include "llm/families/llama.h"

namespace pomona::llm {
namespace {

struct MixtralConfig : DecoderConfig {
  POM_OPTION(num_local_experts, std::int64_t, "experts of a layer") = std::int64_t(8);
  POM_OPTION(num_experts_per_tok, std::int64_t, "experts that a token goes to") = std::int64_t(2);
  POM_OPTION(sliding_window, std::optional<std::int64_t>, "tokens that are seen");
};

}  // namespace

Result<Decoder> mixtral(const std::string& config_json) {
  MixtralConfig config;
  config.rope_theta.value = 1e6;
  config.rms_norm_eps.value = 1e-5;
  constexpr const char* defaults = R"({"num_key_value_heads": 8, "max_position_embeddings": 131072})";
  POM_TRY(read_config(POM_TRY(with_defaults(config_json, defaults)), config));
  Decoder d = POM_TRY(llama_like(config));
  d.experts = config.num_local_experts;
  d.experts_per_token = config.num_experts_per_tok;
  d.normalise_experts = true;
  d.names.gate = d.names.up = d.names.down = "";
  d.names.router = "layers.{}.block_sparse_moe.gate";
  d.names.expert_gate = "layers.{}.block_sparse_moe.experts.{}.w1";
  d.names.expert_up = "layers.{}.block_sparse_moe.experts.{}.w3";
  d.names.expert_down = "layers.{}.block_sparse_moe.experts.{}.w2";
  for (Layer& layer : d.layers) {
    layer.experts = true;
    layer.window = config.sliding_window->value_or(0);
  }
  return d;
}

}  // namespace pomona::llm
