// OPT: learned positions from row 2 on, layer norms before or (350m) after, embeddings that may be narrower.
#include "llm/families/families.h"

namespace pomona::llm {
namespace {

struct OptConfig {
  POM_OPTION(vocab_size, std::int64_t, "tokens");
  POM_OPTION(hidden_size, std::int64_t, "width of the residual stream");
  POM_OPTION(num_hidden_layers, std::int64_t, "layers");
  POM_OPTION(num_attention_heads, std::int64_t, "heads");
  POM_OPTION(ffn_dim, std::int64_t, "width within the MLP");
  POM_OPTION(max_position_embeddings, std::int64_t, "the model's own context") = std::int64_t(2048);
  POM_OPTION(word_embed_proj_dim, std::optional<std::int64_t>, "width of the embeddings");
  POM_OPTION(activation_function, std::string, "activation of the MLP") = "relu";
  POM_OPTION(activation_dropout, double, "of training");
  POM_OPTION(do_layer_norm_before, bool, "norms stand before attention and MLP") = true;
  POM_OPTION(_remove_final_layer_norm, bool, "no norm before the output projection");
  POM_OPTION(enable_bias, bool, "projections have a bias") = true;
  POM_OPTION(layer_norm_elementwise_affine, bool, "norms have weights") = true;
  POM_OPTION(tie_word_embeddings, std::optional<bool>, "the output projection is the embedding");
};

LayerNames opt_names() {
  LayerNames n;
  n.attention_norm = "layers.{}.self_attn_layer_norm";
  n.mlp_norm = "layers.{}.final_layer_norm";
  n.query = "layers.{}.self_attn.q_proj";
  n.key = "layers.{}.self_attn.k_proj";
  n.value = "layers.{}.self_attn.v_proj";
  n.output = "layers.{}.self_attn.out_proj";
  n.up = "layers.{}.fc1";
  n.down = "layers.{}.fc2";
  return n;
}

}  // namespace

Result<Decoder> opt(const std::string& config_json) {
  OptConfig config;
  POM_TRY(read_config(config_json, config));
  DecoderConfig sizes;
  sizes.vocab_size.value = config.vocab_size;
  sizes.hidden_size.value = config.hidden_size;
  sizes.num_hidden_layers.value = config.num_hidden_layers;
  sizes.num_attention_heads.value = config.num_attention_heads;
  sizes.intermediate_size.value = config.ffn_dim;
  sizes.max_position_embeddings.value = config.max_position_embeddings;
  sizes.tie_word_embeddings.value = *config.tie_word_embeddings;
  Decoder d = POM_TRY(decoder_of(sizes));
  d.norm = NormKind::layer;
  d.norm_is_plain = !config.layer_norm_elementwise_affine;
  d.epsilon = 1e-5;
  d.activation = *config.activation_function;
  d.residual = config.do_layer_norm_before ? Residual::sequential : Residual::after;
  d.prefixes = {"model.decoder.", "decoder."};
  d.embedding = "embed_tokens";
  d.position_embedding = "embed_positions";
  d.first_position = 2;
  d.final_norm = config.do_layer_norm_before && !config._remove_final_layer_norm ? "final_layer_norm" : "";
  d.head = "lm_head";
  if (config.word_embed_proj_dim->value_or(d.hidden) != d.hidden) {
    d.project_in = "project_in";
    d.project_out = "project_out";
  }
  d.names = opt_names();
  for (Layer& layer : d.layers) layer.rope = -1;
  return d;
}

}  // namespace pomona::llm
