// The sources of checkpoints, one file each, and what they share.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "formats/gguf/gguf.h"
#include "formats/safetensors/safetensors.h"
#include "llm/quantised.h"

namespace pomona::llm {

// Tensors made by the readers below.
CheckpointTensor tensor_of(const Quantised& quantised, std::uint64_t stored_bytes);
CheckpointTensor tensor_of(Weight decoded, std::string storage, std::uint64_t stored_bytes);

Result<Checkpoint> open_gguf(const std::string& path);
// A folder with config.json, or a weights file beside one; `weights` is empty for a folder.
Result<Checkpoint> open_folder(const std::string& folder, const std::string& weights);

// Parts of open_gguf: a config.json from the metadata, and the name that transformers has for a tensor.
Result<nlohmann::json> config_of_gguf(const gguf::File& file);
Status add_gguf_tensors(const gguf::File& file, const nlohmann::json& config, Checkpoint& checkpoint);

}  // namespace pomona::llm
