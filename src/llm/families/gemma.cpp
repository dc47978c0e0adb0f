// Gemma 1, 2 and 3 (its text model): embeddings scaled by the root of the width, norm weights stored less 1; from 2 on
// norms after attention and MLP, too, windows in some layers, and caps (2) or normalised heads and two ropes (3).
#include <cmath>

#include "llm/families/families.h"
#include "llm/families/llama.h"

namespace pomona::llm {
namespace {

struct GemmaConfig : DecoderConfig {
  POM_OPTION(attention_bias, bool, "the projections of attention have a bias");
  POM_OPTION(hidden_activation, std::optional<std::string>, "activation of the MLP, in place of hidden_act");
  POM_OPTION(use_bidirectional_attention, bool, "attention looks ahead, too");
};
struct Gemma2Config : GemmaConfig {
  POM_OPTION(attn_logit_softcapping, std::optional<double>, "bound of attention's scores");
  POM_OPTION(final_logit_softcapping, std::optional<double>, "bound of the logits");
  POM_OPTION(query_pre_attn_scalar, double, "scores are divided by its root") = 256.0;
  POM_OPTION(sliding_window, std::optional<std::int64_t>, "tokens that are seen") = std::int64_t(4096);
  POM_OPTION(layer_types, Strings, "full_attention or sliding_attention, per layer");
  POM_OPTION(cache_implementation, std::string, "a hint for a library");
};
struct Gemma3Config : Gemma2Config {
  POM_OPTION(rope_local_theta, double, "base of the wavelengths of sliding layers") = 10000.0;
  Option<"rope_local.rope_type", std::string, "of sliding layers"> rope_local_type = "default";
  POM_OPTION(rope_local_partial_rotary_factor, std::optional<double>, "of sliding layers");
  POM_OPTION(sliding_window_pattern, std::optional<std::int64_t>, "every so many layers sees everything");
  POM_OPTION(_sliding_window_pattern, std::optional<std::int64_t>, "the same");
};

// Sizes that a configuration leaves out are those of the family's first model: the text part of one that sees pictures
// says only what differs from them.
void assume_sizes(DecoderConfig& config, std::int64_t vocabulary, std::int64_t heads, std::int64_t kv_heads,
                  std::int64_t positions) {
  config.vocab_size.value = vocabulary;
  config.num_attention_heads.value = heads;
  config.num_key_value_heads.value = kv_heads;
  config.head_dim.value = 256;
  config.max_position_embeddings.value = positions;
}

// Before activations could be chosen, hidden_act said "gelu" and meant its tanh form.
std::string activation_of(const GemmaConfig& config) {
  const std::string& own = config.hidden_activation->has_value() ? **config.hidden_activation : *config.hidden_act;
  return own == "gelu" || own == "silu" ? "gelu_pytorch_tanh" : own;
}

Result<Decoder> gemma_like(const GemmaConfig& config) {
  POM_REQUIRE(!config.use_bidirectional_attention,
              "config.json asks for use_bidirectional_attention: that is no "
              "language model that goes from left to right");
  Decoder d = POM_TRY(llama_like(config));
  d.activation = activation_of(config);
  d.norm_adds_one = true;
  d.embedding_scale = std::sqrt(double(d.hidden));
  return d;
}

Result<Decoder> gemma2_like(const Gemma2Config& config) {
  Decoder d = POM_TRY(gemma_like(config));
  d.names.attention_out_norm = "layers.{}.post_attention_layernorm";
  d.names.mlp_norm = "layers.{}.pre_feedforward_layernorm";
  d.names.mlp_out_norm = "layers.{}.post_feedforward_layernorm";
  d.score_cap = config.attn_logit_softcapping->value_or(0);
  d.logit_cap = config.final_logit_softcapping->value_or(0);
  for (Layer& layer : d.layers) layer.score_scale = 1 / std::sqrt(double(config.query_pre_attn_scalar));
  auto windows = windows_of(config.layer_types, config.sliding_window, d.layers.size());
  for (std::size_t i = 0; i < d.layers.size(); ++i) d.layers[i].window = windows[i];
  return d;
}

}  // namespace

Result<Decoder> gemma(const std::string& config_json) {
  GemmaConfig config;
  assume_sizes(config, 256'000, 16, 16, 8192);
  POM_TRY(read_config(config_json, config));
  return gemma_like(config);
}

Result<Decoder> gemma2(const std::string& config_json) {
  Gemma2Config config;
  assume_sizes(config, 256'000, 8, 4, 8192);
  POM_TRY(read_config(config_json, config));
  Decoder d = POM_TRY(gemma2_like(config));
  if (config.layer_types->empty())
    for (std::size_t i = 0; i < d.layers.size(); i += 2) d.layers[i].window = config.sliding_window->value_or(0);
  return d;
}

Result<Decoder> gemma3(const std::string& config_json) {
  Gemma3Config config;
  assume_sizes(config, 262'208, 8, 4, 131'072);
  config.hidden_size.value = 2304;
  config.intermediate_size.value = 9216;
  config.num_hidden_layers.value = 26;
  POM_TRY(read_config(config_json, config));
  POM_REQUIRE(*config.rope_local_type == "default", "config.json asks for rope type '{}' in sliding layers",
              *config.rope_local_type);
  Decoder d = POM_TRY(gemma2_like(config));
  d.score_cap = 0;  // transformers reads the field and caps nothing: normalised heads need no cap
  d.names.query_norm = "layers.{}.self_attn.q_norm";
  d.names.key_norm = "layers.{}.self_attn.k_norm";
  // Other parts of a model that sees pictures.
  d.ignored.insert(d.ignored.end(), {"vision_tower.*", "multi_modal_projector.*", "model.vision_tower.*",
                                     "model.multi_modal_projector.*"});
  if (!config.rope_theta->has_value()) d.ropes[0].theta = 1e6;
  Rope local;
  local.theta = config.rope_local_theta;
  local.width = d.head_dim;
  d.ropes.push_back(local);
  auto pattern =
      config.sliding_window_pattern->has_value() ? *config.sliding_window_pattern : *config._sliding_window_pattern;
  std::int64_t every = pattern.value_or(6);
  for (std::size_t i = 0; i < d.layers.size(); ++i) {
    if (config.layer_types->empty() && std::int64_t(i + 1) % every != 0)
      d.layers[i].window = config.sliding_window->value_or(0);
    if (d.layers[i].window) d.layers[i].rope = 1;
  }
  return d;
}

}  // namespace pomona::llm
