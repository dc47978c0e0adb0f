// GPT-2: learned positions, layer norms, one projection for queries, keys and values, matrices stored [in, out].
#include <cmath>

#include "llm/families/families.h"

namespace pomona::llm {
namespace {

struct Gpt2Config {
  POM_OPTION(vocab_size, std::int64_t, "tokens");
  POM_OPTION(n_embd, std::int64_t, "width of the residual stream");
  POM_OPTION(n_layer, std::int64_t, "layers");
  POM_OPTION(n_head, std::int64_t, "heads");
  POM_OPTION(n_positions, std::int64_t, "the model's own context") = std::int64_t(1024);
  POM_OPTION(n_ctx, std::int64_t, "the same") = std::int64_t(1024);
  POM_OPTION(n_inner, std::optional<std::int64_t>, "width within the MLP; four times the stream's by default");
  POM_OPTION(activation_function, std::string, "activation of the MLP") = "gelu_new";
  POM_OPTION(layer_norm_epsilon, double, "added to variances") = 1e-5;
  POM_OPTION(scale_attn_weights, bool, "scores are divided by the root of a head's width") = true;
  POM_OPTION(scale_attn_by_inverse_layer_idx, bool, "and by the number of the layer, from 1");
  POM_OPTION(reorder_and_upcast_attn, bool, "how precisely scores are computed");
  POM_OPTION(add_cross_attention, bool, "attends to another sequence");
  POM_OPTION(tie_word_embeddings, std::optional<bool>, "the output projection is the embedding");
};

LayerNames gpt2_names() {
  LayerNames n;
  n.attention_norm = "h.{}.ln_1";
  n.mlp_norm = "h.{}.ln_2";
  n.fused = "h.{}.attn.c_attn";
  n.output = "h.{}.attn.c_proj";
  n.up = "h.{}.mlp.c_fc";
  n.down = "h.{}.mlp.c_proj";
  return n;
}

}  // namespace

Result<Decoder> gpt2(const std::string& config_json) {
  Gpt2Config config;
  POM_TRY(read_config(config_json, config));
  POM_REQUIRE(!config.add_cross_attention, "config.json asks for add_cross_attention, which is not known");
  DecoderConfig sizes;
  sizes.vocab_size.value = config.vocab_size;
  sizes.hidden_size.value = config.n_embd;
  sizes.num_hidden_layers.value = config.n_layer;
  sizes.num_attention_heads.value = config.n_head;
  sizes.intermediate_size.value = config.n_inner->value_or(4 * *config.n_embd);
  sizes.max_position_embeddings.value = config.n_positions;
  sizes.tie_word_embeddings.value = *config.tie_word_embeddings;
  Decoder d = POM_TRY(decoder_of(sizes));
  d.norm = NormKind::layer;
  d.epsilon = config.layer_norm_epsilon;
  d.activation = *config.activation_function;
  d.transposed = true;
  d.prefixes = {"transformer."};
  d.ignored = {".attn.bias", ".attn.masked_bias"};
  d.embedding = "wte";
  d.position_embedding = "wpe";
  d.final_norm = "ln_f";
  d.head = "lm_head";
  d.names = gpt2_names();
  for (std::size_t i = 0; i < d.layers.size(); ++i) {
    Layer& layer = d.layers[i];
    layer.rope = -1;
    if (!config.scale_attn_weights) layer.score_scale = 1;
    if (config.scale_attn_by_inverse_layer_idx) layer.score_scale /= double(i + 1);
  }
  return d;
}

}  // namespace pomona::llm
