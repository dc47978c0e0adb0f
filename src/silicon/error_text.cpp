#include "silicon/error_text.h"

#include <string>

#include "base/ascii.h"

namespace pomona::silicon {
namespace {

const ErrorText table[] = {
    {"aneccompile() failed", "the Neural Engine's compiler refuses an operation, a state or a size",
     "run `pomona doctor MODEL` and `pomona plan MODEL --units cpu_ne`; try --cache io for a language model",
     "mobius pull request 77; CoreMLPipelines issue 9; executorch issue 19635"},
    {"status=-14", "the Neural Engine's compiler refuses an operation, a state or a size",
     "run `pomona doctor MODEL`; state sizes that are no multiple of 32 are one cause", "coremltools issue 2631"},
    {"status -14", "the Neural Engine's compiler refuses an operation, a state or a size",
     "run `pomona doctor MODEL`; state sizes that are no multiple of 32 are one cause", "coremltools issue 2631"},
    {"status: -14", "the Neural Engine's compiler refuses an operation, a state or a size",
     "run `pomona doctor MODEL`; state sizes that are no multiple of 32 are one cause", "coremltools issue 2631"},
    {"error code: -14", "the Neural Engine's compiler refuses an operation, a state or a size",
     "run `pomona doctor MODEL`; state sizes that are no multiple of 32 are one cause", "coremltools issue 2631"},
    {"0x1d", "more than one state in a program for the Neural Engine",
     "stack the caches in one state, or convert with --cache io", "CoreML-LLM (one report)"},
    {"0x20004", "the weights are too large for one program", "split the model", "omlx issues 2781 and 2874"},
    {"exceeds the maximum (2147483648 bytes)", "a weight file of more than 2 GiB",
     "split the model into parts below 2 GiB, or compress its weights", "coremltools pull request 2593"},
    {"only support per-cout/per-tensor quantization", "weights with a scale per block on the Neural Engine",
     "compress with --granularity per_channel, or with look-up tables", "coremltools issue 2510"},
    {"tensors with rank <= 5", "a tensor of rank 6 or more", "merge axes; converting from ONNX does it where it can",
     "coremltools source"},
    {"input dim > 16384", "an axis longer than the Neural Engine takes",
     "split the layer (--split-head for a language model)", "onnxruntime issue 19543"},
    {"cannot support standalone slice_update", "a cache update outside read_state, slice_update, write_state",
     "convert the language model again with --cache state, or --cache io", "community notes around ANEMLL"},
    {"unsupported tensor data type: int32", "int32 data in the middle of a program for the Neural Engine",
     "int16 or uint16 indices (iOS17 or later)", "community notes around ANEMLL"},
    {"unsupported gather index type", "a gather whose indices are int32", "int16 or uint16 indices (iOS17 or later)",
     "community notes around ANEMLL"},
    {"invalid output tensor format: fp32", "an operation in fp32, which the Neural Engine has not",
     "convert with --precision fp16", "community notes around ANEMLL"},
    {"unknown opset", "the system is older than the program's operator set",
     "convert with --target for the oldest system that has to run it", "executorch troubleshooting"},
    {"unrecognized opset", "the system is older than the program's operator set",
     "convert with --target for the oldest system that has to run it", "executorch troubleshooting"},
    {"unsupported opset", "the system is older than the program's operator set",
     "convert with --target for the oldest system that has to run it", "executorch troubleshooting"},
    {"must be an mlstate", "a state that is given as an array", "make a state (makeState / make_state) and pass it",
     "executorch issue 21855"},
    {"mps.dequantize", "per-channel scales of look-up tables on the GPU of macOS 26",
     "compress without --enable-per-channel-scale, or use the CPU and Neural Engine", "coremltools pull request 2688"},
    {"killed: 9", "memory ran out, often while the Neural Engine's compiler ran",
     "compress the weights, split the model, or load it with the CPU and GPU only", "coremltools issue 2758"},
    {"sigkill", "memory ran out, often while the Neural Engine's compiler ran",
     "compress the weights, split the model, or load it with the CPU and GPU only", "coremltools issue 2758"},
    {"only available on macos", "coremltools predicts through Core ML, which is on Macs only",
     "run the package with `pomona run`", "coremltools issue 2658"},
};

}  // namespace

std::span<const ErrorText> error_texts() { return table; }

std::vector<const ErrorText*> explain(std::string_view text) {
  std::string lower = ascii_lower(text);
  std::vector<const ErrorText*> found;
  for (const ErrorText& row : table)
    if (lower.find(row.fragment) != std::string::npos) found.push_back(&row);
  return found;
}

}  // namespace pomona::silicon
