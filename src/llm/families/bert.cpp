// BERT, DistilBERT and RoBERTa, and the sentence encoders, classifiers and others made of them (MiniLM).
#include <algorithm>

#include "llm/families/families.h"

namespace pomona::llm {
namespace {

struct BertConfig {
  POM_OPTION(vocab_size, std::int64_t, "tokens");
  POM_OPTION(hidden_size, std::int64_t, "width of the residual stream");
  POM_OPTION(num_hidden_layers, std::int64_t, "layers");
  POM_OPTION(num_attention_heads, std::int64_t, "heads");
  POM_OPTION(intermediate_size, std::int64_t, "width within the MLP");
  POM_OPTION(hidden_act, std::string, "activation of the MLP") = "gelu";
  POM_OPTION(max_position_embeddings, std::int64_t, "the most tokens") = std::int64_t(512);
  POM_OPTION(type_vocab_size, std::int64_t, "kinds of segments") = std::int64_t(2);
  POM_OPTION(layer_norm_eps, double, "added to variances") = 1e-12;
  POM_OPTION(position_embedding_type, std::string, "absolute") = "absolute";
  POM_OPTION(is_decoder, bool, "looks back only");
  POM_OPTION(add_cross_attention, bool, "attends to another sequence");
  POM_OPTION(directionality, std::string, "of the training text") = "bidi";
  POM_OPTION(pooler_fc_size, std::int64_t, "of a part that is not used here");
  POM_OPTION(pooler_num_attention_heads, std::int64_t, "of a part that is not used here");
  POM_OPTION(pooler_num_fc_layers, std::int64_t, "of a part that is not used here");
  POM_OPTION(pooler_size_per_head, std::int64_t, "of a part that is not used here");
  POM_OPTION(pooler_type, std::string, "of a part that is not used here");
  POM_OPTION(tie_word_embeddings, bool, "of a part that is not used here");
};

struct DistilBertConfig {
  POM_OPTION(vocab_size, std::int64_t, "tokens");
  POM_OPTION(dim, std::int64_t, "width of the residual stream");
  POM_OPTION(n_layers, std::int64_t, "layers");
  POM_OPTION(n_heads, std::int64_t, "heads");
  POM_OPTION(hidden_dim, std::int64_t, "width within the MLP");
  POM_OPTION(activation, std::string, "activation of the MLP") = "gelu";
  POM_OPTION(max_position_embeddings, std::int64_t, "the most tokens") = std::int64_t(512);
  POM_OPTION(sinusoidal_pos_embds, bool, "positions were not learned; they are stored all the same");
  POM_OPTION(tie_weights_, bool, "of a part that is not used here");
  POM_OPTION(tie_word_embeddings, bool, "of a part that is not used here");
};

LayerNames bert_names() {
  LayerNames n;
  n.query = "encoder.layer.{}.attention.self.query";
  n.key = "encoder.layer.{}.attention.self.key";
  n.value = "encoder.layer.{}.attention.self.value";
  n.output = "encoder.layer.{}.attention.output.dense";
  n.attention_norm = "encoder.layer.{}.attention.output.LayerNorm";
  n.up = "encoder.layer.{}.intermediate.dense";
  n.down = "encoder.layer.{}.output.dense";
  n.mlp_norm = "encoder.layer.{}.output.LayerNorm";
  return n;
}

// What the class is for comes first: a classifier of tokens may have kept the layer that one of texts has.
Status prefer_task(const std::string& config_json, Encoder& e) {
  Strings classes = POM_TRY(architectures_of(config_json));
  std::ranges::stable_partition(e.tasks, [&](const TaskHead& head) {
    return std::ranges::any_of(
        classes, [&](const std::string& name) { return !head.task.empty() && name.ends_with(head.task); });
  });
  return {};
}

Result<Encoder> bert_like(const std::string& config_json, const char* family) {
  BertConfig c;
  POM_TRY(read_config(config_json, c));
  POM_REQUIRE(!c.is_decoder && !c.add_cross_attention, "config.json describes a decoder, which is not known");
  POM_REQUIRE(*c.position_embedding_type == "absolute", "config.json asks for positions of the kind '{}'",
              *c.position_embedding_type);
  Encoder e;
  e.family = family;
  e.vocabulary = c.vocab_size;
  e.hidden = c.hidden_size;
  e.heads = c.num_attention_heads;
  e.layers = c.num_hidden_layers;
  e.positions = c.max_position_embeddings;
  e.epsilon = c.layer_norm_eps;
  e.activation = *c.hidden_act;
  // Heads and the layer over the first token are not always wanted.
  e.ignored = {"pooler.*",  "bert.pooler.*", "roberta.pooler.*", "cls.*",
               "lm_head.*", "classifier.*",  "qa_outputs.*",     ".position_ids"};
  e.prefixes = {"bert.", "roberta."};
  e.embedding = "embeddings.word_embeddings";
  e.position_embedding = "embeddings.position_embeddings";
  if (*c.type_vocab_size > 0) e.type_embedding = "embeddings.token_type_embeddings";
  e.embedding_norm = "embeddings.LayerNorm";
  e.names = bert_names();
  return e;
}

// What all three have under the same names.
const TaskHead classifies_tokens{.task = "TokenClassification", .out = "classifier"};
const TaskHead answers{.task = "QuestionAnswering", .output = TaskHead::Output::span, .out = "qa_outputs"};
const TaskHead classifies_pooled{
    .first_token = true, .dense = "pooler.dense", .activation = "tanh", .out = "classifier"};
const TaskHead pools{
    .output = TaskHead::Output::pooler, .first_token = true, .dense = "pooler.dense", .activation = "tanh"};

}  // namespace

Result<Encoder> bert(const std::string& config_json) {
  Encoder e = POM_TRY(bert_like(config_json, "bert"));
  const TaskHead fills_masks{.task = "MaskedLM",
                             .dense = "cls.predictions.transform.dense",
                             .activation = e.activation,
                             .norm = "cls.predictions.transform.LayerNorm",
                             .out = "cls.predictions.decoder",
                             .bias = "cls.predictions.bias",
                             .tied = true};
  e.tasks = {classifies_pooled, classifies_tokens, answers, fills_masks, pools};
  POM_TRY(prefer_task(config_json, e));
  return e;
}

Result<Encoder> roberta(const std::string& config_json) {
  Encoder e = POM_TRY(bert_like(config_json, "roberta"));
  // Positions are counted from the row after that of padding, whose id has always been 1.
  e.first_position = 2;
  e.positions -= e.first_position;
  const TaskHead classifies{.task = "SequenceClassification",
                            .first_token = true,
                            .dense = "classifier.dense",
                            .activation = "tanh",
                            .out = "classifier.out_proj"};
  const TaskHead fills_masks{.task = "MaskedLM",
                             .dense = "lm_head.dense",
                             .activation = "gelu",
                             .norm = "lm_head.layer_norm",
                             .out = "lm_head.decoder",
                             .bias = "lm_head.bias",
                             .tied = true};
  e.tasks = {classifies, classifies_pooled, classifies_tokens, answers, fills_masks, pools};
  POM_TRY(prefer_task(config_json, e));
  return e;
}

Result<Encoder> distilbert(const std::string& config_json) {
  DistilBertConfig c;
  POM_TRY(read_config(config_json, c));
  Encoder e;
  e.family = "distilbert";
  e.vocabulary = c.vocab_size;
  e.hidden = c.dim;
  e.heads = c.n_heads;
  e.layers = c.n_layers;
  e.positions = c.max_position_embeddings;
  e.activation = *c.activation;
  e.ignored = {"vocab_transform.*", "vocab_layer_norm.*", "vocab_projector.*", "classifier.*",
               "pre_classifier.*",  "qa_outputs.*",       ".position_ids"};
  e.prefixes = {"distilbert."};
  e.embedding = "embeddings.word_embeddings";
  e.position_embedding = "embeddings.position_embeddings";
  e.embedding_norm = "embeddings.LayerNorm";
  LayerNames& n = e.names;
  n.query = "transformer.layer.{}.attention.q_lin";
  n.key = "transformer.layer.{}.attention.k_lin";
  n.value = "transformer.layer.{}.attention.v_lin";
  n.output = "transformer.layer.{}.attention.out_lin";
  n.attention_norm = "transformer.layer.{}.sa_layer_norm";
  n.up = "transformer.layer.{}.ffn.lin1";
  n.down = "transformer.layer.{}.ffn.lin2";
  n.mlp_norm = "transformer.layer.{}.output_layer_norm";
  const TaskHead classifies{.task = "SequenceClassification",
                            .first_token = true,
                            .dense = "pre_classifier",
                            .activation = "relu",
                            .out = "classifier"};
  const TaskHead fills_masks{.task = "MaskedLM",
                             .dense = "vocab_transform",
                             .activation = e.activation,
                             .norm = "vocab_layer_norm",
                             .out = "vocab_projector",
                             .tied = true};
  e.tasks = {classifies, classifies_tokens, answers, fills_masks};
  POM_TRY(prefer_task(config_json, e));
  return e;
}

}  // namespace pomona::llm
