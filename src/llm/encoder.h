// An encoder as data: what a family's file makes of a configuration, and what build_encoder makes a program of.
//
// BERT and its descendants: all tokens see all others, norms stand after attention and MLP, positions are learned.
// Names of tensors hold "{}" where the number of the layer stands; biases are found beside weights. What a checkpoint
// was trained for stands behind the layers; the first head whose tensors are there is taken.
#pragma once
#include "llm/decoder.h"
#include "llm/language_model.h"

namespace pomona::llm {

// A projection with its activation and norm, where it has them, and then the output's own; empty names: no such part.
struct TaskHead {
  enum class Output : std::uint8_t {
    logits,  // [batch, classes], or of every token [batch, tokens, classes]
    span,    // start_logits and end_logits, [batch, tokens] each
    pooler   // pooler_output, [batch, hidden]: what `dense` gives
  };
  std::string task;  // as the ends of transformers' classes have it: TokenClassification
  Output output = Output::logits;
  bool first_token = false;  // it looks at the first token alone
  std::string dense, activation, norm, out;
  std::string bias;   // of `out`, where it is not beside the weight
  bool tied = false;  // without a weight, `out` is the embedding
};

struct Encoder {
  std::string family;
  std::int64_t vocabulary = 0, hidden = 0, heads = 0, layers = 0, positions = 0;
  double epsilon = 1e-12;
  std::string activation = "gelu";
  std::int64_t first_position = 0;  // row of position_embedding for position 0
  std::vector<std::string> prefixes, ignored;
  std::string embedding, position_embedding, type_embedding, embedding_norm;  // without types: empty
  LayerNames names;
  std::vector<TaskHead> tasks;  // by preference
};

Result<Program> build_encoder(const Encoder& encoder, const Checkpoint& checkpoint, const BuildOptions& options,
                              BuildReport* report = nullptr);

}  // namespace pomona::llm
