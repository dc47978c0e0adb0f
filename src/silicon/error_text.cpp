#include "silicon/error_text.h"

#include <string>

#include "base/ascii.h"

namespace pomona::silicon {
namespace {

const std::vector<ErrorText>& table() {
  static const std::vector<ErrorText> rows{
      {{"aneccompile() failed", "aneccompile failed", "ane compile failed", "ane compilation failed", "status -14",
        "status code -14", "error code -14", "error -14", "code -14", "returned -14"},
       "the Neural Engine's compiler refuses an operation, a state or a size",
       "run `pomona doctor MODEL` and `pomona plan MODEL --units cpu_ne`; state sizes that are no multiple of 32 are one "
       "cause, caches that are shifted another: try --cache io for a language model, --for ane for others",
       "mobius pull request 77; CoreMLPipelines issue 9; executorch issue 19635; coremltools issue 2631"},
      {{"0x1d", "status 29", "error code 29"},
       "more than one state in a program for the Neural Engine",
       "stack the caches in one state, or convert with --cache io",
       "CoreML-LLM (one report)"},
      {{"0x20004"},
       "the weights are too large for one program",
       "split the model with `pomona split`",
       "omlx issues 2781 and 2874"},
      {{"exceeds the maximum (2147483648 bytes)", "exceeds the maximum 2147483648", "weight file size"},
       "a weight file of more than 2 GiB",
       "split the model into parts below 2 GiB (`pomona split --max-bytes`), or compress its weights",
       "coremltools pull request 2593 and issue 1807"},
      {{"only support per-cout/per-tensor quantization", "only supports per-cout/per-tensor quantization",
        "per-cout/per-tensor"},
       "weights with a scale per block on the Neural Engine",
       "compress with --granularity per_channel, or with look-up tables",
       "coremltools issue 2510"},
      {{"tensors with rank <= 5", "tensor with rank <= 5", "rank less than or equal to 5", "rank > 5",
        "only supports tensors with rank"},
       "a tensor of rank 6 or more",
       "merge axes; converting from ONNX does it where it can",
       "coremltools source; issues 1723 and 2291"},
      {{"input dim > 16384", "dim > 16384", "dimension > 16384", "exceeds 16384"},
       "an axis longer than the Neural Engine takes",
       "split the layer (--split-head for a language model, --for ane for others)",
       "onnxruntime issue 19543"},
      {{"standalone slice_update"},
       "a cache update outside read_state, slice_update, write_state",
       "convert the language model again with --cache state, or --cache io",
       "community notes around ANEMLL"},
      {{"unsupported tensor data type: int32", "unsupported data type: int32", "unsupported tensor data type int64"},
       "int32 data in the middle of a program for the Neural Engine",
       "int16 or uint16 indices (iOS17 or later); --for ane narrows those of look-ups",
       "community notes around ANEMLL"},
      {{"unsupported gather index type", "unsupported gather indices type", "unsupported index type"},
       "a gather whose indices are int32",
       "int16 or uint16 indices (iOS17 or later); --for ane narrows them",
       "community notes around ANEMLL"},
      {{"invalid output tensor format: fp32", "invalid tensor format: fp32", "invalid output tensor format: float32",
        "invalid input tensor format: fp32"},
       "an operation in fp32, which the Neural Engine has not",
       "convert with --precision fp16",
       "community notes around ANEMLL"},
      {{"unknown opset", "unrecognized opset", "unrecognised opset", "unsupported opset", "invalid opset",
        "opset coreml5", "opset coreml6", "opset coreml7", "opset coreml8", "opset coreml9"},
       "the system is older than the program's operator set",
       "convert with --target for the oldest system that has to run it",
       "executorch troubleshooting"},
      {{"must be an mlstate", "must be a mlstate", "must be mlstate", "is not an mlstate"},
       "a state that is given as an array",
       "make a state (makeState / make_state) and pass it",
       "executorch issue 21855"},
      {{"mps.dequantize"},
       "per-channel scales of look-up tables on the GPU of macOS 26",
       "compress without --enable-per-channel-scale, or use the CPU and Neural Engine",
       "coremltools pull request 2688"},
      {{"killed: 9", "zsh: killed", "bash: killed", "sigkill", "signal 9", "exit code 137", "jetsam",
        "memory limit exceeded"},
       "memory ran out, often while the Neural Engine's compiler ran",
       "compress the weights, split the model, or load it with the CPU and GPU only",
       "coremltools issues 2758 and 2590; swift-transformers issue 120"},
      {{"only available on macos", "only supported on macos", "predictions can only be made on macos"},
       "coremltools predicts through Core ML, which is on Macs only",
       "run the package with `pomona run`",
       "coremltools issues 2658 and 2220"},
  };
  return rows;
}

// Small letters, digits and the signs that carry meaning; the dashes of typesetters become "-".
std::string squeezed(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto rest = text.substr(i);
    // U+2010 to U+2015 and the minus sign, U+2212.
    bool dash = rest.starts_with("\xe2\x80") && rest.size() > 2 && std::uint8_t(rest[2]) >= 0x90 &&
                std::uint8_t(rest[2]) <= 0x95;
    if (dash || rest.starts_with("\xe2\x88\x92")) {
      out += '-';
      i += 2;
    } else if (rest.starts_with("\xe2\x89\xa4")) {  // "less or equal" in one sign
      out += "<=";
      i += 2;
    } else {
      char c = ascii_lower(text.substr(i, 1))[0];
      bool sign = c == '-' || c == '<' || c == '>' || c == '.' || c == '_' || c == '/';
      // An equals sign stays behind "<" only: "status=-14" is "status -14".
      bool equal = c == '=' && !out.empty() && (out.back() == '<' || out.back() == '>');
      if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || sign || equal) out += c;
    }
  }
  return out;
}

// As a whole number where it ends in one: "status -14" is not in "status -140".
bool occurs(const std::string& fragment, const std::string& text) {
  bool hexadecimal = fragment.starts_with("0x");
  auto digit = [&](char c) { return (c >= '0' && c <= '9') || (hexadecimal && c >= 'a' && c <= 'f'); };
  for (std::size_t at = text.find(fragment); at != text.npos; at = text.find(fragment, at + 1)) {
    std::size_t end = at + fragment.size();
    if (!digit(fragment.back()) || end == text.size() || !digit(text[end])) return true;
  }
  return false;
}

}  // namespace

std::span<const ErrorText> error_texts() { return table(); }

std::vector<Explained> explain(std::string_view text) {
  std::string plain = squeezed(text);
  std::vector<Explained> found;
  for (const ErrorText& row : table())
    for (std::string_view spelling : row.spellings)
      if (occurs(squeezed(spelling), plain)) {
        found.push_back({&row, spelling});
        break;
      }
  return found;
}

}  // namespace pomona::silicon
