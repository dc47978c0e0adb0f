#include "silicon/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <span>

#include "base/half.h"
#include "ir/op.h"
#include "ir/walk.h"
#include "silicon/known_bad.h"
#include "silicon/placement.h"
#include "silicon/rule.h"

namespace pomona::silicon {
namespace {

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
      for (std::size_t back = 1; back <= std::min<std::size_t>(2, input.rank()); ++back) {
        const Dim& size = input.shape()[input.rank() - back];
        if (!size.known() || size.value() % 32 == 0 || size.value() == 1) continue;
        found.push_back({"state.size", Weightiness::warning, "state '" + input.name() + "'",
                         fmt::format("its {}last size is {}, no multiple of 32: the Neural Engine's compiler may fail "
                                     "(-14)",
                                     back == 1 ? "" : "second to ", size.value()),
                         "round it up", "coremltools issue 2631", 'B'});
      }
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

// Whether any element is so. Weights are scanned as they are mapped, by pieces without a branch in the loop, so that it
// is done in vectors.
template <class Element, class Test>
bool any_of_many(std::span<const Element> elements, Test test) {
  constexpr std::size_t piece = 4096;
  for (std::size_t begin = 0; begin < elements.size(); begin += piece) {
    bool found = false;
    for (Element x : elements.subspan(begin, std::min(piece, elements.size() - begin))) found |= test(x);
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

// -inf, or below what fp16 holds.
bool holds_mask_values(const Tensor& tensor) {
  if (tensor.dtype() == DType::fp16)
    return any_of_many(tensor.view<std::uint16_t>(), [](std::uint16_t bits) { return bits == 0xfc00; });
  if (tensor.dtype() == DType::fp32)
    return any_of_many(tensor.view<float>(), [](float x) { return x < -float(largest_half); });
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
      if (feature.enumerated.size() > 1)
        found.push_back({"shapes.enumerated", Weightiness::note, place,
                         fmt::format("has {} enumerated shapes: given in changing order they were seen at 2 % on the "
                                     "Neural Engine",
                                     feature.enumerated.size()),
                         "keep to one shape for many calls, or make a function for each", "coremltools issue 2370",
                         'B'});
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

// What programs take and give lies in memory with its last axis in steps of 64 bytes.
void alignment(const CheckAt& at, std::vector<Concern>& found) {
  constexpr std::int64_t step = 64, worth_saying = 4096;
  auto look = [&](Value value, std::string_view what) {
    if (value.type().kind != Type::Kind::tensor || value.rank() < 3 || !all_known(value.shape())) return;
    std::int64_t width = std::max<std::int64_t>(1, info(value.dtype()).bits / 8), last = value.shape().back().value();
    if (last * width % step == 0 || element_count(known_sizes(value.shape())) < worth_saying) return;
    std::int64_t padded = (last * width + step - 1) / step * step;
    double times = double(padded) / double(last * width);
    found.push_back({"alignment", times >= 2 ? Weightiness::warning : Weightiness::note,
                     fmt::format("{} '{}'", what, value.name()),
                     fmt::format("has a last axis of {}: on the Neural Engine each row is padded to 64 bytes, {:.3g} "
                                 "times the memory",
                                 last, times),
                     "put the longest axis last, or make it a multiple of 32 elements",
                     "Apple, coreai-models neural_engine_rules.md"});
  };
  for (const auto& function : at.program.functions) {
    for (std::size_t i = 0; i < function->body.input_count(); ++i) look(function->body.input(i), "input");
    for (Value result : function->body.results()) look(result, "output");
  }
}

// Compiling for the engine takes long, or fails, with very many ops; and only some of it may be for the engine at all.
void first_load(const CheckAt& at, std::vector<Concern>& found) {
  constexpr std::size_t many = 5000;
  for (const auto& function : at.program.functions) {
    std::size_t ops = 0;
    each_node(function->body, [&](const Node& node) { ops += !node.literal && node.op && !node.op->constexpr_op; });
    if (ops > many)
      found.push_back({"first_load", Weightiness::warning, "function " + function->name,
                       fmt::format("{} operations: the first load compiles for the Neural Engine, which takes minutes "
                                   "for thousands of them",
                                   ops),
                       "split the model (pomona split)", "whisper.cpp issues 937 and 2126; coremltools issue 1814",
                       'B'});
  }
}

void off_the_engine(const CheckAt& at, std::vector<Concern>& found) {
  // Concerns of their own are left to these.
  constexpr std::string_view elsewhere[] = {"ane.fp32",        "ane.flexible", "ane.axis",       "ane.per_block",
                                            "ane.gather.rows", "any.rank",     "ane.state.many", "ane.state.size"};
  for (const auto& function : at.program.functions) {
    PlaceOptions options;
    options.chip = &at.chip;
    options.system = at.target;
    auto placement = place(*function, options);
    if (!placement) continue;
    std::map<const PlacementRule*, Tally> tallies;
    std::size_t all = placement->counted();
    for (const OpPlacement& op : placement->ops)
      for (const PlacementRule* rule : op.rules)
        if (!op.free && rule->engine == Engine::ane && !runs(rule->verdict) &&
            std::find(std::begin(elsewhere), std::end(elsewhere), rule->id) == std::end(elsewhere))
          tallies[rule].add(*op.node);
    for (const PlacementRule& rule : placement_rules())
      if (auto hit = tallies.find(&rule); hit != tallies.end())
        found.push_back(
            {rule.id, Weightiness::note, hit->second.place(),
             fmt::format("{} of {} operations leave the Neural Engine: {}", hit->second.count, all, rule.why),
             rule.mend.empty() ? "see what it costs with `pomona plan`" : mend_text(rule),
             std::string_view(rule.source), rule.confidence});
  }
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
    {"schemes", "no scheme is known to fail on a system", known_bad_schemes},
    {"axes", "no axis is longer than the Neural Engine takes", wide_axes},
    {"precision", "operations compute in fp16", single_precision},
    {"alignment", "rows of inputs and outputs fill 64 bytes", alignment},
    {"first_load", "the Neural Engine's compiler can be expected to end", first_load},
    {"engine", "operations stay on the Neural Engine", off_the_engine},
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
