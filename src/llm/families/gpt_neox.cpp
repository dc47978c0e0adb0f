// GPT-NeoX and Pythia: attention and MLP side by side, a part of each head turned, queries, keys and values per head.
#include "llm/families/families.h"

namespace pomona::llm {
namespace {

struct NeoxConfig : DecoderConfig {
  POM_OPTION(layer_norm_eps, double, "added to variances") = 1e-5;
  POM_OPTION(rotary_pct, std::optional<double>, "share of a head's elements that are turned");
  POM_OPTION(rotary_emb_base, std::optional<double>, "base of the wavelengths");
  POM_OPTION(use_parallel_residual, bool, "attention and MLP see the same") = true;
  POM_OPTION(attention_bias, bool, "the projections of attention have a bias") = true;
  POM_OPTION(is_decoder, bool, "a word of the library");
};

LayerNames neox_names() {
  LayerNames n;
  n.attention_norm = "layers.{}.input_layernorm";
  n.mlp_norm = "layers.{}.post_attention_layernorm";
  n.fused = "layers.{}.attention.query_key_value";
  n.output = "layers.{}.attention.dense";
  n.up = "layers.{}.mlp.dense_h_to_4h";
  n.down = "layers.{}.mlp.dense_4h_to_h";
  return n;
}

}  // namespace

Result<Decoder> gpt_neox(const std::string& config_json) {
  NeoxConfig config;
  config.hidden_act.value = "gelu";
  POM_TRY(read_config(config_json, config));
  if (!config.rope_theta->has_value()) config.rope_theta.value = *config.rotary_emb_base;
  if (!config.partial_rotary_factor->has_value())
    config.partial_rotary_factor.value = config.rotary_pct->value_or(0.25);
  Decoder d = POM_TRY(decoder_of(config));
  d.norm = NormKind::layer;
  d.epsilon = config.layer_norm_eps;
  d.residual = config.use_parallel_residual ? Residual::parallel : Residual::sequential;
  d.fused_order = FusedOrder::per_head;
  d.prefixes = {"gpt_neox."};
  d.ignored = {".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"};
  d.embedding = "embed_in";
  d.final_norm = "final_layer_norm";
  d.head = "embed_out";
  d.names = neox_names();
  return d;
}

}  // namespace pomona::llm
