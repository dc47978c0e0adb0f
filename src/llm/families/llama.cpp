// LLaMA 1, 2 and 3.x, and what has its form: SmolLM, TinyLlama, Mistral, Qwen2, Qwen3, SmolLM3.
#include <algorithm>

#include "llm/families/families.h"
#include "llm/families/llama.h"

namespace pomona::llm {

LayerNames llama_names() {
  LayerNames n;
  n.attention_norm = "layers.{}.input_layernorm";
  n.mlp_norm = "layers.{}.post_attention_layernorm";
  n.query = "layers.{}.self_attn.q_proj";
  n.key = "layers.{}.self_attn.k_proj";
  n.value = "layers.{}.self_attn.v_proj";
  n.output = "layers.{}.self_attn.o_proj";
  n.gate = "layers.{}.mlp.gate_proj";
  n.up = "layers.{}.mlp.up_proj";
  n.down = "layers.{}.mlp.down_proj";
  return n;
}

Result<Decoder> llama_like(const DecoderConfig& config) {
  Decoder d = POM_TRY(decoder_of(config));
  // A tensor called lm_head.weight stands outside of the model proper, and so outside of its prefix.
  d.prefixes = {"model.language_model.", "language_model.model.", "language_model.", "model."};
  d.ignored = {".rotary_emb.inv_freq"};
  d.embedding = "embed_tokens";
  d.final_norm = "norm";
  d.head = "lm_head";
  d.names = llama_names();
  return d;
}

std::vector<std::int64_t> windows_of(const Strings& layer_types, std::optional<std::int64_t> window,
                                     std::size_t layers) {
  std::vector<std::int64_t> windows(layers, 0);
  for (std::size_t i = 0; i < std::min(layers, layer_types.size()); ++i)
    if (window && layer_types[i] == "sliding_attention") windows[i] = *window;
  return windows;
}

namespace {

struct LlamaConfig : DecoderConfig {
  POM_OPTION(attention_bias, bool, "the projections of attention have a bias");
  POM_OPTION(mlp_bias, bool, "those of the MLP have one");
};

struct MistralConfig : DecoderConfig {
  POM_OPTION(sliding_window, std::optional<std::int64_t>, "tokens that are seen");
  POM_OPTION(layer_types, Strings, "full_attention or sliding_attention, per layer");
};

struct QwenConfig : DecoderConfig {
  POM_OPTION(attention_bias, bool, "the projections of attention have a bias");
  POM_OPTION(use_sliding_window, bool, "whether any layer has a window");
  POM_OPTION(sliding_window, std::optional<std::int64_t>, "tokens that are seen");
  POM_OPTION(max_window_layers, std::int64_t, "the first layers, which see everything") = std::int64_t(28);
  POM_OPTION(layer_types, Strings, "full_attention or sliding_attention, per layer");
  POM_OPTION(use_mrope, bool, "positions in several dimensions, for pictures");
};

struct Qwen3MoeConfig : QwenConfig {
  POM_OPTION(num_experts, std::optional<std::int64_t>, "experts of a layer");
  POM_OPTION(num_local_experts, std::optional<std::int64_t>, "the same");
  POM_OPTION(num_experts_per_tok, std::int64_t, "experts that a token goes to") = std::int64_t(8);
  POM_OPTION(moe_intermediate_size, std::int64_t, "width within an expert");
  POM_OPTION(decoder_sparse_step, std::int64_t, "every so many layers has experts") = std::int64_t(1);
  POM_OPTION(mlp_only_layers, Ints, "layers without experts");
  POM_OPTION(norm_topk_prob, bool, "the shares of chosen experts add up to 1");
};

struct SmolLm3Config : QwenConfig {
  POM_OPTION(mlp_bias, bool, "projections of the MLP have a bias");
  POM_OPTION(no_rope_layers, Ints, "1 where positions enter, 0 where not");
  POM_OPTION(no_rope_layer_interval, std::int64_t, "every so many layers they do not") = std::int64_t(4);
};

Status set_windows(Decoder& d, const QwenConfig& config) {
  POM_REQUIRE(!config.use_mrope, "config.json asks for use_mrope, which is not known");
  if (!config.use_sliding_window || !*config.sliding_window) return {};
  auto windows = windows_of(config.layer_types, config.sliding_window, d.layers.size());
  for (std::size_t i = 0; i < d.layers.size(); ++i) {
    bool slides = config.layer_types->empty() && std::int64_t(i) >= *config.max_window_layers;
    d.layers[i].window = slides ? **config.sliding_window : windows[i];
  }
  return {};
}

// What transformers' classes have where a configuration says nothing.
constexpr const char* mistral_defaults =
    R"({"num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096})";
constexpr const char* qwen2_defaults = R"({"max_position_embeddings": 32768, "sliding_window": 4096})";
constexpr const char* qwen3_defaults = R"({"head_dim": 128})";
constexpr const char* qwen3_moe_defaults =
    R"({"num_key_value_heads": 4, "max_position_embeddings": 32768, "sliding_window": 4096})";
constexpr const char* smollm3_defaults = R"({"num_key_value_heads": 4, "max_position_embeddings": 32768})";

void name_head_norms(Decoder& d) {
  d.names.query_norm = "layers.{}.self_attn.q_norm";
  d.names.key_norm = "layers.{}.self_attn.k_norm";
}

}  // namespace

Result<Decoder> llama(const std::string& config_json) {
  LlamaConfig config;
  POM_TRY(read_config(config_json, config));
  return llama_like(config);
}

Result<Decoder> mistral(const std::string& config_json) {
  MistralConfig config;
  POM_TRY(read_config(POM_TRY(with_defaults(config_json, mistral_defaults)), config));
  Decoder d = POM_TRY(llama_like(config));
  auto windows = windows_of(config.layer_types, config.sliding_window, d.layers.size());
  for (std::size_t i = 0; i < d.layers.size(); ++i)
    d.layers[i].window = config.layer_types->empty() ? config.sliding_window->value_or(0) : windows[i];
  return d;
}

Result<Decoder> qwen2(const std::string& config_json) {
  QwenConfig config;
  POM_TRY(read_config(POM_TRY(with_defaults(config_json, qwen2_defaults)), config));
  Decoder d = POM_TRY(llama_like(config));
  POM_TRY(set_windows(d, config));
  return d;
}

Result<Decoder> qwen3(const std::string& config_json) {
  Decoder d = POM_TRY(qwen2(POM_TRY(with_defaults(config_json, qwen3_defaults))));
  name_head_norms(d);
  return d;
}

Result<Decoder> qwen3_moe(const std::string& config_json) {
  Qwen3MoeConfig config;
  POM_TRY(read_config(POM_TRY(with_defaults(config_json, qwen3_moe_defaults)), config));
  Decoder d = POM_TRY(llama_like(config));
  POM_TRY(set_windows(d, config));
  // Other than in Qwen3 all layers have the window, whatever max_window_layers says.
  if (config.use_sliding_window)
    for (Layer& layer : d.layers) layer.window = config.sliding_window->value_or(0);
  name_head_norms(d);
  auto experts = config.num_experts->has_value() ? *config.num_experts : *config.num_local_experts;
  POM_REQUIRE(experts, "config.json lacks num_experts");
  d.experts = *experts;
  d.experts_per_token = config.num_experts_per_tok;
  d.normalise_experts = config.norm_topk_prob;
  d.names.router = "layers.{}.mlp.gate";
  d.names.expert_gate = "layers.{}.mlp.experts.{}.gate_proj";
  d.names.expert_up = "layers.{}.mlp.experts.{}.up_proj";
  d.names.expert_down = "layers.{}.mlp.experts.{}.down_proj";
  const Ints& plain = config.mlp_only_layers;
  std::int64_t step = std::max<std::int64_t>(1, config.decoder_sparse_step);
  for (std::int64_t i = 0; i < std::int64_t(d.layers.size()); ++i)
    d.layers[std::size_t(i)].experts =
        std::find(plain.begin(), plain.end(), i) == plain.end() && (i + 1) % step == 0 && d.experts > 0;
  return d;
}

Result<Decoder> smollm3(const std::string& config_json) {
  SmolLm3Config config;
  POM_TRY(read_config(POM_TRY(with_defaults(config_json, smollm3_defaults)), config));
  Decoder d = POM_TRY(llama_like(config));
  POM_TRY(set_windows(d, config));
  if (!config.rope_theta->has_value()) d.ropes[0].theta = 2e6;
  const Ints& given = config.no_rope_layers;
  for (std::size_t i = 0; i < d.layers.size(); ++i) {
    bool enters = i < given.size() ? given[i] != 0 : std::int64_t(i + 1) % *config.no_rope_layer_interval != 0;
    if (!enters) d.layers[i].rope = -1;
  }
  return d;
}

}  // namespace pomona::llm
