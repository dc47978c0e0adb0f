// The sources of checkpoints, one file each, and what they share.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "formats/gguf/gguf.h"
#include "formats/pytorch/pytorch.h"
#include "formats/safetensors/safetensors.h"
#include "llm/quantised.h"

namespace pomona::llm {

// Tensors made by the readers below.
CheckpointTensor tensor_of(const Quantised& quantised, std::uint64_t stored_bytes);
CheckpointTensor tensor_of(Weight decoded, std::string storage, std::uint64_t stored_bytes);

// A tensor as a file has it, and what the file calls its dtype.
struct RawTensor {
  Weight weight;
  std::string stored;
  std::uint64_t bytes = 0;
};
using RawTensors = std::map<std::string, RawTensor>;

Result<Checkpoint> open_gguf(const std::string& path);
// A folder with config.json, or a weights file beside one; `weights` is empty for a folder.
Result<Checkpoint> open_folder(const std::string& folder, const std::string& weights);

// Parts of open_gguf: a config.json from the metadata, and the name that transformers has for a tensor.
Result<nlohmann::json> config_of_gguf(const gguf::File& file);
Status add_gguf_tensors(const gguf::File& file, const nlohmann::json& config, Checkpoint& checkpoint);

// Parts of open_folder. The text of a file; empty when there is none.
Result<std::string> text_of(const std::filesystem::path& file);
// A file of weights of either format, or the index of several; `format` may be null.
Result<RawTensors> read_weights(const std::filesystem::path& file, std::string* format);
Weight as_floats(const Weight& weight);
// What modules.json and the files beside it say, of sentence encoders: how they go on behind the layers, and the most
// tokens of a text. `model` is the folder of the language model, mostly the same.
Status read_sentence_steps(const std::filesystem::path& folder, const std::filesystem::path& model,
                           Checkpoint& checkpoint);
// Parts of open_folder: what some quantisers make of a matrix "X.weight". Each takes the tensors it knows out of `raw`
// and leaves the others.
Status take_mlx(const nlohmann::json& settings, RawTensors& raw, Checkpoint& checkpoint);
Status take_awq(const nlohmann::json& settings, RawTensors& raw, Checkpoint& checkpoint);
Status take_gptq(const nlohmann::json& settings, RawTensors& raw, Checkpoint& checkpoint);
Status take_compressed_tensors(const nlohmann::json& settings, RawTensors& raw, Checkpoint& checkpoint);
Status take_bitsandbytes(const nlohmann::json& settings, RawTensors& raw, Checkpoint& checkpoint);
Status take_fp8(const nlohmann::json& settings, RawTensors& raw, Checkpoint& checkpoint);

}  // namespace pomona::llm
