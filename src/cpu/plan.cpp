#include "cpu/plan.h"

#include <algorithm>
#include <set>
#include <unordered_set>

#include "cpu/arena.h"
#include "ir/evaluate.h"

namespace pomona::cpu {

Result<const Tensor*> Constants::find(Value value) {
  if (!value.is_weight()) return nullptr;
  auto at = tensors_.find(&value.info());
  if (at != tensors_.end()) return &at->second;
  const Node& node = *value.producer();
  Tensors inputs;
  for (Value input : node.inputs()) {
    const Tensor* tensor = POM_TRY(find(input));
    POM_REQUIRE(tensor, "{} decodes a value that is not constant", node.label());
    inputs.push_back(*tensor);
  }
  Tensors results = POM_TRY(evaluate_node(node, inputs, {node.block()->function().opset, &node, nullptr}));
  for (std::size_t i = 0; i < results.size(); ++i) tensors_[&node.output(i).info()] = std::move(results[i]);
  return &tensors_[&value.info()];
}

Result<const Tensor*> Constants::find_stored(Value value) {
  auto at = stored_.find(&value.info());
  if (at != stored_.end()) return &at->second;
  const Tensor* tensor = POM_TRY(find(value));
  if (!tensor) return nullptr;
  return &(stored_[&value.info()] = to_storage(*tensor));
}

namespace {

void collect_captures(const Block& block, std::unordered_set<const ValueInfo*>& inside, Values& found) {
  for (std::size_t i = 0; i < block.input_count(); ++i) inside.insert(&block.input(i).info());
  auto use = [&](Value value) {
    if (!inside.count(&value.info()) && std::find(found.begin(), found.end(), value) == found.end())
      found.push_back(value);
  };
  for (const auto& node : block.nodes()) {
    for (Value value : node->inputs()) use(value);
    for (const auto& inner : node->blocks) collect_captures(*inner, inside, found);
    for (std::size_t i = 0; i < node->output_count(); ++i) inside.insert(&node->output(i).info());
  }
  for (Value value : block.results()) use(value);
}

class SegmentPlanner {
 public:
  SegmentPlanner(const Block& block, const Surroundings& at, Constants& constants, const RunOptions& options)
      : block_(block), at_(at), constants_(constants), options_(options), known_(at.known) {
    for (const auto& [info, tensor] : at.tensors) {
      Type type = Value(const_cast<ValueInfo*>(info)).type();
      type.shape = tensor.shape();
      if (tensor.is_list()) type = tensor.type();
      types_[info] = std::move(type);
    }
  }

  Result<Segment> plan(Block::Nodes::const_iterator start) {
    auto node = start;
    for (; node != block_.nodes().end(); ++node) {
      if (!POM_TRY_IN(take(**node), "{}", (*node)->label())) break;
    }
    if (node != block_.nodes().end()) segment_.breaker = node->get();
    find_live_out(node);
    lay_out();
    return std::move(segment_);
  }

 private:
  // Plans a node; false when it has to break the segment.
  Result<bool> take(const Node& node) {
    if (node.op->structural || node.op->constexpr_op) return true;
    if (!node.blocks.empty()) return false;
    PlanContext context{node, options_.rounding, block_.function().opset, {}, {}, {}, {}};
    context.cache = &constants_.prepared;
    bool all_known = POM_TRY(gather_operands(node, context));
    At at{context.opset, &node, nullptr};
    if (all_known && !node.op->random && !node.op->side_effects && node.output_count()) return fold(node, context, at);
    if (node.op->contents && fold_contents(node, context, at)) return true;
    for (const auto& field : context.operands)
      for (const Operand& operand : field)
        if (operand.type->kind == Type::Kind::list) return false;
    Types types = POM_TRY(infer_types(*node.op, node.attributes, context.operands, at));
    for (std::size_t i = 0; i < types.size(); ++i) {
      if (types[i].kind != Type::Kind::tensor || types[i].dtype == DType::string || !pomona::all_known(types[i].shape))
        return false;
    }
    add_step(node, std::move(context), std::move(types));
    return true;
  }

  Result<bool> gather_operands(const Node& node, PlanContext& context) {
    bool all = true;
    std::size_t next = 0;
    for (std::uint32_t count : node.counts()) {
      auto& field = context.operands.emplace_back();
      for (std::uint32_t k = 0; k < count; ++k) {
        Value value = node.inputs()[next++];
        const Tensor* tensor = POM_TRY(known(value));
        all = all && tensor;
        field.push_back({value, POM_TRY(type_of(value, tensor)), tensor});
      }
    }
    return all;
  }

  Result<const Tensor*> known(Value value) {
    auto at = known_.find(&value.info());
    if (at != known_.end()) return &at->second;
    return constants_.find(value);
  }
  Result<const Type*> type_of(Value value, const Tensor* tensor) {
    auto at = types_.find(&value.info());
    if (at != types_.end()) return &at->second;
    if (value.type().kind == Type::Kind::state) return &value.type();
    POM_REQUIRE(tensor, "value '{}' is used before it is made", value.name());
    return &(types_[&value.info()] = tensor->type());
  }

  Result<bool> fold(const Node& node, const PlanContext& context, const At& at) {
    Tensors inputs;
    for (const auto& field : context.operands)
      for (const Operand& operand : field) inputs.push_back(*operand.tensor);
    Tensors results = POM_TRY(evaluate_node(node, inputs, at));
    for (std::size_t i = 0; i < results.size(); ++i) remember(node.output(i), std::move(results[i]));
    return true;
  }
  bool fold_contents(const Node& node, const PlanContext& context, const At& at) {
    auto dims = node.op->contents(*node.op, node.attributes, context.operands, at);
    if (!dims || node.output_count() != 1 || !std::all_of(dims->begin(), dims->end(), [](Dim d) { return d.known(); }))
      return false;
    Sizes sizes;
    if (node.output().rank() == 1) sizes.push_back(std::int64_t(dims->size()));
    std::vector<std::int64_t> values;
    for (Dim d : *dims) values.push_back(d.value());
    remember(node.output(), Tensor::ints(values, node.output().dtype()).reshaped(sizes));
    return true;
  }
  void remember(Value value, Tensor tensor) {
    types_[&value.info()] = tensor.type();
    known_[&value.info()] = std::move(tensor);
  }

  void add_step(const Node& node, PlanContext context, Types types) {
    for (const auto& field : context.operands) {
      auto& slots = context.sources.emplace_back();
      for (const Operand& operand : field) slots.push_back(slot_for(operand));
    }
    for (std::size_t i = 0; i < types.size(); ++i) {
      Value value = node.output(i);
      types_[&value.info()] = types[i];
      context.results.push_back(new_slot({Slot::Where::arena, types[i].dtype, known_sizes(types[i].shape), value}));
    }
    context.result_types = std::move(types);
    const KernelRule* rule = options_.kernels ? find_kernel(node.op) : nullptr;
    Kernel kernel = rule ? rule->plan(context) : Kernel();
    if (kernel.alias_of != no_slot) {
      slot_of_value_[&node.output().info()] = kernel.alias_of;
      return;
    }
    if (!kernel.run) kernel = eval_kernel(context);
    segment_.scratch_bytes = std::max(segment_.scratch_bytes, kernel.scratch_bytes);
    std::size_t step = segment_.steps.size();
    for (const auto& slots : context.sources)
      for (SlotNumber slot : slots)
        if (slot != no_slot) last_use_[slot] = step;
    for (SlotNumber slot : context.results) first_use_[slot] = last_use_[slot] = step;
    segment_.steps.push_back({&node, std::move(kernel)});
  }

  SlotNumber new_slot(Slot slot) {
    SlotNumber number = SlotNumber(segment_.slots.size());
    slot_of_value_[&slot.value.info()] = number;
    segment_.slots.push_back(std::move(slot));
    return number;
  }
  SlotNumber slot_for(const Operand& operand) {
    Value value = operand.value;
    if (value.type().kind == Type::Kind::state) return no_slot;
    auto at = slot_of_value_.find(&value.info());
    if (at != slot_of_value_.end()) return at->second;
    Slot slot{Slot::Where::live_in, operand.type->dtype, known_sizes(operand.type->shape), value};
    if (operand.tensor) {
      slot.where = Slot::Where::constant;
      bool folded = known_.count(&value.info());
      auto stored = folded ? Result<const Tensor*>(nullptr) : constants_.find_stored(value);
      slot.tensor = stored && *stored ? **stored : to_storage(*operand.tensor);
      if (operand.tensor->dtype() == DType::string) return no_slot;
    }
    SlotNumber number = new_slot(std::move(slot));
    if (!operand.tensor) segment_.live_in.push_back(number);
    return number;
  }
  void find_live_out(Block::Nodes::const_iterator rest) {
    std::set<const ValueInfo*> seen;
    auto want = [&](Value value) {
      if (!seen.insert(&value.info()).second) return;
      auto folded = known_.find(&value.info());
      if (folded != known_.end()) {
        if (!at_.known.count(&value.info())) segment_.known_out.emplace_back(value, folded->second);
        return;
      }
      auto slot = slot_of_value_.find(&value.info());
      if (slot == slot_of_value_.end() || segment_.slots[slot->second].value.is_weight()) return;
      // An alias shares its slot with the value it renames; the sizes may differ, so both are live out on their own.
      live_out_values_.emplace_back(value, slot->second);
      last_use_[slot->second] = segment_.steps.size();
    };
    for (auto node = rest; node != block_.nodes().end(); ++node) {
      for (Value value : (*node)->inputs()) want(value);
      if (!(*node)->blocks.empty())
        for (Value value : captured_values(**node)) want(value);
    }
    for (Value value : block_.results()) want(value);
    for (auto [value, slot] : live_out_values_) {
      Slot view = segment_.slots[slot];
      view.value = value;
      const Type& type = types_[&value.info()];
      view.sizes = known_sizes(type.shape);
      segment_.slots.push_back(view);
      segment_.views.emplace_back(SlotNumber(segment_.slots.size() - 1), slot);
      segment_.live_out.push_back(segment_.views.back().first);
    }
  }

  void lay_out() {
    std::vector<Lifetime> lifetimes;
    std::vector<SlotNumber> owners;
    for (auto& [slot, first] : first_use_) {
      if (segment_.slots[slot].where != Slot::Where::arena) continue;
      lifetimes.push_back({segment_.slots[slot].size_bytes(), first, last_use_[slot]});
      owners.push_back(slot);
    }
    segment_.arena_bytes = place_buffers(lifetimes);
    for (std::size_t i = 0; i < owners.size(); ++i) segment_.slots[owners[i]].offset = lifetimes[i].offset;
  }

  const Block& block_;
  const Surroundings& at_;
  Constants& constants_;
  const RunOptions& options_;
  Segment segment_;
  std::unordered_map<const ValueInfo*, Tensor> known_;
  std::unordered_map<const ValueInfo*, Type> types_;
  std::unordered_map<const ValueInfo*, SlotNumber> slot_of_value_;
  std::map<SlotNumber, std::size_t> first_use_, last_use_;
  std::vector<std::pair<Value, SlotNumber>> live_out_values_;
};

}  // namespace

Values captured_values(const Node& node) {
  std::unordered_set<const ValueInfo*> inside;
  Values found;
  for (const auto& block : node.blocks) collect_captures(*block, inside, found);
  return found;
}

Result<Segment> plan_segment(const Block& block, Block::Nodes::const_iterator start, const Surroundings& at,
                             Constants& constants, const RunOptions& options) {
  return SegmentPlanner(block, at, constants, options).plan(start);
}

}  // namespace pomona::cpu
