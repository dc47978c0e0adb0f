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

const PlacementRule table[] = {
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

const RuleNote notes[] = {
    {"no rank-0 result of a full reduction", "a matter of the format: the importer writes shape (1,)"},
    {"fp16 casting leaves ops whose constants overflow", "about converting; convert says which ops it left in fp32"},
    {"the order of table and scale before iOS26", "about writing the package; the writer follows it"},
    {"2- and 3-bit tables of language models are gibberish", "about quality, which compress and verify measure"},
    {"enumerated shapes in random order run slowly", "about how a program is called, not about an op"},
    {"masks of -inf", "known only from the data; doctor looks at constant masks"},
    {"sums of integers are exact to 2048", "known only from the data; verify measures it"},
    {"slices by more than 4094 on older engines", "one doubtful report of a clamp that depends on data"},
    {"silu, tanh and norms as they are best written", "the rewriter's forms; no verdict follows from them"},
    {"concat of x and -x before layer_norm", "a form the language models' builder chooses for --for ane"},
    {"rotary tables of rank 4", "covered by ane.gather_nd"},
    {"prefill in chunks of 64; embedding and head apart", "choices of the language models' builder"},
    {"shift-and-concat caches are rejected",
     "no builder of ours makes them; seen as slice and concat they are no pattern of one op"},
    {"119 compilations per process; dispatch floors", "constants of the cost model, or about the calling program"},
    {"PSNR that Apple asks for", "bars for verify, chosen by the user"},
    {"power of the engines", "not predicted"},
    {"files of 1 and 2 GB, 31 layers per program", "about the whole program; doctor and the plan's warnings"},
};

}  // namespace

std::span<const PlacementRule> state_rules() { return table; }
std::span<const RuleNote> rules_without_record() { return notes; }

}  // namespace pomona::silicon
