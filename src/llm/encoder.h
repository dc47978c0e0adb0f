// An encoder as data: what a family's file makes of a configuration, and what build_encoder makes a program of.
//
// BERT and its descendants: all tokens see all others, norms stand after attention and MLP, positions are learned.
// Names of tensors hold "{}" where the number of the layer stands; biases are found beside weights.
#pragma once
#include "llm/decoder.h"
#include "llm/language_model.h"

namespace pomona::llm {

struct Encoder {
  std::string family;
  std::int64_t vocabulary = 0, hidden = 0, heads = 0, layers = 0, positions = 0;
  double epsilon = 1e-12;
  std::string activation = "gelu";
  std::int64_t first_position = 0;  // row of position_embedding for position 0
  std::vector<std::string> prefixes, ignored;
  std::string embedding, position_embedding, type_embedding, embedding_norm;  // without types: empty
  LayerNames names;
};

Result<Program> build_encoder(const Encoder& encoder, const Checkpoint& checkpoint, const BuildOptions& options,
                              BuildReport* report = nullptr);

}  // namespace pomona::llm
