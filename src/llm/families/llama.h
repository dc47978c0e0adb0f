// What families of LLaMA's form share: the names of its tensors and the structure of its layers.
//
//   Decoder d = POM_TRY(llama_like(config));
#pragma once
#include "llm/decoder.h"

namespace pomona::llm {

LayerNames llama_names();
Result<Decoder> llama_like(const DecoderConfig& config);
// Per layer, from a configuration's layer_types; 0 where it sees everything.
std::vector<std::int64_t> windows_of(const Strings& layer_types, std::optional<std::int64_t> window,
                                     std::size_t layers);

}  // namespace pomona::llm
