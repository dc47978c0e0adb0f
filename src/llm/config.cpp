#include "llm/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace pomona::llm {
namespace {

using Json = nlohmann::json;

// Keys that say nothing about how logits follow from tokens: of training, of other tasks' heads, of generation, of the
// library that wrote the file. `quantization_config` is the checkpoint reader's.
constexpr std::string_view passed_over[] = {
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_flash_attn_2_enabled",
    "_name_or_path",
    "_num_labels",
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_implementation",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cls_token_id",
    "cross_attention_hidden_size",
    "custom_pipelines",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "dtype",
    "dual_chunk_attention_config",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "ignore_index",
    "init_std",
    "initializer_factor",
    "initializer_range",
    "is_composition",
    "is_encoder_decoder",
    "is_llama_config",
    "label2id",
    "layerdrop",
    "learned_embeddings",
    "length_penalty",
    "mask_token_id",
    "max_length",
    "max_seq_length",
    "max_sequence_length",
    "min_length",
    "mlx",
    "model_max_length",
    "model_type",
    "n_special",
    "neftune_noise_alpha",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "predict_special_tokens",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "qa_dropout",
    "quantization",
    "quantization_config",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "rope_interleaved",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sbert_ce_default_activation_fn",
    "sbert_ce_default_activation_function",
    "scale_embeddings",
    "sentence_transformers",
    "sep_token_id",
    "seq_classif_dropout",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "tokenizer_model_max_length",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_flash_attention_2",
    "use_flash_attn",
};

// Parts that a model may have. Where a family does not know them, its models are without: false says nothing new.
constexpr std::string_view parts[] = {"add_cross_attention", "attention_bias", "is_decoder", "mlp_bias", "qkv_bias"};

bool is_absent_part(const std::string& key, const Attribute& value) {
  auto* flag = std::get_if<bool>(&value);
  return flag && !*flag && std::find(std::begin(parts), std::end(parts), key) != std::end(parts);
}

bool is_passed_over(std::string_view key) {
  // Objects (id2label.0, quantization_config.bits) are passed over by their first part.
  std::string_view first = key.substr(0, key.find('.'));
  auto in = [&](std::string_view k) {
    return std::find(std::begin(passed_over), std::end(passed_over), k) != std::end(passed_over);
  };
  return in(key) || in(first);
}

// An array of one kind of elements; of other things, such as objects, the text.
Attribute array_attribute(const Json& array) {
  auto all = [&](auto&& predicate) { return std::all_of(array.begin(), array.end(), predicate); };
  if (all([](const Json& e) { return e.is_number_integer(); })) return array.get<Ints>();
  if (all([](const Json& e) { return e.is_boolean(); })) {
    Ints flags;
    for (const Json& e : array) flags.push_back(e.get<bool>());
    return flags;
  }
  if (all([](const Json& e) { return e.is_number(); })) return array.get<Floats>();
  if (all([](const Json& e) { return e.is_string(); })) return array.get<Strings>();
  return array.dump();
}

void flatten(const std::string& prefix, const Json& json, std::map<std::string, Attribute>& fields) {
  for (const auto& [name, value] : json.items()) {
    std::string key = prefix + name;
    if (value.is_object())
      flatten(key + ".", value, fields);
    else if (value.is_array())
      fields[key] = array_attribute(value);
    else if (value.is_boolean())
      fields[key] = value.get<bool>();
    else if (value.is_number_integer())
      fields[key] = value.get<std::int64_t>();
    else if (value.is_number())
      fields[key] = value.get<double>();
    else if (value.is_string())
      fields[key] = value.get<std::string>();
  }
}

// rope_parameters, which newer versions write, holds what older ones have as rope_scaling, rope_theta and
// partial_rotary_factor; per kind of layer where they differ. That of sliding layers becomes rope_local.
void use_one_spelling(std::map<std::string, Attribute>& fields) {
  std::map<std::string, Attribute> renamed;
  auto starts = [](const std::string& key, std::string_view with) { return key.starts_with(with); };
  for (auto& [key, value] : fields) {
    std::string to = key;
    if (starts(to, "rope_parameters.sliding_attention.")) to = "rope_local." + to.substr(34);
    if (starts(to, "rope_parameters.full_attention.")) to = "rope_scaling." + to.substr(31);
    if (starts(to, "rope_parameters.")) to = "rope_scaling." + to.substr(16);
    if (to == "rope_scaling.type") to = "rope_scaling.rope_type";
    if (to == "rope_scaling.rope_theta") to = "rope_theta";
    if (to == "rope_scaling.partial_rotary_factor") to = "partial_rotary_factor";
    if (to == "rope_local.rope_theta" || to == "rope_local_base_freq") to = "rope_local_theta";
    if (to == "rope_local.partial_rotary_factor") to = "rope_local_partial_rotary_factor";
    // Both spellings of the kind may stand side by side; they agree.
    if (to == key || !fields.contains(to)) renamed[to] = std::move(value);
  }
  if (auto type = renamed.find("rope_scaling.rope_type"); type != renamed.end())
    if (auto* text = std::get_if<std::string>(&type->second); text && *text == "su") *text = "longrope";
  fields = std::move(renamed);
}

Result<Json> parsed(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  POM_REQUIRE(json.is_object(), "config.json is not a JSON object");
  // Models of several parts describe the language model within.
  if (json.contains("text_config") && json["text_config"].is_object()) {
    Json inner = json["text_config"];
    for (const char* key : {"tie_word_embeddings"})
      if (json.contains(key) && !inner.contains(key)) inner[key] = json[key];
    return inner;
  }
  return json;
}

}  // namespace

Result<std::map<std::string, Attribute>> config_fields(const std::string& json_text) {
  Json json = POM_TRY(parsed(json_text));
  std::map<std::string, Attribute> fields;
  flatten("", json, fields);
  use_one_spelling(fields);
  std::erase_if(fields, [](const auto& field) { return is_passed_over(field.first); });
  return fields;
}

Result<std::string> model_type_of(const std::string& json_text) {
  Json json = POM_TRY(parsed(json_text));
  auto type = json.find("model_type");
  POM_REQUIRE(type != json.end() && type->is_string(), "config.json does not say its model_type");
  return type->get<std::string>();
}

Result<Strings> architectures_of(const std::string& json_text) {
  Json json = POM_TRY(parsed(json_text));
  Strings classes;
  if (auto list = json.find("architectures"); list != json.end() && list->is_array())
    for (const Json& each : *list)
      if (each.is_string()) classes.push_back(each.get<std::string>());
  return classes;
}

Status read_config_erased(const std::string& json_text, const RecordInfo& info, void* record) {
  auto fields = POM_TRY(config_fields(json_text));
  std::string unknown;
  std::size_t count = 0;
  auto known = [&](const std::string& key) {
    return std::any_of(info.fields.begin(), info.fields.end(), [&](const FieldInfo* f) { return f->name == key; });
  };
  std::erase_if(fields,
                [&](const auto& field) { return !known(field.first) && is_absent_part(field.first, field.second); });
  for (const auto& [key, value] : fields) {
    if (known(key)) continue;
    unknown += fmt::format("{}{} = {}", count++ ? ", " : "", key, to_string(value));
  }
  POM_REQUIRE(count == 0, "config.json has {} that this family does not know: {}", count == 1 ? "a key" : "keys",
              unknown);
  POM_TRY_IN(set_fields_erased(info, record, fields), "config.json");
  return {};
}

}  // namespace pomona::llm
