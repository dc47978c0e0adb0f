// From a checkpoint (GGUF, Hugging Face, MLX) to a Core ML package of a language model or an encoder.
//
//   if (POM_TRY(is_checkpoint(source))) return convert_checkpoint(source, output, options, progress);
//
// Weights stay quantised as the source has them where the target holds that. What was written is read back and run on
// seeded tokens, as generation would run it, against the same model evaluated in fp32 in memory.
#pragma once
#include "api/convert.h"

namespace pomona::api {

// A file or folder that is read as a checkpoint.
Result<bool> is_checkpoint(const std::string& source);
Result<ConvertReport> convert_checkpoint(const std::string& source, const std::string& output,
                                         const ConvertOptions& options, const Progress& progress);
// The options that only checkpoints have, when any was given: "--for". Empty when none was.
std::string checkpoint_option_given(const ConvertOptions& options);

}  // namespace pomona::api
