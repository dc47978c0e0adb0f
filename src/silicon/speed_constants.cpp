// Fitted by `pomona plan --fit` from published measurements of M1 to M3: llama.cpp discussion 4167,
// XiongjieDai/GPU-Benchmarks-on-LLM-Inference, ik_llama.cpp discussion 164, Apple's write-up of Llama 3.1 through Core
// ML, and smpanaro's Core ML packages; 299 rows. Seconds per unit of each term of speed_terms.cpp.
#include "silicon/speed.h"

namespace pomona::silicon {
namespace {

constexpr std::string_view fitted = R"json(
{
 "coreml-ane decode": {
  "rows": 15,
  "low": 0.87241,
  "high": 1.1638,
  "seconds": {
   "step/engine": 0.86447,
   "window/engine": 0.42252
  }
 },
 "coreml-gpu decode": {
  "rows": 28,
  "low": 0.7,
  "high": 1.4,
  "seconds": {
   "bytes/bandwidth": 1.504,
   "cache copied": 0.47434,
   "cache paged": 11.136,
   "cache/bandwidth": 8.0185,
   "parameters/GPU, 4-bit": 0.012944,
   "window attention/GPU": 1.0007,
   "window/GPU": 3.1395
  }
 },
 "llama.cpp-cpu decode": {
  "rows": 7,
  "low": 0.7,
  "high": 1.4,
  "seconds": {
   "bytes/bandwidth": 0.50967,
   "parameters/cores, 4-bit, repacked": 0.023231,
   "parameters/cores, 8-bit": 0.037202,
   "parameters/cores, k-quant": 0.058575,
   "parameters/cores, plain": 0.062746
  }
 },
 "llama.cpp-cpu prompt": {
  "rows": 7,
  "low": 0.7,
  "high": 1.4,
  "seconds": {
   "parameters/cores, 4-bit, repacked": 0.0086911,
   "parameters/cores, 8-bit": 0.018267,
   "parameters/cores, k-quant": 0.030407,
   "parameters/cores, plain": 0.034401
  }
 },
 "llama.cpp-metal decode": {
  "rows": 122,
  "low": 0.84151,
  "high": 1.0941,
  "seconds": {
   "bytes/bandwidth": 0.87025,
   "bytes/bandwidth, two dies": 0.039583,
   "cache/GPU": 0.073609,
   "cache/bandwidth": 4.9689,
   "layers": 0.0042388,
   "layers, two dies": 0.0014396,
   "parameters/GPU, 4-bit": 0.004455,
   "parameters/GPU, 8-bit": 0.0075094,
   "parameters/GPU, k-quant": 0.0083289,
   "parameters/GPU, plain": 0.014859
  }
 },
 "llama.cpp-metal prompt": {
  "rows": 120,
  "low": 0.8398,
  "high": 1.1366,
  "seconds": {
   "attention/GPU": 0.00055217,
   "parameters/GPU": 0.0024805,
   "parameters/GPU, 4-bit": 0.00042685,
   "parameters/GPU, 8-bit": 0.00041452,
   "parameters/GPU, from M3": 0.00029766,
   "parameters/GPU, k-quant": 0.00061785,
   "parameters/GPU, plain": 0.0001412,
   "parameters/GPU, two dies": 0.00010713
  }
 }
}
)json";

}  // namespace

const SpeedConstants& default_speed_constants() {
  static const SpeedConstants constants = [] {
    auto parsed = speed_constants_from_json(fitted);
    return parsed ? std::move(*parsed) : SpeedConstants{};
  }();
  return constants;
}

}  // namespace pomona::silicon
