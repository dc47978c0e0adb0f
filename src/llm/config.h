// A checkpoint's config.json as records: every family says which keys it knows, and a key that it does not know is an
// error that names it.
//
//   struct LlamaConfig : DecoderConfig { POM_OPTION(mlp_bias, bool, "projections of the MLP have a bias"); };
//   LlamaConfig c;
//   POM_TRY(read_config(json_text, c));
//
// Objects within are flattened ("rope_scaling.factor"), nulls are absent, and older and newer spellings of the same
// thing (rope_scaling and rope_parameters) come out the same. Keys that change no result, such as those of training,
// are listed once, in config.cpp, and passed over.
#pragma once
#include "base/record.h"

namespace pomona::llm {

// The flattened keys of a config.json, those without an effect left out.
Result<std::map<std::string, Attribute>> config_fields(const std::string& json_text);
// model_type, or that of the text part of a model that has several.
Result<std::string> model_type_of(const std::string& json_text);
// transformers' classes of the model; none when the file does not say.
Result<Strings> architectures_of(const std::string& json_text);

// The text with the keys of `defaults`, a JSON object, that it leaves out, as transformers' class of the family has
// them; a key that is null is not left out.
Result<std::string> with_defaults(const std::string& json_text, const char* defaults);

Status read_config_erased(const std::string& json_text, const RecordInfo& info, void* record);
template <class R>
Status read_config(const std::string& json_text, R& record) {
  return read_config_erased(json_text, record_of<R>(), &record);
}

// How positions turn query and key vectors.
struct RopeConfig {
  POM_OPTION(rope_theta, std::optional<double>, "base of the wavelengths");
  POM_OPTION(partial_rotary_factor, std::optional<double>, "share of a head's elements that are turned");
  Option<"rope_scaling.rope_type", std::string, "default, linear, dynamic, yarn, longrope or llama3"> rope_type =
      "default";
  Option<"rope_scaling.factor", std::optional<double>, "how far the context is stretched"> rope_factor;
  Option<"rope_scaling.low_freq_factor", double, "llama3"> low_freq_factor = 1.0;
  Option<"rope_scaling.high_freq_factor", double, "llama3"> high_freq_factor = 4.0;
  Option<"rope_scaling.original_max_position_embeddings", std::optional<std::int64_t>, "context in training">
      original_positions;
  Option<"rope_scaling.attention_factor", std::optional<double>, "scale of cosines and sines"> attention_factor;
  Option<"rope_scaling.beta_fast", double, "yarn"> beta_fast = 32.0;
  Option<"rope_scaling.beta_slow", double, "yarn"> beta_slow = 1.0;
  Option<"rope_scaling.mscale", double, "yarn"> mscale = 0.0;
  Option<"rope_scaling.mscale_all_dim", double, "yarn"> mscale_all_dim = 0.0;
  Option<"rope_scaling.truncate", bool, "yarn"> truncate = true;
  Option<"rope_scaling.short_factor", Floats, "longrope, per frequency, within the context of training"> short_factor;
  Option<"rope_scaling.long_factor", Floats, "longrope, per frequency, beyond it"> long_factor;
};

// What decoders have in common.
struct DecoderConfig : RopeConfig {
  POM_OPTION(vocab_size, std::int64_t, "tokens");
  POM_OPTION(hidden_size, std::int64_t, "width of the residual stream");
  POM_OPTION(num_hidden_layers, std::int64_t, "layers");
  POM_OPTION(num_attention_heads, std::int64_t, "query heads");
  POM_OPTION(num_key_value_heads, std::optional<std::int64_t>, "key and value heads; as many as of queries by default");
  POM_OPTION(head_dim, std::optional<std::int64_t>, "elements of a head");
  POM_OPTION(intermediate_size, std::int64_t, "width within the MLP");
  POM_OPTION(max_position_embeddings, std::int64_t, "the model's own context") = std::int64_t(2048);
  POM_OPTION(rms_norm_eps, double, "added to variances") = 1e-6;
  POM_OPTION(hidden_act, std::string, "activation of the MLP") = "silu";
  POM_OPTION(tie_word_embeddings, std::optional<bool>, "the output projection is the embedding");
};

}  // namespace pomona::llm
