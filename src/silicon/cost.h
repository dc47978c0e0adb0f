// What an op costs on an engine: operations and bytes over the engine's measured ceilings. Internal to silicon/.
#pragma once
#include "silicon/placement.h"

namespace pomona::silicon {

struct OpWork {
  double flops = 0;
  std::uint64_t weight_bytes = 0;          // as stored
  std::uint64_t decoded_weight_bytes = 0;  // in fp16
  std::uint64_t activation_bytes = 0;      // read and written
  bool int8_arithmetic = false;
  std::string_view scheme;  // op that decodes the weights; empty: plain
};
OpWork work_of(const RuleAt& at);

class CostModel {
 public:
  explicit CostModel(const PlaceOptions& options);
  double op_seconds(const OpWork& work, Engine engine) const;
  // Starting `engine` after `before`, with bytes to hand over.
  double switch_seconds(Engine before, Engine engine, std::uint64_t bytes) const;

 private:
  bool streams(std::string_view scheme) const;
  struct Ceiling {
    double flops, bytes, start, op;
  } ceilings_[engine_count];
  int generation_;
};

}  // namespace pomona::silicon
