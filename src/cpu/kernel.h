// What a fast kernel is. A kernel is planned once for concrete operand types and then run many times.
//
//   Kernel plan_softmax(const mil::softmax& op, PlanContext& at) {
//     const float... = at.source(op.x);                      // a Slot number
//     return {.run = [=](const Frame& f) { ... f.read<float>(x) ... f.write<float>(y) ... }};
//   }
//   std::vector<KernelRule> activation_kernels() { return {kernel<mil::softmax, plan_softmax>()}; }
//
// Storage: fp16 values live as float (rounded to fp16's values where the rounding mode says so), bool as one byte that
// is 0 or 1, everything else in its own dtype. Tensors are dense and row-major. An op without a kernel, or whose plan
// declines (returns an empty run), is run by its reference `eval`.
//
// Planning may decline; running may not fail. Kernels use parallel_for and give the same bits for any thread count.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "ir/op.h"

namespace pomona::cpu {

// Where fp16 results are rounded. Accumulation is in float in both.
enum class Rounding : std::uint8_t {
  strict,  // after every op: the reference
  fast,    // where a kernel stores a value; chains that are fused round once
};

// float for the floating types, else the dtype itself.
DType storage_dtype(DType dtype);
inline std::size_t storage_bytes(DType dtype) { return element_size_bytes(storage_dtype(dtype)); }
// Converts between a tensor of a program and its stored form.
Tensor to_storage(const Tensor& tensor);
Tensor from_storage(const Tensor& stored, DType dtype);

using SlotNumber = std::uint32_t;
constexpr SlotNumber no_slot = ~SlotNumber(0);

// The memory of one run.
class Frame {
 public:
  template <class T>
  const T* read(SlotNumber slot) const {
    return reinterpret_cast<const T*>(pointers[slot]);
  }
  template <class T>
  T* write(SlotNumber slot) const {
    return reinterpret_cast<T*>(pointers[slot]);
  }
  std::uint8_t* scratch() const { return pointers.back(); }
  // For data that turns out wrong only while running (an index out of range with validate_indices).
  void fail(Error error) const {
    if (status) status = std::move(error);
  }
  std::vector<std::uint8_t*> pointers;  // one per slot, then the scratch area
  Interpreter* interpreter = nullptr;
  mutable Status status;
};

struct Kernel {
  std::function<void(const Frame&)> run = {};
  std::size_t scratch_bytes = 0;
  std::string_view name = "eval";  // shown by `bench --profile`
  SlotNumber alias_of = no_slot;   // the single output is this operand's memory, unchanged; run stays empty
};

// What is still to be done to a kernel's result elements, in place, while they are in the cache: elementwise ops that
// follow, and rounding. A kernel that takes it calls it for every range of elements it has made, in the order they lie
// in memory.
struct VectorProgram;
struct Finish {
  std::shared_ptr<const VectorProgram> program;
  std::vector<SlotNumber> sources;
  SlotNumber result = no_slot;
  explicit operator bool() const { return program != nullptr; }
  void operator()(const Frame& f, std::size_t begin, std::size_t count) const;
};

// Which order in memory a kernel's operands and results of rank 3 to 5 have (see layout.h).
enum class Layouts : std::uint8_t {
  row_major,
  channels_last,  // the first operand field and the results
  either,         // as the operands of the first field come; all of them and the results alike
};

class Constants;
class PlanContext;
struct KernelTraits {
  bool finishes = false;  // calls PlanContext::finish; has one result, which is floating
  // Large constants come without their tensors; see PlanContext::constant.
  bool constants_on_demand = false;
  // Fields (as bits) whose operands may be halves where they lie, of states or large inputs: see PlanContext::is_half.
  std::uint32_t takes_halves = 0;
  Layouts layouts = Layouts::row_major;
};
struct KernelRule {
  const OpDef* op;
  Kernel (*plan)(PlanContext&);
  KernelTraits traits;
};

// What a plan function may ask.
class PlanContext {
 public:
  const Node& node;
  Rounding rounding;
  Target opset;
  std::vector<std::vector<Operand>> operands;    // concrete types; constants have tensors
  std::vector<std::vector<SlotNumber>> sources;  // slots, parallel to operands
  std::vector<Type> result_types;
  std::vector<SlotNumber> results;
  Finish finish = {};          // for rules that say so; then `rounds` is its business
  bool channels_last = false;  // how operands of the first field and results lie
  bool accumulate_half = false;

  // The slot of an operand of the node; a constant's slot holds its stored form.
  SlotNumber source(const InputField& field) const { return slot_of(field); }
  // Whether an operand is the same in every run; and its elements, decoded now if they are large. Null on failure,
  // which the planner finds.
  bool is_constant(const InputField& field) const { return field.known() || Value(field).is_weight(); }
  const Tensor* constant(const InputField& field) const;
  // Whether a slot holds halves, not floats.
  bool is_half(SlotNumber slot) const { return half_slots && half_slots->count(slot); }
  SlotNumber result(std::size_t i = 0) const { return results[i]; }
  Sizes result_sizes(std::size_t i = 0) const { return known_sizes(result_types[i].shape); }
  // Whether results of this dtype are rounded to fp16's values after this op.
  bool rounds(std::size_t i = 0) const { return result_types[i].dtype == DType::fp16; }
  // Constants prepared once per model and shared between plans: `make` is called for a new key only.
  std::shared_ptr<const void> shared(const std::string& key, const std::function<std::shared_ptr<const void>()>& make);
  std::map<std::string, std::shared_ptr<const void>>* cache = nullptr;
  Constants* constants = nullptr;
  const std::set<SlotNumber>* half_slots = nullptr;
  std::vector<SlotNumber>* asked = nullptr;  // slots that source() was asked for

 private:
  SlotNumber slot_of(Value value) const;
};

template <class Op, Kernel (*Plan)(const Op&, PlanContext&)>
KernelRule kernel(KernelTraits traits = {}) {
  return {&def<Op>(),
          [](PlanContext& at) { return Plan(detail::view_of<Op>(*at.node.op, at.node.attributes, at.operands), at); },
          traits};
}

// The rule for an op, or null. The chapters are listed in kernels/kernels.cpp.
const KernelRule* find_kernel(const OpDef* op);
// Runs the op's reference.
Kernel eval_kernel(PlanContext& at);

}  // namespace pomona::cpu
