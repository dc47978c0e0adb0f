#include "rewrite/chain.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

#include "ir/border.h"
#include "ir/walk.h"
#include "rewrite/chain_copy.h"
#include "rewrite/chain_places.h"

namespace pomona::rewrite {
namespace {

constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();
// How much larger the largest part may be for the sake of narrow places.
constexpr double nearly_as_even = 1.25;

// A place in all functions at once.
struct Cut {
  std::vector<std::size_t> at;  // per function
  std::uint64_t width = 0;
};
struct Choice {
  std::vector<Cut> cuts;
  std::uint64_t largest = 0;  // bytes of the largest part
};

// Whether all large weights that nodes [0, end) take are tables that rows are gathered from.
bool only_looks_up(const FunctionLine& line, std::size_t end) {
  for (std::size_t i = 0; i < end; ++i)
    if (!line.nodes()[i]->op->name.starts_with("gather") && !line.weights(i, i + 1).empty()) return false;
  return true;
}

class Cutter {
 public:
  Cutter(const Program& program, const ChainLimits& limits) : program_(program), limits_(limits) {
    for (const auto& function : program.functions) lines_.emplace_back(*function);
  }

  Result<Chain> run() {
    find_cuts();
    std::vector<Cut> first;
    if (limits_.embedding_apart) first.push_back(POM_TRY(cut_embedding_off()));
    auto make_behind_first = [&](const std::vector<Cut>& cuts) {
      std::vector<Cut> all = first;
      all.insert(all.end(), cuts.begin(), cuts.end());
      return make(all);
    };
    // The narrowest places with which the parts are about as even, or as few, as with all.
    Choice best = POM_TRY(choose(cuts_));
    std::set<std::uint64_t> widths;
    for (const Cut& cut : cuts_) widths.insert(cut.width);
    for (std::uint64_t width : widths) {
      std::vector<Cut> narrow = cuts_;
      std::erase_if(narrow, [&](const Cut& cut) { return cut.width > width; });
      auto chosen = choose(narrow);
      if (!chosen || chosen->cuts.size() > best.cuts.size()) continue;
      if (limits_.parts && double(chosen->largest) > nearly_as_even * double(best.largest)) continue;
      return make_behind_first(chosen->cuts);
    }
    return make_behind_first(best.cuts);
  }

 private:
  // The places that every function has.
  void find_cuts() {
    std::vector<std::map<std::string, FunctionLine::Place>> places;
    for (const FunctionLine& line : lines_) places.push_back(line.places());
    for (const auto& [key, first] : places.at(0)) {
      Cut cut;
      for (const auto& each : places) {
        auto at = each.find(key);
        if (at == each.end()) break;
        cut.at.push_back(at->second.at);
        cut.width += at->second.width;
      }
      if (cut.at.size() == lines_.size()) cuts_.push_back(std::move(cut));
    }
    std::sort(cuts_.begin(), cuts_.end(), [](const Cut& a, const Cut& b) { return a.at < b.at; });
    // A place behind the last weight makes no part smaller.
    while (!cuts_.empty() && lines_[0].weights(cuts_.back().at[0], lines_[0].nodes().size()).empty()) cuts_.pop_back();
  }

  // The last place up to which weights are only looked up in; the other cuts are chosen behind it.
  Result<Cut> cut_embedding_off() {
    std::size_t count = 0;
    while (count < cuts_.size() && only_looks_up(lines_[0], cuts_[count].at[0])) ++count;
    POM_REQUIRE(count, "the model does not begin with an embedding that it could be cut behind");
    Cut embedding = cuts_[count - 1];
    cuts_.erase(cuts_.begin(), cuts_.begin() + std::ptrdiff_t(count));
    begin_ = embedding.at[0];
    if (limits_.parts)
      --limits_.parts;
    else if (!limits_.most_bytes)
      limits_.parts = 1;
    return embedding;
  }

  // sizes[i][j]: bytes of weights between the ends i and j > i, which are the cuts and the two ends of what is cut.
  std::vector<std::vector<std::uint64_t>> sizes_between(const std::vector<Cut>& cuts) const {
    std::vector<std::size_t> ends{begin_};
    for (const Cut& cut : cuts) ends.push_back(cut.at[0]);
    ends.push_back(lines_[0].nodes().size());
    std::vector<std::map<std::string, std::uint64_t>> pieces;
    for (std::size_t i = 0; i + 1 < ends.size(); ++i) pieces.push_back(lines_[0].weights(ends[i], ends[i + 1]));
    std::vector<std::vector<std::uint64_t>> sizes(ends.size(), std::vector<std::uint64_t>(ends.size(), 0));
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      std::map<std::string, std::uint64_t> all;
      std::uint64_t sum = 0;
      for (std::size_t j = i; j < pieces.size(); ++j) {
        for (const auto& [identity, bytes] : pieces[j])
          if (all.emplace(identity, bytes).second) sum += bytes;
        sizes[i][j + 1] = sum;
      }
    }
    return sizes;
  }

  // The cuts that make the largest part as small as can be: of so many parts as are asked for, or of as few as fit.
  Result<Choice> choose(const std::vector<Cut>& cuts) const {
    auto sizes = sizes_between(cuts);
    std::size_t ends = sizes.size(), most = limits_.parts ? limits_.parts : ends - 1;
    POM_REQUIRE(most <= ends - 1, "the model can be cut into at most {} parts, not {}", ends - 1, most);
    // best[k][j]: the largest of k + 1 parts up to the end j, at its least; from[k][j]: where the last of them begins.
    std::vector<std::vector<std::uint64_t>> best{sizes[0]};
    std::vector<std::vector<std::size_t>> from{std::vector<std::size_t>(ends, 0)};
    auto done = [&] {
      bool enough = limits_.parts ? best.size() == limits_.parts : true;
      return enough && (!limits_.most_bytes || best.back()[ends - 1] <= limits_.most_bytes);
    };
    while (!done() && best.size() < most) {
      auto& now = best.emplace_back(ends, no_limit);
      auto& begins = from.emplace_back(ends, 0);
      const auto& before = best[best.size() - 2];
      for (std::size_t j = best.size(); j < ends; ++j)
        for (std::size_t i = best.size() - 1; i < j; ++i)
          if (std::uint64_t largest = std::max(before[i], sizes[i][j]); largest < now[j])
            now[j] = largest, begins[j] = i;
    }
    POM_REQUIRE(done(), "of {} parts the largest still has {} bytes of weights, and {} are allowed", best.size(),
                best.back()[ends - 1], limits_.most_bytes);
    Choice choice{{}, best.back()[ends - 1]};
    for (std::size_t k = best.size() - 1, j = ends - 1; k > 0; --k) {
      j = from[k][j];
      choice.cuts.push_back(cuts[j - 1]);
    }
    std::reverse(choice.cuts.begin(), choice.cuts.end());
    return choice;
  }

  Result<Chain> make(const std::vector<Cut>& cuts) {
    for (const FunctionLine& line : lines_)
      for (Value result : line.function().body.results())
        POM_REQUIRE(result.producer() && !result.is_weight(), "output '{}' of function '{}' is an input or a constant",
                    result.name(), line.function().name);
    Chain chain;
    chain.default_function = program_.default_function;
    for (const auto& function : program_.functions) {
      auto names = [](const std::vector<Feature>& features) {
        std::vector<std::string> all;
        for (const Feature& feature : features) all.push_back(feature.name);
        return all;
      };
      chain.borders.push_back(
          {function->name, names(function->inputs), names(function->outputs), names(function->states)});
    }
    for (std::size_t i = 0; i <= cuts.size(); ++i) {
      Program& part = chain.parts.emplace_back();
      part.default_function = program_.default_function;
      std::map<std::string, std::uint64_t> weights;
      for (std::size_t f = 0; f < lines_.size(); ++f) {
        std::size_t begin = i ? cuts[i - 1].at[f] : 0, end = i < cuts.size() ? cuts[i].at[f] : lines_[f].nodes().size();
        const Function& from = lines_[f].function();
        POM_TRY_IN(copy_part(lines_[f], begin, end, part.add_function(from.name, from.opset)), "function '{}'",
                   from.name);
        weights.merge(lines_[f].weights(begin, end));
      }
      std::uint64_t bytes = 0;
      for (const auto& [identity, size] : weights) bytes += size;
      chain.weight_bytes.push_back(bytes);
    }
    return chain;
  }

  // Nodes [begin, end) as a function of their own.
  static Status copy_part(const FunctionLine& line, std::size_t begin, std::size_t end, Function& to) {
    const Function& from = line.function();
    std::set<const Node*> own(line.nodes().begin() + std::ptrdiff_t(begin), line.nodes().begin() + std::ptrdiff_t(end));
    Values outputs = line.passing(end), given = begin ? line.passing(begin) : Values();
    std::erase_if(outputs, [&](Value v) { return !own.count(v.producer()); });
    std::set<const Node*> wanted = wanted_nodes(line, own);
    NodeCopier copy(to.body);
    POM_TRY(add_inputs(line, wanted, given, to, copy));
    for (const Node* node : line.nodes())
      if (wanted.count(node)) POM_TRY(copy.node(*node));
    Values results;
    for (Value result : from.body.results()) {
      if (!own.count(result.producer())) continue;
      results.push_back(copy[result]);
      for (const Feature& feature : from.outputs)
        if (feature.name == result.name()) to.outputs.push_back(feature);
    }
    for (Value value : outputs) {
      if (std::find(results.begin(), results.end(), copy[value]) != results.end()) continue;
      results.push_back(copy[value]);
      to.outputs.push_back(feature_of(copy[value]));
    }
    to.body.set_results(results);
    return {};
  }

  // The part's own nodes and what they need of that which each part computes; of its own such nodes those only that
  // are needed, or give a result.
  static std::set<const Node*> wanted_nodes(const FunctionLine& line, const std::set<const Node*>& own) {
    std::set<const Node*> wanted;
    Values open;
    auto want = [&](const Node* node) {
      if (!wanted.insert(node).second) return;
      for (Value value : operands_of_all(*node)) open.push_back(value);
    };
    for (const Node* node : own)
      if (node->output_count() == 0 || !line.is_light(node->output())) want(node);
    for (Value result : line.function().body.results())
      if (own.count(result.producer())) want(result.producer());
    while (!open.empty()) {
      Value value = open.back();
      open.pop_back();
      if (line.is_light(value)) want(value.producer());
    }
    return wanted;
  }

  // Inputs and states of the whole that the part uses, then what is passed to it.
  static Status add_inputs(const FunctionLine& line, const std::set<const Node*>& wanted, const Values& given,
                           Function& to, NodeCopier& copy) {
    const Function& from = line.function();
    std::set<Value> used;
    for (const Node* node : wanted)
      for (Value value : operands_of_all(*node)) used.insert(value);
    for (std::size_t i = 0; i < from.body.input_count(); ++i) {
      Value input = from.body.input(i);
      if (!used.count(input)) continue;
      copy.set(input, to.body.add_input(input.name(), input.type()));
      for (const Feature& feature : is_state(input) ? from.states : from.inputs)
        if (feature.name == input.name()) (is_state(input) ? to.states : to.inputs).push_back(feature);
    }
    for (Value value : given) {
      if (!used.count(value)) continue;
      copy.set(value, to.body.add_input(value.name(), value.type()));
      to.inputs.push_back(POM_TRY(passed_feature(value, from)));
    }
    return {};
  }
  // Open sizes are bounded as those of the inputs that have them.
  static Result<Feature> passed_feature(Value value, const Function& from) {
    Feature feature = feature_of(value);
    if (feature.has_shape) return feature;
    feature.has_shape = true;
    for (const Dim& d : value.shape()) {
      Feature::Range range{d.known() ? d.value() : 1, d.known() ? d.value() : 1};
      for (const Feature& input : from.inputs) {
        Value own = from.body.input(input.name);
        for (std::size_t axis = 0; !d.known() && own && axis < input.ranges.size(); ++axis)
          if (own.shape()[axis] == d) range = input.ranges[axis];
      }
      POM_REQUIRE(d.known() || range.upper != 1, "the size '{}' of '{}' has no bounds", d.text(), value.name());
      feature.shape.push_back(range.lower);
      feature.ranges.push_back(range);
    }
    return feature;
  }

  const Program& program_;
  ChainLimits limits_;
  std::vector<FunctionLine> lines_;
  std::vector<Cut> cuts_;
  std::size_t begin_ = 0;  // node of the first function behind which cuts are chosen
};

// A function of the whole, out of those of the parts.
class Joiner {
 public:
  Joiner(const Chain& chain, const ChainBorder& border, Function& to) : chain_(chain), border_(border), to_(to) {}

  Status run() {
    for (const std::string& name : border_.inputs) POM_TRY(add_input(name, &Function::inputs, to_.inputs));
    for (const std::string& name : border_.states) POM_TRY(add_input(name, &Function::states, to_.states));
    for (std::size_t i = 0; i < chain_.parts.size(); ++i) POM_TRY_IN(add_part(i), "part {}", i);
    Values results;
    for (const std::string& name : border_.outputs) {
      POM_REQUIRE(made_.count(name), "no part gives the output '{}'", name);
      results.push_back(made_[name]);
    }
    to_.body.set_results(results);
    return {};
  }

 private:
  const Function* part(std::size_t i) const { return chain_.parts[i].function(border_.function); }
  Status add_input(const std::string& name, std::vector<Feature> Function::* kind, std::vector<Feature>& features) {
    for (std::size_t i = 0; i < chain_.parts.size(); ++i) {
      const Function* from = part(i);
      Value value = from ? from->body.input(name) : Value();
      if (!value) continue;
      made_[name] = to_.body.add_input(name, value.type());
      for (const Feature& feature : from->*kind)
        if (feature.name == name) features.push_back(feature);
      return {};
    }
    return fail("no part takes the input '{}'", name);
  }
  Status add_part(std::size_t i) {
    const Function* from = part(i);
    POM_REQUIRE(from, "it has no function '{}'", border_.function);
    NodeCopier copy(to_.body);
    for (std::size_t k = 0; k < from->body.input_count(); ++k) {
      Value input = from->body.input(k);
      auto at = made_.find(input.name());
      POM_REQUIRE(at != made_.end(), "it takes '{}', which no part before it gives", input.name());
      POM_REQUIRE(at->second.dtype() == input.dtype() && at->second.rank() == input.rank(),
                  "it takes '{}' as {}, but is given {}", input.name(), input.type().text(), at->second.type().text());
      copy.set(input, at->second);
    }
    for (const auto& node : from->body.nodes())
      if (!node->op->structural && !node->op->constexpr_op) POM_TRY(copy.node(*node));
    for (Value result : from->body.results()) {
      made_[result.name()] = copy[result];
      for (const Feature& feature : from->outputs)
        if (feature.name == result.name() && std::count(border_.outputs.begin(), border_.outputs.end(), feature.name))
          to_.outputs.push_back(feature);
    }
    return {};
  }

  const Chain& chain_;
  const ChainBorder& border_;
  Function& to_;
  std::map<std::string, Value> made_;
};

}  // namespace

Result<Chain> cut_into_chain(const Program& program, const ChainLimits& limits) {
  POM_REQUIRE(!program.functions.empty(), "the program has no functions");
  return Cutter(program, limits).run();
}

Result<Program> join_chain(const Chain& chain) {
  Program whole;
  whole.default_function = chain.default_function;
  for (const ChainBorder& border : chain.borders) {
    POM_REQUIRE(!chain.parts.empty() && !chain.parts[0].functions.empty(), "the chain has no parts");
    Function& to = whole.add_function(border.function, chain.parts[0].functions[0]->opset);
    POM_TRY_IN(Joiner(chain, border, to).run(), "function '{}'", border.function);
    std::sort(to.outputs.begin(), to.outputs.end(), [&](const Feature& a, const Feature& b) {
      auto place = [&](const Feature& f) { return std::find(border.outputs.begin(), border.outputs.end(), f.name); };
      return place(a) < place(b);
    });
  }
  return whole;
}

}  // namespace pomona::rewrite
