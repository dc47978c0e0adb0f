#include "cpu/runner.h"

#include <chrono>
#include <cstring>

#include "base/interrupt.h"
#include "cpu/plan.h"
#include "ir/evaluate.h"
#include "ir/walk.h"

namespace pomona::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// What distinguishes one planning situation from another: the sizes of everything alive and the constants found.
std::string signature(const Surroundings& at) {
  std::map<std::string, std::string> parts;  // sorted, so that the map's order does not matter
  for (const auto& [info, tensor] : at.tensors)
    parts[std::to_string(reinterpret_cast<std::uintptr_t>(info))] =
        (tensor.is_list()         ? "list" + std::to_string(tensor.elements().size())
         : lies_in_halves(tensor) ? "halves"
                                  : "") +
        to_string(tensor.sizes());
  std::string text;
  for (const auto& [key, part] : parts) text += key + part;
  parts.clear();
  for (const auto& [info, tensor] : at.known)
    parts[std::to_string(reinterpret_cast<std::uintptr_t>(info))] =
        to_string(tensor.sizes()) +
        (tensor.data() ? std::string(reinterpret_cast<const char*>(tensor.data()), tensor.size_bytes()) : "");
  for (const auto& [key, part] : parts) text += "=" + key + part;
  return text;
}

}  // namespace

class Executor final : public Interpreter {
 public:
  Executor(const Function& function, RunOptions options) : function(function), options(options) {}

  Result<Tensors> call(const NamedTensors& inputs);
  Result<std::optional<std::size_t>> plan(const NamedTensors& inputs);
  Result<Tensors> run(const Block& block, std::span<const Tensor> arguments) override;
  Tensor& state(Value value) override {
    auto [at, fresh] = states.try_emplace(value.name());
    if (fresh) at->second = Tensor(value.dtype(), known_sizes(value.shape()));
    return at->second;
  }
  std::uint64_t random() override {
    std::uint64_t z = random_state += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }

  const Function& function;
  RunOptions options;
  Constants constants;
  std::map<std::string, Tensor> states;
  std::map<std::string, std::unique_ptr<Segment>> segments;  // by start node and signature
  std::map<const Segment*, std::shared_ptr<std::uint8_t[]>> arenas;
  std::map<std::pair<const Node*, std::string_view>, StepTime> times;
  std::size_t largest_arena = 0;
  bool profiling = false;
  std::uint64_t random_state = 0;

 private:
  Result<Tensors> arguments_of(const NamedTensors& inputs);
  Surroundings at_start(const Block& block, std::span<const Tensor> arguments) const;
  Result<Tensors> run_from(const Block& block, Surroundings surroundings);
  Result<Segment*> segment_for(const Block& block, Block::Nodes::const_iterator start, const Surroundings& at);
  Status run_segment(Segment& segment, Surroundings& at);
  Status run_breaker(const Node& node, Surroundings& at);
  Status check_input(Value input, const NamedTensors& inputs, Dim::Bindings& symbols);
  void note_time(const Node& node, std::string_view kernel, Clock::duration elapsed);
  Surroundings captured_by(const Node& node, const Surroundings& at);
  const Surroundings* outer_ = nullptr;  // of the op whose blocks are being run, as far as they read it
  std::map<const Node*, Values> captured_;
};

Status Executor::check_input(Value input, const NamedTensors& inputs, Dim::Bindings& symbols) {
  auto found = inputs.find(input.name());
  POM_REQUIRE(found != inputs.end(), "input '{}' ({}) is missing", input.name(), input.type().text());
  const Tensor& tensor = found->second;
  POM_REQUIRE(tensor.dtype() == input.dtype() && tensor.rank() == input.rank(), "input '{}' is {}, not {}",
              input.name(), tensor.type().text(), input.type().text());
  for (std::size_t d = 0; d < tensor.rank(); ++d) {
    Dim wanted = input.shape()[d];
    std::int64_t size = tensor.sizes()[d];
    if (wanted.known()) {
      POM_REQUIRE(wanted.value() == size, "input '{}' is {}, not {}", input.name(), tensor.type().text(),
                  input.type().text());
    } else if (auto symbol = wanted.symbol()) {
      auto [bound, fresh] = symbols.try_emplace(*symbol, size);
      POM_REQUIRE(bound->second == size, "input '{}' has size {} along axis {}, but '{}' is {} elsewhere", input.name(),
                  size, d, *symbol, bound->second);
    }
  }
  return {};
}

Result<Tensors> Executor::arguments_of(const NamedTensors& inputs) {
  Tensors arguments;
  Dim::Bindings symbols;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    if (input.type().kind == Type::Kind::state) {
      arguments.emplace_back();
      continue;
    }
    POM_TRY(check_input(input, inputs, symbols));
    arguments.push_back(inputs.at(input.name()));
  }
  for (const auto& [name, tensor] : inputs)
    POM_REQUIRE(function.body.input(name), "the function has no input '{}'", name);
  return arguments;
}

Result<Tensors> Executor::call(const NamedTensors& inputs) { return run(function.body, POM_TRY(arguments_of(inputs))); }

Result<std::optional<std::size_t>> Executor::plan(const NamedTensors& inputs) {
  Tensors arguments = POM_TRY(arguments_of(inputs));
  const Segment* segment =
      POM_TRY(segment_for(function.body, function.body.nodes().begin(), at_start(function.body, arguments)));
  std::optional<std::size_t> bytes;
  if (!segment->breaker) bytes = segment->arena_bytes + segment->scratch_bytes;
  return bytes;
}

Surroundings Executor::at_start(const Block& block, std::span<const Tensor> arguments) const {
  Surroundings at;
  if (outer_) at = *outer_;
  for (std::size_t i = 0; i < block.input_count(); ++i) {
    Value input = block.input(i);
    if (input.type().kind == Type::Kind::state) continue;
    at.tensors[&input.info()] = is_left_in_halves(arguments[i]) ? arguments[i] : to_storage(arguments[i]);
  }
  return at;
}

Result<Tensors> Executor::run(const Block& block, std::span<const Tensor> arguments) {
  return run_from(block, at_start(block, arguments));
}

Result<Tensors> Executor::run_from(const Block& block, Surroundings at) {
  auto start = block.nodes().begin();
  for (;;) {
    Segment* segment = POM_TRY(segment_for(block, start, at));
    POM_TRY(run_segment(*segment, at));
    if (!segment->breaker) break;
    POM_TRY_IN(run_breaker(*segment->breaker, at), "{}", segment->breaker->label());
    while (start->get() != segment->breaker) ++start;
    ++start;
  }
  Tensors results;
  for (Value value : block.results()) {
    auto known = at.known.find(&value.info());
    auto stored = at.tensors.find(&value.info());
    if (known != at.known.end())
      results.push_back(known->second);
    else if (stored != at.tensors.end())
      results.push_back(from_storage(stored->second, value.dtype()));
    else
      results.push_back(*POM_TRY(constants.find(value)));
  }
  return results;
}

Result<Segment*> Executor::segment_for(const Block& block, Block::Nodes::const_iterator start, const Surroundings& at) {
  const void* place = start == block.nodes().end() ? static_cast<const void*>(&block) : start->get();
  std::string key = std::to_string(reinterpret_cast<std::uintptr_t>(place)) + signature(at);
  auto found = segments.find(key);
  if (found != segments.end()) return found->second.get();
  auto segment = std::make_unique<Segment>(POM_TRY(plan_segment(block, start, at, constants, options)));
  // Different input sizes come and go; a bound keeps a long-running process from growing.
  constexpr std::size_t most_segments = 256;
  if (segments.size() >= most_segments && !outer_) {
    segments.clear();
    arenas.clear();
  }
  largest_arena = std::max(largest_arena, segment->arena_bytes + segment->scratch_bytes);
  return (segments[key] = std::move(segment)).get();
}

Status Executor::run_segment(Segment& segment, Surroundings& at) {
  auto& arena = arenas[&segment];
  if (!arena)
    arena.reset(new (std::align_val_t(64)) std::uint8_t[segment.arena_bytes + segment.scratch_bytes + 64],
                [](std::uint8_t* p) { ::operator delete[](p, std::align_val_t(64)); });
  Frame frame;
  frame.interpreter = this;
  for (Slot& slot : segment.slots) {
    if (slot.where == Slot::Where::arena)
      frame.pointers.push_back(arena.get() + slot.offset);
    else if (slot.where == Slot::Where::constant)
      frame.pointers.push_back(const_cast<std::uint8_t*>(slot.tensor.data()));
    else if (slot.where == Slot::Where::state)
      frame.pointers.push_back(state(slot.value).mutable_data() + slot.offset);
    else
      frame.pointers.push_back(
          const_cast<std::uint8_t*>(at.tensors.at(&segment.slots[&slot - segment.slots.data()].value.info()).data()));
  }
  for (auto [view, slot] : segment.views) frame.pointers[view] = frame.pointers[slot];
  frame.pointers.push_back(arena.get() + segment.arena_bytes);
  for (Step& step : segment.steps) {
    POM_TRY(check_interrupt());
    Clock::time_point begin = profiling ? Clock::now() : Clock::time_point();
    step.kernel.run(frame);
    if (profiling) note_time(*step.node, step.kernel.name, Clock::now() - begin);
    if (!frame.status) return std::move(frame.status).error();
  }
  for (SlotNumber number : segment.live_out) {
    const Slot& slot = segment.slots[number];
    Tensor tensor(storage_dtype(slot.dtype), slot.sizes);
    if (tensor.size_bytes()) std::memcpy(tensor.mutable_data(), frame.pointers[number], tensor.size_bytes());
    at.tensors[&slot.value.info()] = std::move(tensor);
  }
  for (const auto& [value, tensor] : segment.known_out) at.known[&value.info()] = tensor;
  for (const ValueInfo* value : segment.dead) at.tensors.erase(value);
  return {};
}

// The part of the surroundings that a node's blocks read: what else is alive neither is copied for each of them nor
// makes other plans.
Surroundings Executor::captured_by(const Node& node, const Surroundings& at) {
  auto [known, fresh] = captured_.try_emplace(&node);
  if (fresh) known->second = captured_values(node);
  Surroundings captured;
  for (Value value : known->second) {
    if (auto found = at.tensors.find(&value.info()); found != at.tensors.end()) captured.tensors.insert(*found);
    if (auto found = at.known.find(&value.info()); found != at.known.end()) captured.known.insert(*found);
  }
  return captured;
}

// A node that a segment cannot hold is run by its reference, with its blocks (if any) planned on their own.
Status Executor::run_breaker(const Node& node, Surroundings& at) {
  Clock::time_point begin = profiling ? Clock::now() : Clock::time_point();
  Tensors inputs;
  for (Value value : node.inputs()) {
    auto known = at.known.find(&value.info());
    auto stored = at.tensors.find(&value.info());
    if (value.type().kind == Type::Kind::state)
      inputs.emplace_back();
    else if (known != at.known.end())
      inputs.push_back(known->second);
    else if (stored != at.tensors.end())
      inputs.push_back(from_storage(stored->second, value.dtype()));
    else
      inputs.push_back(*POM_TRY(constants.find(value)));
  }
  Surroundings captured;
  if (!node.blocks.empty()) captured = captured_by(node, at);
  const Surroundings* before = std::exchange(outer_, &captured);
  auto results = evaluate_node(node, inputs, {function.opset, &node, this});
  outer_ = before;
  if (!results) return std::move(results).error();
  for (std::size_t i = 0; i < results->size(); ++i) at.tensors[&node.output(i).info()] = to_storage((*results)[i]);
  if (profiling) note_time(node, "eval", Clock::now() - begin);
  return {};
}

void Executor::note_time(const Node& node, std::string_view kernel, Clock::duration elapsed) {
  StepTime& time = times[{&node, kernel}];
  if (time.runs++ == 0) {
    time.label = node.label();
    time.op = node.op->name;
    time.kernel = kernel;
  }
  time.seconds += std::chrono::duration<double>(elapsed).count();
}

Runner::Runner(const Function& function, RunOptions options)
    : executor_(std::make_unique<Executor>(function, options)) {}
Runner::~Runner() = default;
Runner::Runner(Runner&&) noexcept = default;
Result<Tensors> Runner::run(const NamedTensors& inputs) { return executor_->call(inputs); }
Result<std::optional<std::size_t>> Runner::plan(const NamedTensors& inputs) { return executor_->plan(inputs); }
Tensor& Runner::state(const std::string& name) {
  for (std::size_t i = 0; i < executor_->function.body.input_count(); ++i)
    if (Value input = executor_->function.body.input(i); input.name() == name) return executor_->state(input);
  return executor_->states[name];
}
void Runner::reset_states() { executor_->states.clear(); }
std::size_t Runner::arena_bytes() const { return executor_->largest_arena; }
void Runner::set_profiling(bool on) { executor_->profiling = on; }
std::vector<StepTime> Runner::profile() const {
  std::vector<StepTime> all;
  for (const auto& [step, time] : executor_->times) all.push_back(time);
  return all;
}

}  // namespace pomona::cpu
