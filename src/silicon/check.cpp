#include "silicon/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <span>

#include "ir/op.h"
#include "ir/walk.h"
#include "silicon/rule.h"

namespace pomona::silicon {
namespace {

// One line for all ops of a kind: the first, and how many.
struct Tally {
  std::size_t count = 0;
  std::string first;
  void add(const Node& node) {
    if (!count++) first = node.label();
  }
  std::string place() const { return count > 1 ? fmt::format("{} and {} more", first, count - 1) : first; }
};

void opset(const CheckAt& at, std::vector<Concern>& found) {
  std::map<Target, Tally> newer;
  each_node(at.program, [&](const Node& node) {
    if (node.literal || !node.op) return;
    if (Target oldest = oldest_target(node); oldest > at.target) newer[oldest].add(node);
  });
  for (const auto& [target, tally] : newer)
    found.push_back({"opset", Weightiness::failure, tally.place(),
                     fmt::format("needs {}, and the program shall run on {}", name(target), name(at.target)),
                     "convert again with --target, or compress with a scheme that the target has",
                     "coremltools program.py"});
  for (const auto& function : at.program.functions)
    if (function->opset > at.target && newer.empty())
      found.push_back({"opset", Weightiness::failure, "function " + function->name,
                       fmt::format("is written for {}; {} refuses it", name(function->opset), name(at.target)),
                       "convert it with --target " + std::string(name(at.target)), "executorch troubleshooting"});
}

void rank(const CheckAt& at, std::vector<Concern>& found) {
  Tally tally;
  each_node(at.program, [&](const Node& node) {
    bool decodes = node.op && node.op->constexpr_op;
    for (std::size_t i = 0; !node.literal && !decodes && i < node.output_count(); ++i)
      if (node.output(i).rank() > 5) tally.add(node);
  });
  if (tally.count)
    found.push_back({"rank", Weightiness::failure, tally.place(), "has a result of rank above 5", "merge axes",
                     "coremltools program.py"});
}

void states(const CheckAt& at, std::vector<Concern>& found) {
  for (const auto& function : at.program.functions) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < function->body.input_count(); ++i) {
      Value input = function->body.input(i);
      if (input.type().kind != Type::Kind::state) continue;
      ++count;
      if (input.rank() && input.shape().back().known() && input.shape().back().value() % 32)
        found.push_back(
            {"state.size", Weightiness::warning, "state '" + input.name() + "'",
             fmt::format("its last size is {}, no multiple of 32: the Neural Engine's compiler may fail (-14)",
                         input.shape().back().value()),
             "round it up", "coremltools issue 2631", 'B'});
    }
    if (count > 1)
      found.push_back({"state.count", Weightiness::note, "function " + function->name,
                       fmt::format("{} states: more than one is reported to fail on the Neural Engine (0x1d)", count),
                       "stack them, or use --cache io for the Neural Engine", "CoreML-LLM", 'C'});
  }
}

void tables(const CheckAt& at, std::vector<Concern>& found) {
  Tally tally;
  std::int64_t rows = 0;
  each_node(at.program, [&](const Node& node) {
    if (!node.op || node.op->name != "gather") return;
    Value x = node.input("x");
    if (!x || !x.rank() || !x.shape()[0].known() || x.shape()[0].value() <= 65535) return;
    rows = x.shape()[0].value();
    tally.add(node);
  });
  if (tally.count)
    found.push_back({"gather.rows", Weightiness::warning, tally.place(),
                     fmt::format("looks up a table of {} rows; indices on the Neural Engine are 16 bits", rows),
                     "keep the embedding outside the program for the Neural Engine",
                     "executorch pull requests 7616 and 6777", 'B'});
}

// Whether an element is -inf or below `least`, by the bits of floats alone: weights are scanned as they are mapped.
template <class Float>
bool any_below(std::span<const Float> elements, Float least) {
  constexpr std::size_t piece = 4096;
  for (std::size_t begin = 0; begin < elements.size(); begin += piece) {
    bool below = false;  // without a branch in the loop, so that it is done in vectors
    for (Float x : elements.subspan(begin, std::min(piece, elements.size() - begin))) below |= x < least;
    if (below) return true;
  }
  return false;
}

// As any_below of fp16: negative numbers grow with their bits, and 0xfc00 is -inf.
bool any_minus_infinity(std::span<const std::uint16_t> halves) {
  constexpr std::size_t piece = 4096;
  for (std::size_t begin = 0; begin < halves.size(); begin += piece) {
    bool found = false;
    for (std::uint16_t bits : halves.subspan(begin, std::min(piece, halves.size() - begin))) found |= bits == 0xfc00;
    if (found) return true;
  }
  return false;
}

// Weights that ops multiply by are no masks, whatever they hold.
bool may_be_mask(const Node& node) {
  for (const Node* user : node.output().users()) {
    if (!user->op || user->op->constexpr_op) continue;
    std::string_view op = user->op->name;
    if (op != "linear" && op != "conv" && op != "gather" && op != "lstm" && op != "gru" && op != "batch_norm")
      return true;
  }
  return false;
}

bool holds_mask_values(const Tensor& tensor) {
  if (tensor.dtype() == DType::fp16) return any_minus_infinity(tensor.view<std::uint16_t>());
  if (tensor.dtype() == DType::fp32) return any_below<float>(tensor.view<float>(), -65504);
  return false;
}

void masks(const CheckAt& at, std::vector<Concern>& found) {
  Tally tally;
  each_node(at.program, [&](const Node& node) {
    if (!node.literal || !is_float(node.literal.dtype()) || !may_be_mask(node)) return;
    auto tensor = node.literal.materialise();
    if (tensor && holds_mask_values(*tensor)) tally.add(node);
  });
  if (tally.count)
    found.push_back(
        {"mask", Weightiness::warning, tally.place(),
         "holds -inf, or less than fp16 can hold: attention masks of that kind give NaN on the Neural Engine",
         "use -40000 or -1e4", "Apple, coreai-models common_issues.md; coremltools pull request 2669"});
}

void weight_file(const CheckAt& at, std::vector<Concern>& found) {
  std::uint64_t total = weight_file_bytes(at.program);
  double gb = double(total) / 1e9;
  if (total > (std::uint64_t(1) << 31))
    found.push_back({"weights.size", Weightiness::failure, "",
                     fmt::format("{:.2f} GB of weights: the Neural Engine refuses a file of more than 2 GiB", gb),
                     "split the model, or compress it", "coremltools pull request 2593", 'B'});
  else if (total > 1'000'000'000)
    found.push_back(
        {"weights.size", Weightiness::warning, "",
         fmt::format("{:.2f} GB of weights: an iPhone takes models of at most 1 GB on the Neural Engine", gb),
         "split the model, or compress it", "Apple, mlmodel-utilities"});
}

void blocks(const CheckAt& at, std::vector<Concern>& found) {
  Tally tally;
  each_node(at.program, [&](const Node& node) {
    if (node.op && scales_blocks(node)) tally.add(node);
  });
  if (tally.count)
    found.push_back({"weights.blocks", Weightiness::warning, tally.place(),
                     "is scaled per block: the Neural Engine takes one scale per channel or tensor",
                     "for the Neural Engine compress with --granularity per_channel, or with look-up tables",
                     "coremltools issue 2510; Apple, quantization performance", 'B'});
}

void shapes(const CheckAt& at, std::vector<Concern>& found) {
  for (const auto& function : at.program.functions) {
    std::size_t enumerated = 0;
    for (const Feature& feature : function->inputs) {
      enumerated += !feature.enumerated.empty();
      std::string place = "input '" + feature.name + "'";
      if (feature.enumerated.size() > 128)
        found.push_back({"shapes.count", Weightiness::failure, place,
                         fmt::format("{} enumerated shapes, and Core ML takes 128", feature.enumerated.size()),
                         "list fewer", "Apple, flexible inputs"});
      bool ranged = std::any_of(feature.ranges.begin(), feature.ranges.end(),
                                [](const Feature::Range& r) { return r.lower != r.upper; });
      bool open = std::any_of(feature.ranges.begin(), feature.ranges.end(),
                              [](const Feature::Range& r) { return r.upper < 0; });
      if (open)
        found.push_back({"shapes.open", Weightiness::failure, place, "has a size without an upper bound",
                         "convert with --dynamic and bounds", "Apple, flexible inputs"});
      if (ranged)
        found.push_back({"shapes.range", Weightiness::warning, place,
                         "has a range of sizes: such a program stays off the Neural Engine",
                         "fix the size with --input, or list the sizes with --enumerate",
                         "Apple, coreai-models neural_engine_rules.md"});
    }
    if (enumerated > 1 && at.target < Target::iOS18)
      found.push_back({"shapes.inputs", Weightiness::failure, "function " + function->name,
                       "several inputs with enumerated shapes need iOS18", "use --target iOS18",
                       "Apple, flexible inputs"});
  }
}

void schemes(const CheckAt& at, std::vector<Concern>& found) {
  Tally scaled, low_bits;
  each_node(at.program, [&](const Node& node) {
    if (!node.op || node.op->name != "constexpr_lut_to_dense" || !node.op->input_index("lut")) return;
    Value table = node.input("lut");
    if (table && table.producer() && table.producer()->op && table.producer()->op->constexpr_op) scaled.add(node);
    for (const Node* user : node.output().users())
      if (user->op && user->op->name == "constexpr_blockwise_shift_scale") scaled.add(node);
    if (info(node.input("indices").dtype()).bits <= 3) low_bits.add(node);
  });
  if (scaled.count && at.target >= Target::iOS18)
    found.push_back({"scheme.table_scale", Weightiness::warning, scaled.place(),
                     "has a look-up table with scales: on the GPU of macOS 26 such programs crash (mps.dequantize)",
                     "load with CPU and Neural Engine, or compress without per-channel scale",
                     "coremltools pull request 2688", 'B'});
  if (low_bits.count)
    found.push_back({"scheme.low_bits", Weightiness::note, low_bits.place(),
                     "has 3 bits or fewer per weight: without data language models give gibberish so",
                     "compress with --calibrate, and look at perplexity", "CoreML-LLM", 'C'});
}

void wide_axes(const CheckAt& at, std::vector<Concern>& found) {
  Tally tally;
  std::int64_t longest = 0;
  each_node(at.program, [&](const Node& node) {
    bool decodes = node.op && node.op->constexpr_op;
    if (node.literal || decodes || !node.op || node.op->name == "gather") return;
    for (std::size_t i = 0; i < node.output_count(); ++i)
      for (Dim size : node.output(i).shape())
        if (size.known() && size.value() > ane_axis_limit(at.chip)) {
          longest = std::max(longest, size.value());
          tally.add(node);
          return;
        }
  });
  if (tally.count)
    found.push_back(
        {"axis", Weightiness::warning, tally.place(),
         fmt::format("has an axis of {}; {}'s Neural Engine takes {}", longest, at.chip.name, ane_axis_limit(at.chip)),
         "split it (--split-head for a language model)", "ANEForge; onnxruntime issue 19543", 'B'});
}

void single_precision(const CheckAt& at, std::vector<Concern>& found) {
  Tally tally;
  std::size_t all = 0;
  each_node(at.program, [&](const Node& node) {
    if (node.literal || !node.op || node.op->constexpr_op || !node.output_count()) return;
    ++all;
    if (node.output().dtype() == DType::fp32 && node.op->name != "cast") tally.add(node);
  });
  if (tally.count)
    found.push_back(
        {"fp32", tally.count * 2 > all ? Weightiness::warning : Weightiness::note, tally.place(),
         fmt::format("{} of {} operations compute in fp32 and so not on the Neural Engine", tally.count, all),
         "convert with --precision fp16", "Apple, coreai-models neural_engine_rules.md"});
}

const Check table[] = {
    {"opset", "every operation exists on the oldest system", opset},
    {"rank", "no tensor has a rank above 5", rank},
    {"states", "states are as the Neural Engine takes them", states},
    {"gather", "tables fit 16-bit indices", tables},
    {"masks", "constants stay in what fp16 holds", masks},
    {"weights", "weight files stay below the limits", weight_file},
    {"blocks", "weight scales are per channel for the Neural Engine", blocks},
    {"shapes", "flexible shapes are ones that Core ML and the Neural Engine take", shapes},
    {"schemes", "no scheme is known to fail", schemes},
    {"axes", "no axis is longer than the Neural Engine takes", wide_axes},
    {"precision", "operations compute in fp16", single_precision},
};

}  // namespace

std::string_view name(Weightiness weight) {
  constexpr std::string_view names[] = {"note", "warning", "failure"};
  return names[std::size_t(weight)];
}

std::uint64_t weight_file_bytes(const Program& program) {
  std::set<std::string> seen;
  std::uint64_t total = 0;
  each_node(program, [&](const Node& node) {
    if (node.literal && node.literal.dtype() != DType::string && seen.insert(node.literal.identity()).second)
      total += node.literal.stored_size();
  });
  return total;
}

std::span<const Check> checks() { return table; }

std::vector<Concern> concerns_of(const CheckAt& at) {
  std::vector<Concern> found;
  for (const Check& check : table) check.run(at, found);
  std::stable_sort(found.begin(), found.end(), [](const Concern& a, const Concern& b) { return a.weight > b.weight; });
  return found;
}

}  // namespace pomona::silicon
