#include "silicon/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "ir/op.h"
#include "ir/walk.h"
#include "silicon/cost.h"
#include "silicon/order.h"

namespace pomona::silicon {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();
// How much dearer the GPU and the CPU are made to look: Core ML prefers the Neural Engine to a somewhat faster GPU.
constexpr double preference[engine_count] = {0.12, 0.8, 1};

// Sizes for every dimension: what the plan asks for, else the default of the feature it comes from, else 64.
class SizesOf {
 public:
  SizesOf(const Function& function, const std::map<std::string, std::int64_t>& wanted) {
    for (std::size_t i = 0; i < function.body.input_count(); ++i) {
      Value input = function.body.input(i);
      const Feature* feature = nullptr;
      for (const Feature& each : function.inputs)
        if (each.name == input.name()) feature = &each;
      for (std::size_t axis = 0; axis < input.rank(); ++axis)
        for (const std::string& symbol : input.shape()[axis].symbols()) {
          bool stated = feature && feature->has_shape && axis < feature->shape.size();
          bindings_.emplace(symbol, stated ? feature->shape[axis] : 64);
        }
    }
    for (const auto& [name, size] : wanted) bindings_[name] = size;
  }
  Sizes operator()(const Type& type) const {
    Sizes sizes;
    for (const Dim& dim : type.shape) {
      auto size = dim.known() ? dim.value() : dim.at(bindings_).value_or(64);
      sizes.push_back(std::max<std::int64_t>(size, 0));
    }
    return sizes;
  }

 private:
  Dim::Bindings bindings_;
};

bool has_open_size(const Node& node) {
  auto open = [](Value v) { return v && !all_known(v.shape()); };
  for (Value input : node.inputs())
    if (open(input)) return true;
  for (std::size_t i = 0; i < node.output_count(); ++i)
    if (open(node.output(i))) return true;
  return false;
}

// Sizes are computed where the program is set up, not on an engine.
bool computes_sizes(const Node& node) {
  if (node.output_count() == 0) return false;
  for (std::size_t i = 0; i < node.output_count(); ++i) {
    const Type& type = node.output(i).type();
    bool small = type.rank() <= 1 && (type.rank() == 0 || (type.shape[0].known() && type.shape[0].value() <= 16));
    if (!small || is_float(type.dtype) || type.kind != Type::Kind::tensor) return false;
  }
  return true;
}

bool allowed(Engine engine, Units units) {
  if (engine == Engine::ane) return units == Units::all || units == Units::cpu_ne;
  if (engine == Engine::gpu) return units == Units::all || units == Units::cpu_gpu;
  return true;
}

class Placer {
 public:
  Placer(const Function& function, const PlaceOptions& options)
      : function_(function), options_(options), sizes_of_(function, options.sizes), costs_(options) {
    for (const Feature& feature : function.inputs) enumerated_ |= !feature.enumerated.empty();
  }

  Placement run() {
    judge(function_.body);
    if (options_.memory)
      placement_.memory = *options_.memory;
    else
      measure_memory();
    reorder();
    choose();
    make_segments();
    find_breaks();
    for (const Segment& segment : placement_.segments) placement_.seconds += segment.seconds;
    placement_.low_seconds = placement_.seconds / 2;
    placement_.high_seconds = placement_.seconds * 2;
    note_small();
    return std::move(placement_);
  }

 private:
  void judge(const Block& block) {
    for (const auto& node : block.nodes()) {
      if (node->literal || node->op->constexpr_op) continue;
      std::vector<Sizes> sizes;
      for (Value input : node->inputs()) sizes.push_back(sizes_of_(input.type()));
      for (std::size_t i = 0; i < node->output_count(); ++i) sizes.push_back(sizes_of_(node->output(i).type()));
      RuleAt at{*node, *options_.chip, options_.system, has_open_size(*node), enumerated_, sizes};
      OpPlacement op;
      op.node = node.get();
      op.free = computes_sizes(*node);
      for (const PlacementRule& rule : placement_rules()) {
        if (!rule.matches(at)) continue;
        op.rules.push_back(&rule);
        Verdict& verdict = op.verdicts[std::size_t(rule.engine)];
        verdict = std::max(verdict, rule.verdict);
      }
      OpWork work = work_of(at);
      op.flops = work.flops;
      op.weight_bytes = work.weight_bytes;
      op.activation_bytes = work.activation_bytes;
      for (std::size_t e = 0; e < engine_count; ++e) {
        bool possible = runs(op.verdicts[e]) && allowed(Engine(e), options_.units);
        double slower = op.verdicts[e] == Verdict::prefers ? 1.5 : 1;
        prices_.push_back(possible ? costs_.op_seconds(work, Engine(e)) * slower : never);
      }
      std::uint64_t handed = 0;
      for (std::size_t i = 0; i < node->output_count(); ++i)
        handed += std::uint64_t(element_count(sizes[node->inputs().size() + i])) * 2;
      handed_.push_back(handed);
      placement_.ops.push_back(std::move(op));
      for (const auto& inner : node->blocks) judge(*inner);
    }
  }

  // The engine an op would go to if it were alone; -1 for what goes with any.
  int kind_of(std::size_t i) const {
    if (placement_.ops[i].free) return -1;
    for (std::size_t e = 0; e < engine_count; ++e)
      if (prices_[i * engine_count + e] != never) return int(e);
    return int(engine_count) - 1;
  }

  // Groups the ops of the function's own block by engine as far as their operands allow; ops of inner blocks stay
  // behind the op that has them.
  void reorder() {
    std::vector<std::size_t> heads;  // of each item: an op and those of its blocks
    std::unordered_map<const Node*, std::size_t> item_of;
    for (std::size_t i = 0; i < placement_.ops.size(); ++i) {
      const Node* node = placement_.ops[i].node;
      if (node->block() == &function_.body) heads.push_back(i);
      item_of[node] = heads.size() - 1;
    }
    std::vector<std::vector<std::size_t>> after(heads.size());
    std::vector<int> kind;
    for (std::size_t head : heads) kind.push_back(kind_of(head));
    std::optional<std::size_t> last_effect;  // states are read and written in the program's order
    for (std::size_t i = 0; i < placement_.ops.size(); ++i) {
      const Node& node = *placement_.ops[i].node;
      std::size_t item = item_of[&node];
      bool effect = node.op->side_effects;
      for (Value input : node.inputs()) {
        effect |= input.type().kind == Type::Kind::state;
        auto found = item_of.find(input.producer());
        if (input.producer() && found != item_of.end() && found->second != item) after[item].push_back(found->second);
      }
      if (effect && last_effect && *last_effect != item) after[item].push_back(*last_effect);
      if (effect) last_effect = item;
    }
    std::vector<OpPlacement> ops;
    std::vector<double> prices;
    std::vector<std::uint64_t> handed;
    for (std::size_t item : grouped_order(after, kind)) {
      std::size_t end = item + 1 < heads.size() ? heads[item + 1] : placement_.ops.size();
      for (std::size_t i = heads[item]; i < end; ++i) {
        ops.push_back(std::move(placement_.ops[i]));
        handed.push_back(handed_[i]);
        prices.insert(prices.end(), &prices_[i * engine_count], &prices_[i * engine_count] + engine_count);
      }
    }
    placement_.ops = std::move(ops);
    prices_ = std::move(prices);
    handed_ = std::move(handed);
  }

  // The cheapest way through: for each op and engine the least cost so far, and the engine before.
  void choose() {
    std::size_t n = placement_.ops.size();
    std::vector<std::uint8_t> came(n * engine_count, 0);
    double best[engine_count] = {never, never, 0};  // the program starts on the CPU
    for (std::size_t i = 0; i < n; ++i) {
      double next[engine_count];
      std::uint64_t bytes = i ? handed_[i - 1] : 0;
      for (std::size_t e = 0; e < engine_count; ++e) {
        next[e] = never;
        double own = placement_.ops[i].free ? 0 : prices_[i * engine_count + e] * preference[e];
        for (std::size_t before = 0; before < engine_count; ++before) {
          double total = best[before] + costs_.switch_seconds(Engine(before), Engine(e), bytes) + own;
          if (total < next[e]) {
            next[e] = total;
            came[i * engine_count + e] = std::uint8_t(before);
          }
        }
      }
      std::copy(next, next + engine_count, best);
    }
    auto e = std::size_t(std::min_element(best, best + engine_count) - best);
    for (std::size_t i = n; i-- > 0;) {
      OpPlacement& op = placement_.ops[i];
      op.engine = Engine(e);
      op.seconds = op.free ? 0 : prices_[i * engine_count + e];
      e = came[i * engine_count + e];
    }
  }

  void make_segments() {
    Engine before = Engine::cpu;
    for (std::size_t i = 0; i < placement_.ops.size(); ++i) {
      const OpPlacement& op = placement_.ops[i];
      auto& segments = placement_.segments;
      if (segments.empty() || segments.back().engine != op.engine) {
        std::uint64_t bytes = i && before != op.engine ? handed_[i - 1] : 0;
        segments.push_back({op.engine, i, i, costs_.switch_seconds(before, op.engine, bytes), bytes});
      }
      segments.back().end = i + 1;
      segments.back().seconds += op.seconds;
      before = op.engine;
    }
  }

  // Segments between two of the Neural Engine's: what put their first op there?
  void find_breaks() {
    std::map<std::pair<const OpDef*, const PlacementRule*>, std::size_t> known;
    const auto& segments = placement_.segments;
    for (std::size_t s = 0; s < segments.size(); ++s) {
      if (segments[s].engine == Engine::ane) continue;
      bool between = s > 0 && segments[s - 1].engine == Engine::ane && s + 1 < segments.size();
      if (!between) continue;
      const OpPlacement* culprit = &placement_.ops[segments[s].begin];
      const PlacementRule* rule = nullptr;
      for (std::size_t i = segments[s].begin; i < segments[s].end && !rule; ++i)
        for (const PlacementRule* each : placement_.ops[i].rules)
          if (each->engine == Engine::ane && !runs(each->verdict) && !rule) {
            rule = each;
            culprit = &placement_.ops[i];
          }
      double lost = costs_.switch_seconds(Engine::ane, segments[s].engine, segments[s].copied_bytes) +
                    costs_.switch_seconds(segments[s].engine, Engine::ane, segments[s + 1].copied_bytes);
      auto [at, fresh] = known.emplace(std::pair{culprit->node->op, rule}, placement_.breaks.size());
      if (fresh) placement_.breaks.push_back({culprit, rule});
      ++placement_.breaks[at->second].count;
      placement_.breaks[at->second].seconds += lost;
    }
    std::stable_sort(placement_.breaks.begin(), placement_.breaks.end(),
                     [](const Break& a, const Break& b) { return a.seconds > b.seconds; });
  }

  std::uint64_t bytes_of(Value value) const {
    if (value.type().kind != Type::Kind::tensor && value.type().kind != Type::Kind::state) return 0;
    return std::uint64_t(element_count(sizes_of_(value.type()))) * std::max(1u, info(value.dtype()).bits / 8);
  }

  // A value is alive from the op that makes it to its last user.
  void measure_memory() {
    std::unordered_map<const Node*, std::size_t> place;
    for (std::size_t i = 0; i < placement_.ops.size(); ++i) place[placement_.ops[i].node] = i;
    std::size_t n = placement_.ops.size();
    std::vector<std::int64_t> change(n + 2, 0);
    auto live = [&](Value value, std::size_t from) {
      std::size_t to = from;
      for (const Node* user : value.users()) {
        auto found = place.find(user);
        to = std::max(to, found == place.end() ? n : found->second);
      }
      change[from] += std::int64_t(bytes_of(value));
      change[to + 1] -= std::int64_t(bytes_of(value));
    };
    for (std::size_t i = 0; i < function_.body.input_count(); ++i) {
      Value input = function_.body.input(i);
      if (input.type().kind == Type::Kind::state)
        placement_.memory.states += bytes_of(input);
      else
        live(input, 0);
    }
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t o = 0; o < placement_.ops[i].node->output_count(); ++o)
        live(placement_.ops[i].node->output(o), i);
    std::int64_t now = 0, most = 0;
    for (std::int64_t step : change) most = std::max(most, now += step);
    placement_.memory.activations = std::uint64_t(most);
    each_node(function_.body, [&](const Node& node) {
      if (node.literal && node.literal.dtype() != DType::string)
        placement_.memory.weights += node.literal.stored_size();
    });
  }

  void note_small() {
    if (options_.units == Units::cpu || options_.units == Units::cpu_gpu) return;
    std::size_t could = 0;
    for (const OpPlacement& op : placement_.ops) could += !op.free && runs(op.verdicts[0]);
    if (could * 2 > placement_.counted() && placement_.count(Engine::ane) == 0)
      placement_.note = fmt::format(
          "{} of {} ops could run on the Neural Engine, but the graph is so small that starting it costs more than it gains",
          could, placement_.counted());
  }

  const Function& function_;
  const PlaceOptions& options_;
  SizesOf sizes_of_;
  CostModel costs_;
  bool enumerated_ = false;
  Placement placement_;
  std::vector<double> prices_;         // per op and engine
  std::vector<std::uint64_t> handed_;  // bytes that an op's results have
};

}  // namespace

std::size_t Placement::count(Engine engine) const {
  return std::size_t(
      std::count_if(ops.begin(), ops.end(), [&](const OpPlacement& op) { return !op.free && op.engine == engine; }));
}

std::size_t Placement::counted() const {
  return std::size_t(std::count_if(ops.begin(), ops.end(), [](const OpPlacement& op) { return !op.free; }));
}

Result<Placement> place(const Function& function, const PlaceOptions& options) {
  POM_REQUIRE(options.chip, "a plan needs a chip");
  return Placer(function, options).run();
}

}  // namespace pomona::silicon
