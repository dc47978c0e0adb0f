// A decoder as data: what a family's file makes of a configuration, and what build_decoder makes a program of.
//
// Families differ in sizes, in the names of their tensors, and in a few choices (norms, activations, where residuals
// join, windows, caps). Each family fills a Decoder; nothing else knows that the family exists.
//
// Names of tensors hold "{}" where the number of the layer stands; an empty name means that there is no such part.
// Biases are not named: a projection or norm has one when the checkpoint has "NAME.bias" beside "NAME.weight".
#pragma once
#include <string>
#include <vector>

#include "llm/config.h"

namespace pomona::llm {

enum class NormKind : std::uint8_t { rms, layer };
// sequential: x += attention(norm(x)); x += mlp(norm(x)). parallel: x += attention(norm(x)) + mlp(norm'(x)).
// after: x = norm(x + attention(x)); x = norm(x + mlp(x)).
enum class Residual : std::uint8_t { sequential, parallel, after };
// How one projection holds queries, keys and values: all of each, or per head one after the other.
enum class FusedOrder : std::uint8_t { stacked, per_head };

struct LayerNames {
  std::string attention_norm, mlp_norm;          // before each, or after it with Residual::after
  std::string attention_out_norm, mlp_out_norm;  // of what each adds to the residual
  std::string query, key, value, fused, output;  // projections; `fused` instead of the three
  std::string query_norm, key_norm;              // of every head
  std::string gate, up, gate_up, down;           // `gate_up` holds both; without either gate the MLP is a plain one
  std::string router;                            // of experts, whose names have a second "{}"
  std::string expert_gate, expert_up, expert_down;
};

struct Layer {
  std::int64_t window = 0;  // sees so many tokens, itself included; 0: all
  int rope = 0;             // index into Decoder::ropes; -1: positions do not enter
  bool experts = false;     // the router's instead of one MLP
  double score_scale = 0;   // of the products of queries and keys
};

struct Rope {
  RopeConfig config;
  double theta = 10000;
  std::int64_t width = 0;  // elements of a head that are turned, the first ones
};

struct Decoder {
  std::string family;
  std::int64_t vocabulary = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, positions = 0;
  std::vector<Layer> layers;
  std::vector<Rope> ropes;

  NormKind norm = NormKind::rms;
  double epsilon = 1e-6;
  bool norm_adds_one = false;  // norm weights are stored less 1
  bool norm_is_plain = false;  // norms have no weights
  Residual residual = Residual::sequential;
  std::string activation = "silu";
  FusedOrder fused_order = FusedOrder::stacked;
  bool transposed = false;  // matrices of the layers are stored [in, out]
  double embedding_scale = 1, score_cap = 0, logit_cap = 0;
  std::int64_t experts = 0, experts_per_token = 0;
  bool normalise_experts = false;  // the chosen experts' shares are made to add up to 1

  std::vector<std::string> prefixes;  // what a checkpoint may put before all names, the longest first
  std::vector<std::string> ignored;   // see WeightsOptions
  std::string embedding, position_embedding, final_norm, head;
  std::int64_t first_position = 0;      // row of position_embedding for position 0
  std::string project_in, project_out;  // between embedding and layers, where their widths differ
  LayerNames names;
  std::optional<bool> tied;  // as the configuration says
};

// The decoder's sizes from what all configurations have. Errors: a size is missing, or they do not go together.
Result<Decoder> decoder_of(const DecoderConfig& config);

}  // namespace pomona::llm
