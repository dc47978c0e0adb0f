#include "silicon/known_bad.h"

#include <algorithm>

#include "ir/op.h"
#include "ir/walk.h"
#include "silicon/rule.h"

namespace pomona::silicon {
namespace {

struct KnownBad {
  std::string_view id;
  Weightiness weight;
  Target until;  // the last system on which it is reported
  std::string_view text, advice, source;
  char confidence;
  bool (*matches)(const Node& node, const Program& program);
};

bool is_table(const Node& node) { return node.op->name == "constexpr_lut_to_dense" && node.op->input_index("lut"); }
unsigned index_bits(const Node& node) { return info(node.input("indices").dtype()).bits; }

bool has_states(const Program& program) {
  for (const auto& function : program.functions)
    for (std::size_t i = 0; i < function->body.input_count(); ++i)
      if (function->body.input(i).type().kind == Type::Kind::state) return true;
  return false;
}

bool is_scaled_table(const Node& node, const Program&) {
  if (!is_table(node)) return false;
  Value table = node.input("lut");
  if (table && table.producer() && table.producer()->op && table.producer()->op->constexpr_op) return true;
  for (const Node* user : node.output().users())
    if (user->op && user->op->name == "constexpr_blockwise_shift_scale") return true;
  return false;
}

// A version that its maker noted: "9.0", "9.0b1".
bool made_by_coremltools_9_0(const Program& program) {
  for (const auto* notes : {&program.metadata.user, &program.build_info})
    for (const auto& [key, value] : *notes)
      if (key.find("coremltools") != key.npos && key.find("version") != key.npos && value.starts_with("9.0"))
        return true;
  return false;
}

const KnownBad table[] = {
    {"scheme.table_scale", Weightiness::warning, iOS26,
     "has a look-up table with scales: on the GPU of macOS 26 such programs crash (mps.dequantize)",
     "load with CPU and Neural Engine, or compress without per-channel scale", "coremltools pull request 2688", 'B',
     is_scaled_table},
    {"scheme.low_bits", Weightiness::note, iOS26,
     "has 3 bits or fewer per weight: without data language models give gibberish so",
     "compress with --calibrate, and look at perplexity", "CoreML-LLM", 'C',
     [](const Node& node, const Program&) { return is_table(node) && index_bits(node) <= 3; }},
    {"scheme.tables_of_9_0", Weightiness::warning, iOS26,
     "has 4-bit tables made by coremltools 9.0, of which one model came out wrong on CPU (cosine 0.03) and Neural Engine",
     "make it again from the source, and verify it", "coremltools issue 2716", 'B',
     [](const Node& node, const Program& program) {
       return is_table(node) && index_bits(node) == 4 && made_by_coremltools_9_0(program);
     }},
    {"scheme.tables_and_states", Weightiness::note, iOS26,
     "has look-up tables in a program with states, which one report saw crash after 100 to 200 predictions",
     "give caches as inputs and outputs (--cache io), or watch long runs", "coremltools issue 2716", 'C',
     [](const Node& node, const Program& program) { return is_table(node) && has_states(program); }},
    {"scheme.blocks_on_engine", Weightiness::note, iOS26,
     "is scaled per block: where the Neural Engine did take such weights, results were wrong (cosine 0.367; 0.999 on the "
     "GPU)",
     "verify on the device, or keep to GPU and CPU", "coreai-models issue 279", 'B',
     [](const Node& node, const Program&) { return scales_blocks(node); }},
    {"scheme.linear_old", Weightiness::note, iOS17,
     "is linearly quantised: results on GPU and Neural Engine of macOS 13 and 14 were reported to differ from the CPU's",
     "verify on the device, or use look-up tables", "coremltools issues 2114 and 2248", 'C',
     [](const Node& node, const Program&) { return node.op->name == "constexpr_affine_dequantize"; }},
    {"scheme.activations", Weightiness::note, iOS26,
     "has quantised activations: gains on the Neural Engine are reported from none to 1.9 times, from A17 Pro and M4 on, "
     "and one phone's compiler refused them",
     "measure on the device; elsewhere they slow CPU and GPU down",
     "maderix/ANE; CoreML-LLM; Apple, quantization performance", 'C',
     [](const Node& node, const Program&) { return node.op->name == "quantize"; }},
    {"scheme.attention_rank5", Weightiness::warning, iOS26,
     "is attention of rank 5, which lost accuracy on the Neural Engine of iOS 26",
     "convert with --for ane, which writes it out", "executorch issue 15833", 'B',
     [](const Node& node, const Program&) {
       return node.op->name == "scaled_dot_product_attention" && node.output().rank() >= 5;
     }},
};

}  // namespace

bool is_known_bad(std::string_view id) {
  return std::any_of(std::begin(table), std::end(table), [&](const KnownBad& bad) { return bad.id == id; });
}

void known_bad_schemes(const CheckAt& at, std::vector<Concern>& found) {
  for (const KnownBad& bad : table) {
    Tally tally;
    // A program for iOS16 runs on iOS26 as well: only what ends before the oldest system is over.
    if (bad.until < at.target) continue;
    each_node(at.program, [&](const Node& node) {
      if (node.op && !node.literal && bad.matches(node, at.program)) tally.add(node);
    });
    if (tally.count)
      found.push_back({bad.id, bad.weight, tally.place(), std::string(bad.text), std::string(bad.advice), bad.source,
                       bad.confidence});
  }
}

}  // namespace pomona::silicon
