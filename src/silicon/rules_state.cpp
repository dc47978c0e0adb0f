#include "ir/op.h"
#include "silicon/rule.h"

namespace pomona::silicon {
namespace {

bool touches_state(const RuleAt& at) { return at.is_any_of({"read_state", "write_state"}); }

std::size_t state_count(const RuleAt& at) {
  const Block& body = at.node.block()->function().body;
  std::size_t count = 0;
  for (std::size_t i = 0; i < body.input_count(); ++i) count += body.input(i).type().kind == Type::Kind::state;
  return count;
}

// read_state -> slice_update -> write_state, which the Neural Engine's compiler looks for.
bool stands_alone(const RuleAt& at) {
  if (at.op() != "slice_update") return false;
  Value x = at.operand("x");
  Node* producer = x ? x.producer() : nullptr;
  if (!producer || producer->op->name != "read_state") return true;
  for (Node* user : at.node.output().users())
    if (user->op && user->op->name == "write_state") return false;
  return true;
}

// A cache whose oldest part is cut off and the newest joined on: concat of a slice of what came in, on its way out.
bool shifts_cache(const RuleAt& at) {
  if (at.op() != "concat") return false;
  bool kept = false;
  for (const Node* user : at.node.output().users()) kept |= !user->op || user->op->name == "write_state";
  if (!kept) return false;
  for (Value part : at.node.inputs()) {
    const Node* slice = part.producer();
    if (!slice || !slice->op || slice->op->name != "slice_by_index") continue;
    Value cut = slice->input("x");
    bool came_in = cut && (!cut.producer() || cut.producer()->op->name == "read_state");
    if (came_in && cut.rank() == at.node.output().rank() && cut.shape() == at.node.output().shape()) return true;
  }
  return false;
}

const PlacementRule table[] = {
    {"ane.shifted_cache", Engine::ane, Verdict::unlikely, 'C',
     "a cache that is cut and joined anew is refused (status -14); one that is overwritten in a ring, under a mask, works",
     "write new rows over old ones, or give them as outputs: --cache io", "CoreML-LLM", shifts_cache},
    {"ane.state.inputs", Engine::ane, Verdict::prefers, 'A',
     "the Neural Engine prefers caches as inputs, with new keys and values as outputs", "convert with --cache io",
     "Apple, coreai-models neural_engine_rules.md", touches_state},
    {"ane.state.slice", Engine::ane, Verdict::cannot, 'C',
     "slice_update outside the chain read_state, slice_update, write_state is refused ('Cannot support standalone "
     "slice_update')",
     "give the cache as inputs and outputs: --cache io", "community notes around ANEMLL", stands_alone},
    {"ane.state.many", Engine::ane, Verdict::unlikely, 'C',
     "more than one state fails on the Neural Engine (status 0x1d)",
     "stack the caches in one state, or give them as inputs and outputs: --cache io", "CoreML-LLM",
     [](const RuleAt& at) { return touches_state(at) && state_count(at) > 1; }},
    {"ane.state.size", Engine::ane, Verdict::unlikely, 'B',
     "a state's sizes are multiples of 32 (270 fails, 256 works)", "round the context up", "coremltools issue 2631",
     [](const RuleAt& at) {
       if (!touches_state(at)) return false;
       const Shape& shape = at.node.inputs()[0].shape();
       return !shape.empty() && shape.back().known() && shape.back().value() % 32 != 0;
     }},
};

}  // namespace

std::span<const PlacementRule> state_rules() { return table; }

}  // namespace pomona::silicon
