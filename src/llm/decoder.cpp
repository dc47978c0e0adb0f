#include "llm/decoder.h"

#include <cmath>

namespace pomona::llm {

Result<Decoder> decoder_of(const DecoderConfig& c) {
  struct Size {
    std::string_view name;
    std::int64_t value;
  };
  for (Size size : {Size{"vocab_size", c.vocab_size}, Size{"hidden_size", c.hidden_size},
                    Size{"num_hidden_layers", c.num_hidden_layers}, Size{"num_attention_heads", c.num_attention_heads},
                    Size{"max_position_embeddings", c.max_position_embeddings}})
    POM_REQUIRE(size.value > 0, "config.json lacks {}", size.name);
  // Far beyond any model; keeps products of sizes within their range.
  constexpr std::int64_t most = 1 << 24, most_layers = 4096;
  Decoder d;
  d.vocabulary = c.vocab_size;
  d.hidden = c.hidden_size;
  d.heads = c.num_attention_heads;
  d.kv_heads = c.num_key_value_heads->value_or(d.heads);
  d.head_dim = c.head_dim->value_or(d.hidden / d.heads);
  d.positions = c.max_position_embeddings;
  POM_REQUIRE(d.kv_heads > 0 && d.heads % d.kv_heads == 0 && d.head_dim > 0,
              "config.json has {} heads of {} elements and {} of keys and values", d.heads, d.head_dim, d.kv_heads);
  POM_REQUIRE(d.vocabulary < most && d.hidden < most && d.heads < most && d.head_dim < most &&
                  c.num_hidden_layers <= most_layers,
              "config.json has sizes that no model has");
  d.epsilon = c.rms_norm_eps;
  d.activation = *c.hidden_act;
  d.tied = *c.tie_word_embeddings;
  Rope rope;
  rope.config = c;
  rope.theta = c.rope_theta->value_or(rope.theta);
  rope.width = std::int64_t(double(d.head_dim) * c.partial_rotary_factor->value_or(1));
  POM_REQUIRE(rope.width > 0 && rope.width <= d.head_dim && rope.width % 2 == 0,
              "config.json turns {} of the {} elements of a head", rope.width, d.head_dim);
  d.ropes.push_back(rope);
  Layer layer;
  layer.score_scale = 1 / std::sqrt(double(d.head_dim));
  d.layers.assign(std::size_t(*c.num_hidden_layers), layer);
  return d;
}

}  // namespace pomona::llm
