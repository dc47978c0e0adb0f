#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "formats/gguf/blocks.h"
#include "llm/checkpoints/sources.h"

namespace pomona::llm {
namespace {

using Json = nlohmann::json;

// How transformers calls an architecture of GGUF.
struct Architecture {
  std::string_view name, model_type, class_name, activation;
};
constexpr Architecture architectures[] = {
    {"llama", "llama", "LlamaForCausalLM", "silu"},
    {"smollm3", "smollm3", "SmolLM3ForCausalLM", "silu"},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", "silu"},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", "silu"},
    {"qwen3moe", "qwen3_moe", "Qwen3MoeForCausalLM", "silu"},
    {"gemma", "gemma", "GemmaForCausalLM", "gelu_pytorch_tanh"},
    {"gemma2", "gemma2", "Gemma2ForCausalLM", "gelu_pytorch_tanh"},
    {"gemma3", "gemma3_text", "Gemma3ForCausalLM", "gelu_pytorch_tanh"},
    {"phi3", "phi3", "Phi3ForCausalLM", "silu"},
    {"gpt2", "gpt2", "GPT2LMHeadModel", "gelu_new"},
    {"gptneox", "gpt_neox", "GPTNeoXForCausalLM", "gelu"},
    {"bert", "bert", "BertModel", "gelu"},
};

// The metadata under an architecture's name.
class Metadata {
 public:
  Metadata(const gguf::File& file, std::string_view architecture)
      : file_(file), prefix_(std::string(architecture) + ".") {}

  std::optional<std::int64_t> integer(std::string_view key) const {
    std::string full = prefix_ + std::string(key);
    // Some counts are given per layer.
    if (const auto* each = file_.integers(full); each && !each->empty()) return each->front();
    return file_.integer(full);
  }
  bool varies(std::string_view key) const {
    const auto* each = file_.integers(prefix_ + std::string(key));
    return each && std::any_of(each->begin(), each->end(), [&](auto n) { return n != each->front(); });
  }
  std::optional<double> number(std::string_view key) const { return file_.number(prefix_ + std::string(key)); }
  std::optional<bool> boolean(std::string_view key) const { return file_.boolean(prefix_ + std::string(key)); }
  std::optional<std::string_view> text(std::string_view key) const { return file_.text(prefix_ + std::string(key)); }
  Result<std::int64_t> count(std::string_view key) const {
    auto value = integer(key);
    POM_REQUIRE(value, "the metadata lack '{}{}'", prefix_, key);
    POM_REQUIRE(*value > 0 && *value < 1 << 30, "'{}{}' is {}", prefix_, key, *value);
    POM_REQUIRE(!varies(key), "'{}{}' differs between layers, which no family has", prefix_, key);
    return *value;
  }
  const gguf::File& file() const { return file_; }

 private:
  const gguf::File& file_;
  std::string prefix_;
};

// fp32 numbers were written in decimal once: 1e-05 is what was meant by 9.99999974e-06.
double as_meant(double value) {
  double rounded = std::stod(fmt::format("{:.7g}", value));
  return float(rounded) == float(value) ? rounded : value;
}

struct Rename {
  std::string_view key, name;
};
void copy_numbers(const Metadata& m, std::initializer_list<Rename> names, Json& config) {
  for (const Rename& r : names) {
    if (auto whole = m.integer(r.key))
      config[std::string(r.name)] = *whole;
    else if (auto number = m.number(r.key))
      config[std::string(r.name)] = as_meant(*number);
  }
}

Result<std::int64_t> vocabulary_of(const Metadata& m) {
  const gguf::TensorEntry* embedding = m.file().tensor("token_embd.weight");
  POM_REQUIRE(embedding && embedding->sizes.size() == 2, "there is no matrix 'token_embd.weight'");
  return embedding->sizes[0];
}

Result<std::vector<double>> factors_in(const Metadata& m, std::string_view tensor) {
  const gguf::TensorEntry* entry = m.file().tensor(tensor);
  if (!entry) return std::vector<double>();
  return POM_TRY(POM_TRY(gguf::decoded(*entry)).materialise()).numbers();
}

// Llama 3 slows low frequencies down by a factor and leaves high ones; GGUF holds what became of each frequency.
struct Llama3 {
  double factor, low = 1, high = 4, original = 8192;

  double at(double frequency) const {
    double length = 2 * std::numbers::pi / frequency;
    if (length < original / high) return 1;
    if (length > original / low) return factor;
    double smooth = (original / length - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  }
};

// The rule that made these factors, as a config.json would have it; where there is none, the factors themselves, in the
// form of those that have a factor for each frequency.
Json scaling_of(const std::vector<double>& factors, double theta) {
  Llama3 guess{*std::max_element(factors.begin(), factors.end())};
  for (double original : {8192.0, 4096.0, 16384.0, 32768.0, 2048.0, 65536.0, 131072.0}) {
    guess.original = original;
    bool fits = true;
    for (std::size_t i = 0; i < factors.size(); ++i) {
      double expected = guess.at(std::pow(theta, -double(i) / double(factors.size())));
      fits = fits && std::abs(expected - factors[i]) <= 1e-3 * expected;
    }
    if (fits)
      return Json{{"rope_type", "llama3"},
                  {"factor", guess.factor},
                  {"low_freq_factor", guess.low},
                  {"high_freq_factor", guess.high},
                  {"original_max_position_embeddings", std::int64_t(original)}};
  }
  return Json{
      {"rope_type", "longrope"}, {"long_factor", factors}, {"short_factor", factors}, {"attention_factor", 1.0}};
}

// What the keys of YaRN are called in config.json.
Json yarn_fields(const Metadata& m) {
  Json fields = Json::object();
  copy_numbers(m,
               {{"rope.scaling.yarn_attn_factor", "attention_factor"},
                {"rope.scaling.yarn_beta_fast", "beta_fast"},
                {"rope.scaling.yarn_beta_slow", "beta_slow"}},
               fields);
  return fields;
}

Status add_rope(const Metadata& m, std::int64_t head_dim, Json& config) {
  double theta = as_meant(m.number("rope.freq_base").value_or(10000));
  config["rope_theta"] = theta;
  std::string kind(m.text("rope.scaling.type").value_or("none"));
  auto freqs = POM_TRY(factors_in(m, "rope_freqs.weight"));
  auto longer = POM_TRY(factors_in(m, "rope_factors_long.weight")),
       shorter = POM_TRY(factors_in(m, "rope_factors_short.weight"));
  auto original = m.integer("rope.scaling.original_context_length");
  if (auto rotated = m.integer("rope.dimension_count"); rotated && *rotated != head_dim)
    config["partial_rotary_factor"] = double(*rotated) / double(head_dim);
  if (!freqs.empty()) {
    config["rope_scaling"] = scaling_of(freqs, theta);
  } else if (!longer.empty() && !shorter.empty()) {
    config["rope_scaling"] = {{"rope_type", "longrope"}, {"long_factor", longer}, {"short_factor", shorter}};
    if (original) config["original_max_position_embeddings"] = *original;
  } else if (auto factor = m.number("rope.scale_linear"); kind == "none" && factor && *factor > 0 && *factor != 1) {
    config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", *factor}};  // as the first files said it
  } else if (kind == "linear" || kind == "yarn") {
    Json scaling = kind == "yarn" ? yarn_fields(m) : Json::object();
    scaling.update(Json{{"rope_type", kind}, {"factor", m.number("rope.scaling.factor").value_or(1)}});
    if (original) scaling["original_max_position_embeddings"] = *original;
    config["rope_scaling"] = scaling;
  } else {
    POM_REQUIRE(kind == "none" || kind == "longrope", "'rope.scaling.type' is '{}', which is not known", kind);
  }
  return {};
}

// Fields that decoders with rotary embeddings share.
Status add_decoder(const Metadata& m, Json& config) {
  std::int64_t heads = POM_TRY(m.count("attention.head_count")), hidden = POM_TRY(m.count("embedding_length"));
  config["hidden_size"] = hidden;
  config["num_hidden_layers"] = POM_TRY(m.count("block_count"));
  config["num_attention_heads"] = heads;
  config["num_key_value_heads"] = m.integer("attention.head_count_kv").value_or(heads);
  POM_REQUIRE(!m.varies("attention.head_count_kv"), "the number of key and value heads differs between layers");
  std::int64_t head_dim = m.integer("attention.key_length").value_or(hidden / heads);
  POM_REQUIRE(head_dim > 0, "heads have {} elements", head_dim);
  POM_REQUIRE(m.integer("attention.value_length").value_or(head_dim) == head_dim,
              "keys have {} elements per head, values {}", head_dim, *m.integer("attention.value_length"));
  config["head_dim"] = head_dim;
  copy_numbers(m,
               {{"feed_forward_length", "intermediate_size"},
                {"context_length", "max_position_embeddings"},
                {"attention.layer_norm_rms_epsilon", "rms_norm_eps"}},
               config);
  return add_rope(m, head_dim, config);
}

Status add_llama(const Metadata& m, Json& config) {
  POM_TRY(add_decoder(m, config));
  config["attention_bias"] = m.file().tensor("blk.0.attn_output.bias") != nullptr;
  config["mlp_bias"] = m.file().tensor("blk.0.ffn_up.bias") != nullptr;
  if (m.integer("expert_count").value_or(0) == 0) return {};
  config["model_type"] = "mixtral";
  config["architectures"] = {"MixtralForCausalLM"};
  config.erase("attention_bias");
  config.erase("mlp_bias");
  config["sliding_window"] = nullptr;
  copy_numbers(m, {{"expert_count", "num_local_experts"}, {"expert_used_count", "num_experts_per_tok"}}, config);
  return {};
}

// Which layers have no rotary embedding is not in the file; every fourth is what the family's default says, too.
Status add_smollm3(const Metadata& m, Json& config) {
  POM_TRY(add_decoder(m, config));
  config.erase("head_dim");
  config["use_sliding_window"] = false;
  config["attention_bias"] = m.file().tensor("blk.0.attn_output.bias") != nullptr;
  config["mlp_bias"] = m.file().tensor("blk.0.ffn_up.bias") != nullptr;
  return {};
}

Status add_qwen(const Metadata& m, Json& config) {
  POM_TRY(add_decoder(m, config));
  config["use_sliding_window"] = false;
  if (config["model_type"] == "qwen2") {
    config.erase("head_dim");
    return {};
  }
  config["attention_bias"] = m.file().tensor("blk.0.attn_q.bias") != nullptr;
  if (config["model_type"] != "qwen3_moe") return {};
  copy_numbers(m,
               {{"expert_count", "num_experts"},
                {"expert_used_count", "num_experts_per_tok"},
                {"expert_feed_forward_length", "moe_intermediate_size"}},
               config);
  config["norm_topk_prob"] = true;
  config["decoder_sparse_step"] = 1;
  config["mlp_only_layers"] = Json::array();
  return {};
}

// What the scale of attention is derived from is not in the file: it is the size of a head, except in the largest model
// of a generation, where it is the share of the width that a head has.
void add_attention_scale(const Metadata& m, std::int64_t largest_layers, Json& config) {
  std::int64_t heads = config["num_attention_heads"], hidden = config["hidden_size"], head_dim = config["head_dim"];
  config["query_pre_attn_scalar"] = m.integer("block_count") == largest_layers ? hidden / heads : head_dim;
}

Status add_gemma(const Metadata& m, Json& config) {
  POM_TRY(add_decoder(m, config));
  config["attention_bias"] = false;
  config["hidden_activation"] = config["hidden_act"];
  if (config["model_type"] == "gemma") return {};
  config.erase("hidden_act");
  copy_numbers(m,
               {{"attention.sliding_window", "sliding_window"},
                {"attn_logit_softcapping", "attn_logit_softcapping"},
                {"final_logit_softcapping", "final_logit_softcapping"}},
               config);
  bool third = config["model_type"] == "gemma3_text";
  add_attention_scale(m, third ? 62 : 46, config);
  if (!third) return {};
  config["rope_local_base_freq"] = as_meant(m.number("rope.freq_base_swa").value_or(10000));
  config["sliding_window_pattern"] = m.integer("attention.sliding_window_pattern").value_or(6);
  return {};
}

Status add_phi3(const Metadata& m, Json& config) {
  POM_TRY(add_decoder(m, config));
  config.erase("head_dim");
  config["sliding_window"] = nullptr;
  if (auto window = m.integer("attention.sliding_window"); window && *window > 0) config["sliding_window"] = *window;
  return {};
}

Status add_gpt2(const Metadata& m, Json& config) {
  config["n_embd"] = POM_TRY(m.count("embedding_length"));
  config["n_layer"] = POM_TRY(m.count("block_count"));
  config["n_head"] = POM_TRY(m.count("attention.head_count"));
  config["activation_function"] = config["hidden_act"];
  config.erase("hidden_act");
  copy_numbers(m,
               {{"feed_forward_length", "n_inner"},
                {"context_length", "n_positions"},
                {"attention.layer_norm_epsilon", "layer_norm_epsilon"}},
               config);
  return {};
}

Status add_gpt_neox(const Metadata& m, Json& config) {
  std::int64_t hidden = POM_TRY(m.count("embedding_length")), heads = POM_TRY(m.count("attention.head_count"));
  config["hidden_size"] = hidden;
  config["num_hidden_layers"] = POM_TRY(m.count("block_count"));
  config["num_attention_heads"] = heads;
  copy_numbers(m,
               {{"feed_forward_length", "intermediate_size"},
                {"context_length", "max_position_embeddings"},
                {"attention.layer_norm_epsilon", "layer_norm_eps"}},
               config);
  config["use_parallel_residual"] = m.boolean("use_parallel_residual").value_or(true);
  config["rotary_emb_base"] = as_meant(m.number("rope.freq_base").value_or(10000));
  std::int64_t head_dim = hidden / heads;
  config["rotary_pct"] = double(m.integer("rope.dimension_count").value_or(head_dim)) / double(head_dim);
  return {};
}

Status add_bert(const Metadata& m, Json& config) {
  config["hidden_size"] = POM_TRY(m.count("embedding_length"));
  config["num_hidden_layers"] = POM_TRY(m.count("block_count"));
  config["num_attention_heads"] = POM_TRY(m.count("attention.head_count"));
  copy_numbers(m, {{"feed_forward_length", "intermediate_size"}, {"attention.layer_norm_epsilon", "layer_norm_eps"}},
               config);
  const gguf::TensorEntry* positions = m.file().tensor("position_embd.weight");
  const gguf::TensorEntry* types = m.file().tensor("token_types.weight");
  POM_REQUIRE(positions && positions->sizes.size() == 2, "there is no matrix 'position_embd.weight'");
  config["max_position_embeddings"] = positions->sizes[0];
  config["type_vocab_size"] = types ? types->sizes[0] : 0;  // DistilBERT has none, and the same architecture here
  return {};
}

Status add_fields(const Metadata& m, Json& config) {
  std::string type = config["model_type"];
  if (type == "llama") return add_llama(m, config);
  if (type == "smollm3") return add_smollm3(m, config);
  if (type.starts_with("qwen")) return add_qwen(m, config);
  if (type.starts_with("gemma")) return add_gemma(m, config);
  if (type == "phi3") return add_phi3(m, config);
  if (type == "gpt2") return add_gpt2(m, config);
  if (type == "gpt_neox") return add_gpt_neox(m, config);
  return add_bert(m, config);
}

}  // namespace

Result<Json> config_of_gguf(const gguf::File& file) {
  auto name = file.text("general.architecture");
  POM_REQUIRE(name, "the metadata do not name an architecture");
  std::string known;
  for (const Architecture& a : architectures) {
    known += (known.empty() ? "" : ", ") + std::string(a.name);
    if (a.name != *name) continue;
    Metadata metadata(file, *name);
    Json config = {{"model_type", a.model_type}, {"architectures", {a.class_name}}, {"hidden_act", a.activation}};
    config["vocab_size"] = POM_TRY(vocabulary_of(metadata));
    if (a.name != "bert") config["tie_word_embeddings"] = file.tensor("output.weight") == nullptr;
    POM_TRY(add_fields(metadata, config));
    for (auto [key, id] : {std::pair("bos_token_id", "tokenizer.ggml.bos_token_id"),
                           std::pair("eos_token_id", "tokenizer.ggml.eos_token_id")})
      if (auto value = file.integer(id)) config[key] = *value;
    return config;
  }
  return fail("the architecture '{}' is not known; known are: {}", *name, known);
}

}  // namespace pomona::llm
