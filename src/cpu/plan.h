// A segment: consecutive nodes of a block whose sizes are all known, with a kernel for each and a place in memory for
// every value. See runner.h.
#pragma once
#include <unordered_map>
#include <utility>

#include "cpu/kernel.h"
#include "cpu/runner.h"

namespace pomona::cpu {

struct Slot {
  enum class Where : std::uint8_t { arena, constant, live_in, state } where;
  DType dtype;
  Sizes sizes;
  Value value;                 // of a state: the function's input; empty: a copy in another form
  bool channels_last = false;  // see layout.h
  std::size_t offset = 0;      // in the arena, or in the state; bytes
  Tensor tensor;               // a constant's stored form
  std::size_t size_bytes() const { return std::size_t(element_count(sizes)) * storage_bytes(dtype); }
};

struct Step {
  const Node* node;
  Kernel kernel;
};

struct Segment {
  std::vector<Slot> slots;
  std::vector<Step> steps;
  std::vector<SlotNumber> live_in, live_out;             // values that come from before and are wanted after
  std::vector<std::pair<SlotNumber, SlotNumber>> views;  // slots that are another slot's memory, in order
  std::vector<std::pair<Value, Tensor>> known_out;       // values found constant while planning, wanted after
  std::vector<const ValueInfo*> dead;                    // of what came from before: not wanted after
  const Node* breaker = nullptr;  // the node after the last step that has to be run on its own; null at the block's end
  std::size_t arena_bytes = 0, scratch_bytes = 0;
};

// Values and what is known of them where a segment starts.
struct Surroundings {
  // Stored form, or halves as they came (see lies_in_halves); of values alive.
  std::unordered_map<const ValueInfo*, Tensor> tensors;
  std::unordered_map<const ValueInfo*, Tensor> known;  // program form; constant for these sizes
};

// Large inputs of fp16 are left as they are: kernels that can read halves do, and others have them widened.
inline bool is_left_in_halves(const Tensor& input) {
  constexpr std::size_t least_elements = 16384;
  return !input.is_list() && input.dtype() == DType::fp16 && input.count() >= least_elements;
}
inline bool lies_in_halves(const Tensor& stored) { return !stored.is_list() && stored.dtype() == DType::fp16; }

// Constants of a program in program and stored form, made when first asked for. Large ones are best not asked for: most
// kernels keep a form of their own.
class Constants {
 public:
  // The tensor of a const node or constexpr op; null for other values.
  Result<const Tensor*> find(Value value);
  Result<const Tensor*> find_stored(Value value);
  // The same, not kept.
  Result<Tensor> decode(Value value);
  // Whether the planner leaves a constant alone until a kernel wants it.
  static bool is_large(Value value);
  // Large tensors in program form, which only planning wants.
  void forget_large();
  std::map<std::string, std::shared_ptr<const void>> prepared;  // see PlanContext::shared

  // What went wrong while a kernel was being planned.
  void note_failure(Error error) {
    if (failure_) failure_ = std::move(error);
  }
  Status take_failure() { return std::exchange(failure_, Status()); }

 private:
  Status failure_;
  std::unordered_map<const ValueInfo*, Tensor> tensors_, stored_;
};

Result<Segment> plan_segment(const Block& block, Block::Nodes::const_iterator start, const Surroundings& at,
                             Constants& constants, const RunOptions& options);

}  // namespace pomona::cpu
