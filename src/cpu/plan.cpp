#include "cpu/plan.h"

#include <algorithm>
#include <set>
#include <unordered_set>

#include "cpu/arena.h"
#include "cpu/group.h"
#include "cpu/layout.h"
#include "cpu/parted_attention.h"
#include "cpu/state_alias.h"
#include "cpu/state_kernels.h"
#include "cpu/vector_compile.h"
#include "cpu/vector_program.h"
#include "ir/evaluate.h"
#include "ir/walk.h"
#include "ops/shape.h"

namespace pomona::cpu {

Result<const Tensor*> Constants::find(Value value) {
  if (!value.is_weight()) return nullptr;
  auto at = tensors_.find(&value.info());
  if (at != tensors_.end()) return &at->second;
  return &(tensors_[&value.info()] = POM_TRY(decode(value)));
}

Result<Tensor> Constants::decode(Value value) {
  auto at = tensors_.find(&value.info());
  if (at != tensors_.end()) return at->second;
  const Node& node = *value.producer();
  Tensors inputs;
  for (Value input : node.inputs()) {
    POM_REQUIRE(input.is_weight(), "{} decodes a value that is not constant", node.label());
    inputs.push_back(POM_TRY(decode(input)));
  }
  Tensors results = POM_TRY(evaluate_node(node, inputs, {node.block()->function().opset, &node, nullptr}));
  return std::move(results[value.index()]);
}

bool Constants::is_large(Value value) {
  constexpr std::int64_t most_elements = 4096;
  return value.is_weight() && value.type().kind == Type::Kind::tensor && is_float(value.dtype()) &&
         all_known(value.shape()) && element_count(known_sizes(value.shape())) > most_elements;
}

void Constants::forget_large() {
  std::erase_if(tensors_, [](const auto& entry) { return is_large(Value(const_cast<ValueInfo*>(entry.first))); });
}

const Tensor* PlanContext::constant(const InputField& field) const {
  if (field.known() || !Value(field).is_weight()) return field.known();
  auto tensor = constants->find(field);
  if (tensor) return *tensor;
  constants->note_failure(std::move(tensor).error());
  return nullptr;
}

Result<const Tensor*> Constants::find_stored(Value value) {
  auto at = stored_.find(&value.info());
  if (at != stored_.end()) return &at->second;
  const Tensor* tensor = POM_TRY(find(value));
  if (!tensor) return nullptr;
  return &(stored_[&value.info()] = to_storage(*tensor));
}

namespace {

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
    find_wanted_after(node);
    POM_TRY(plan_steps());
    find_live_out();
    find_dead();
    lay_out();
    return std::move(segment_);
  }

 private:
  // Plans a node; false when it has to break the segment.
  Result<bool> take(const Node& node) {
    if (node.op->structural || node.op->constexpr_op) return true;
    if (!node.blocks.empty()) return false;
    PlannedNode planned{&node, {}, {}};
    bool all_known = POM_TRY(gather_operands(planned));
    At at{block_.function().opset, &node, nullptr};
    if (all_known && !node.op->random && !node.op->side_effects && node.output_count()) return fold(planned, at);
    if (node.op->contents && fold_contents(planned, at)) return true;
    for (const auto& field : planned.operands)
      for (const Operand& operand : field)
        if (operand.type->kind == Type::Kind::list) return false;
    Types types = POM_TRY(infer_types(*node.op, node.attributes, planned.operands, at));
    for (std::size_t i = 0; i < types.size(); ++i) {
      if (types[i].kind != Type::Kind::tensor || types[i].dtype == DType::string || !pomona::all_known(types[i].shape))
        return false;
    }
    POM_TRY(check_fits_memory(node, types));
    for (std::size_t i = 0; i < types.size(); ++i) types_[&node.output(i).info()] = types[i];
    planned.results = std::move(types);
    nodes_.push_back(std::move(planned));
    return true;
  }

  Result<bool> gather_operands(PlannedNode& planned) {
    const Node& node = *planned.node;
    bool all = true;
    std::size_t next = 0;
    for (std::uint32_t count : node.counts()) {
      auto& field = planned.operands.emplace_back();
      for (std::uint32_t k = 0; k < count; ++k) {
        Value value = node.inputs()[next++];
        bool large = !known_.count(&value.info()) && Constants::is_large(value);
        const Tensor* tensor = large ? nullptr : POM_TRY(known(value));
        all = all && (large || tensor);
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
    if (value.type().kind == Type::Kind::state || (!tensor && value.is_weight())) return &value.type();
    POM_REQUIRE(tensor, "value '{}' is used before it is made", value.name());
    return &(types_[&value.info()] = tensor->type());
  }

  Result<bool> fold(const PlannedNode& planned, const At& at) {
    const Node& node = *planned.node;
    Tensors inputs;
    for (const auto& field : planned.operands)
      for (const Operand& operand : field)
        inputs.push_back(operand.tensor ? *operand.tensor : *POM_TRY(constants_.find(operand.value)));
    Tensors results = POM_TRY(evaluate_node(node, inputs, at));
    for (std::size_t i = 0; i < results.size(); ++i) remember(node.output(i), std::move(results[i]));
    return true;
  }
  bool fold_contents(const PlannedNode& planned, const At& at) {
    const Node& node = *planned.node;
    auto dims = node.op->contents(*node.op, node.attributes, planned.operands, at);
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
    settled_.insert(value.producer());
    types_[&value.info()] = tensor.type();
    known_[&value.info()] = std::move(tensor);
  }

  Status plan_steps() {
    if (!options_.kernels) {
      for (PlannedNode& node : nodes_) {
        POM_TRY(fetch_constants(node));
        add_by_reference(node);
      }
      return {};
    }
    place_states();
    // Only here is more than one op rounded together, as fast mode allows.
    if (options_.rounding == Rounding::fast && !options_.accumulate_half) find_attentions();
    for (const Group& group : group_nodes(nodes_, settled_, apart_)) POM_TRY(add_group(group));
    return {};
  }
  // States that are used in place: their values get slots, and nodes with nothing to do go.
  void place_states() {
    aliases_ = find_state_aliases(nodes_, wanted_after_);
    std::map<StatePlace, SlotNumber> slots;
    for (const auto& [value, place] : aliases_.place_of) {
      auto [at, fresh] = slots.try_emplace(place, no_slot);
      if (fresh) {
        DType dtype = place.state.dtype();
        at->second = new_slot({Slot::Where::state, dtype, place.sizes, place.state});
        segment_.slots[at->second].offset = place.offset * element_size_bytes(dtype);
        if (dtype == DType::fp16) half_slots_.insert(at->second);
      }
      slot_of_value_[&value.info()] = at->second;
    }
    std::erase_if(nodes_, [&](const PlannedNode& n) { return aliases_.nothing.count(n.node) != 0; });
  }
  void find_attentions() {
    auto found = find_parted_attention(nodes_, wanted_after_);
    std::erase_if(nodes_, [&](const PlannedNode& n) { return found.nothing.count(n.node) != 0; });
    attentions_ = std::move(found.found);
    for (const auto& [node, attention] : attentions_) apart_.insert(node);
  }
  void add_attention(const PlannedNode& planned, const PartedAttention& a) {
    PartedAttentionSlots slots{};
    slots.query = operand_slot(a.query, false, false);
    slots.mask = operand_slot(a.mask, false, false);
    for (int part = 0; part < 2; ++part) {
      slots.keys[part] = operand_slot(a.keys[part], false, true);
      slots.values[part] = operand_slot(a.values[part], false, true);
      slots.half_keys[part] = half_slots_.count(slots.keys[part]) != 0;
      slots.half_values[part] = half_slots_.count(slots.values[part]) != 0;
    }
    const Type& type = planned.results[0];
    slots.rounds = type.dtype == DType::fp16;
    slots.y = new_slot({Slot::Where::arena, type.dtype, known_sizes(type.shape), planned.node->output()});
    add_step(*planned.node, parted_attention_kernel(a, slots),
             {slots.query, slots.mask, slots.keys[0], slots.keys[1], slots.values[0], slots.values[1], slots.y});
  }
  void add_state_update(const PlannedNode& planned) {
    auto op = detail::view_of<mil::slice_update>(*planned.node->op, planned.node->attributes, planned.operands);
    auto slot_of = [&](std::size_t field) { return operand_slot(planned.operands[field][0], false, false); };
    StateUpdate update{slot_of_value_.at(&planned.node->output().info()),
                       slot_of(1),
                       slot_of(2),
                       slot_of(3),
                       known_sizes(op.x.shape()),
                       known_sizes(op.update.shape()),
                       *op.begin_mask,
                       *op.end_mask,
                       aliases_.place_of.at(planned.node->output()).state.dtype()};
    add_step(*planned.node, state_update_kernel(update), {update.state, update.update, update.begin, update.end});
    forget_copies(aliases_.place_of.at(planned.node->output()).state);
  }
  // Of what the state held before.
  void forget_copies(Value state) {
    auto of_state = [&](SlotNumber slot) {
      return segment_.slots[slot].where == Slot::Where::state && segment_.slots[slot].value == state;
    };
    std::erase_if(widened_, [&](const auto& copy) { return of_state(copy.first); });
    std::erase_if(relaid_, [&](const auto& copy) { return of_state(copy.first.first); });
  }
  // Where an operand lies, in the layout wanted, as floats unless halves will do.
  SlotNumber operand_slot(const Operand& operand, bool channels_last, bool halves) {
    SlotNumber slot = slot_for(operand);
    if (slot == no_slot) return slot;
    if (half_slots_.count(slot) && !halves) slot = widened(slot);
    return in_layout(slot, known_sizes(operand.type->shape), channels_last);
  }
  SlotNumber widened(SlotNumber slot) {
    auto [at, fresh] = widened_.try_emplace(slot, SlotNumber(segment_.slots.size()));
    if (!fresh) return at->second;
    Slot copy{Slot::Where::arena, DType::fp32, segment_.slots[slot].sizes, Value()};
    std::size_t count = std::size_t(element_count(copy.sizes));
    segment_.slots.push_back(std::move(copy));
    add_step(*current_, widening_kernel(slot, at->second, count), {slot, at->second});
    return at->second;
  }
  Status add_group(const Group& group) {
    current_ = nodes_[group.members.back()].node;
    if (aliases_.in_place.count(current_)) {
      POM_TRY(fetch_constants(nodes_[group.members[0]]));
      add_state_update(nodes_[group.members[0]]);
      return {};
    }
    if (auto attention = attentions_.find(current_); attention != attentions_.end()) {
      POM_TRY(fetch_constants(nodes_[group.members[0]]));
      add_attention(nodes_[group.members[0]], attention->second);
      return {};
    }
    for (std::size_t member : group.members)
      if (!(group.anchor == member && takes_on_demand(member))) POM_TRY(fetch_constants(nodes_[member]));
    if (POM_TRY(add_as_one(group))) return {};
    if (group.members.size() == 1) {
      add_by_reference(nodes_[group.members[0]]);
      return {};
    }
    // Too large, or the anchor's kernel declined: one by one.
    for (std::size_t member : group.members) {
      Group alone{{member}, {}};
      if (group.anchor == member) alone.anchor = member;
      POM_TRY(add_group(alone));
    }
    return {};
  }
  Result<bool> add_as_one(const Group& group) {
    if (!group.anchor) return add_elementwise(group);
    bool done = add_anchored(group);
    POM_TRY(constants_.take_failure());
    if (done || !takes_on_demand(*group.anchor)) return done;
    POM_TRY(fetch_constants(nodes_[*group.anchor]));
    done = add_anchored(group);
    POM_TRY(constants_.take_failure());
    return done;
  }
  bool takes_on_demand(std::size_t member) const {
    const KernelRule* rule = find_kernel(nodes_[member].node->op);
    return rule && rule->traits.constants_on_demand;
  }
  // Large constants as operands with tensors, and in their slots.
  Status fetch_constants(PlannedNode& planned) {
    for (auto& field : planned.operands)
      for (Operand& operand : field) {
        if (operand.tensor || !operand.value.is_weight()) continue;
        operand.tensor = POM_TRY(constants_.find(operand.value));
        auto slot = slot_of_value_.find(&operand.value.info());
        if (slot != slot_of_value_.end()) fill(slot->second);
      }
    return {};
  }
  void fill(SlotNumber number) {
    Slot& slot = segment_.slots[number];
    if (slot.where != Slot::Where::constant || slot.tensor.data()) return;
    auto stored = constants_.find_stored(slot.value);
    if (stored)
      slot.tensor = **stored;
    else
      constants_.note_failure(std::move(stored).error());
  }

  bool add_elementwise(const Group& group) {
    const PlannedNode& root = nodes_[group.members.back()];
    const Type& type = root.results[0];
    bool channels_last = any_channels_last(group, known_sizes(type.shape));
    SlotNumber result = new_slot({Slot::Where::arena, type.dtype, known_sizes(type.shape), root.node->output()});
    segment_.slots[result].channels_last = channels_last;
    std::vector<SlotNumber> used{result};
    auto program = compile(group, channels_last, result, used);
    if (!program) return false;
    Kernel kernel{.run =
                      [finish = *program](const Frame& f) {
                        const void* pointers[most_registers];
                        for (std::size_t i = 0; i < finish.sources.size(); ++i)
                          pointers[i] = f.pointers[finish.sources[i]];
                        run_vector_program(*finish.program, pointers, f.pointers[finish.result]);
                      },
                  .name = "elementwise"};
    add_step(*root.node, std::move(kernel), used);
    return true;
  }

  // Whether an operand from outside that has all the result's elements lies with its channels last.
  bool any_channels_last(const Group& group, const Sizes& sizes) {
    if (same_in_both_layouts(sizes)) return false;
    for (std::size_t member : group.members)
      for (const auto& field : nodes_[member].operands)
        for (const Operand& operand : field) {
          auto at = slot_of_value_.find(&operand.value.info());
          if (at == slot_of_value_.end() || !segment_.slots[at->second].channels_last) continue;
          if (known_sizes(operand.type->shape) == sizes) return true;
        }
    return false;
  }

  // The group's elementwise members as a program whose result is `result`; the anchor's result is already there.
  std::optional<Finish> compile(const Group& group, bool channels_last, SlotNumber result,
                                std::vector<SlotNumber>& used) {
    const Type& type = nodes_[group.members.back()].results[0];
    Sizes sizes = known_sizes(type.shape);
    auto place_of = [&](const Operand& operand) {
      SlotNumber slot = slot_for(operand);
      if (half_slots_.count(slot)) slot = widened(slot);
      bool full = known_sizes(operand.type->shape) == sizes && segment_.slots[slot].where != Slot::Where::constant;
      if (full) slot = in_layout(slot, sizes, channels_last);
      used.push_back(slot);
      return Place{slot, segment_.slots[slot].channels_last};
    };
    VectorEmitter emitter(sizes, channels_last, options_.rounding, place_of);
    for (std::size_t member : group.members) {
      const PlannedNode& node = nodes_[member];
      if (group.anchor == member)
        emitter.start_from(node.node->output(), result, node.results[0].dtype == DType::fp16);
      else
        emitter.add(*node.node, node.operands, node.results[0]);
    }
    return emitter.finish(result, type.dtype);
  }

  bool add_anchored(const Group& group) {
    const PlannedNode& anchor = nodes_[*group.anchor];
    const KernelRule* rule = find_kernel(anchor.node->op);
    if (!rule) return false;
    Layouts layouts = rule->traits.layouts;
    bool channels_last = layouts == Layouts::channels_last;
    if (layouts == Layouts::either && !anchor.operands.empty())
      for (const Operand& operand : anchor.operands[0])
        channels_last = channels_last || segment_.slots[slot_for(operand)].channels_last;
    return add_anchored(group, *rule, channels_last) ||
           (channels_last && layouts == Layouts::either && add_anchored(group, *rule, false));
  }
  bool add_anchored(const Group& group, const KernelRule& rule, bool channels_last) {
    const PlannedNode& anchor = nodes_[*group.anchor];
    PlanContext context = context_for(anchor);
    context.channels_last = channels_last;
    std::vector<SlotNumber> used;
    for (std::size_t i = 0; i < anchor.operands.size(); ++i) {
      auto& slots = context.sources.emplace_back();
      for (const Operand& operand : anchor.operands[i]) {
        SlotNumber slot = operand_slot(operand, channels_last && i == 0, (rule.traits.takes_halves >> i & 1) != 0);
        slots.push_back(slot);
        used.push_back(slot);
      }
    }
    const PlannedNode& root = nodes_[group.members.back()];
    make_results(root, context, channels_last);
    bool finishes = rule.traits.finishes && (group.members.size() > 1 || context.rounds());
    if (finishes) {
      auto finish = compile(group, segment_.slots[context.result()].channels_last, context.result(), used);
      if (!finish) return false;
      context.finish = std::move(*finish);
    }
    std::vector<SlotNumber> asked;
    context.asked = &asked;
    Kernel kernel = rule.plan(context);
    for (SlotNumber slot : asked)
      if (slot != no_slot) fill(slot);
    if (kernel.alias_of != no_slot) {
      slot_of_value_[&anchor.node->output().info()] = kernel.alias_of;
      return true;
    }
    if (!kernel.run) return false;
    used.insert(used.end(), context.results.begin(), context.results.end());
    add_step(*root.node, std::move(kernel), used);
    return true;
  }

  PlanContext context_for(const PlannedNode& planned) {
    PlanContext context{
        *planned.node, options_.rounding, block_.function().opset, planned.operands, {}, planned.results, {}};
    context.cache = &constants_.prepared;
    context.constants = &constants_;
    context.half_slots = &half_slots_;
    context.accumulate_half =
        options_.accumulate_half && !planned.results.empty() && planned.results[0].dtype == DType::fp16;
    return context;
  }
  void make_results(const PlannedNode& planned, PlanContext& context, bool channels_last) {
    for (std::size_t i = 0; i < planned.results.size(); ++i) {
      const Type& type = planned.results[i];
      Sizes sizes = known_sizes(type.shape);
      SlotNumber slot = new_slot({Slot::Where::arena, type.dtype, sizes, planned.node->output(i)});
      segment_.slots[slot].channels_last = channels_last && !same_in_both_layouts(sizes);
      context.results.push_back(slot);
    }
  }

  void add_by_reference(const PlannedNode& planned) {
    current_ = planned.node;
    PlanContext context = context_for(planned);
    std::vector<SlotNumber> used;
    for (const auto& field : planned.operands) {
      auto& slots = context.sources.emplace_back();
      for (const Operand& operand : field) {
        SlotNumber slot = operand_slot(operand, false, false);
        slots.push_back(slot);
        used.push_back(slot);
      }
    }
    make_results(planned, context, false);
    used.insert(used.end(), context.results.begin(), context.results.end());
    add_step(*planned.node, eval_kernel(context), used);
  }

  void add_step(const Node& node, Kernel kernel, const std::vector<SlotNumber>& used) {
    segment_.scratch_bytes = std::max(segment_.scratch_bytes, kernel.scratch_bytes);
    std::size_t step = segment_.steps.size();
    for (SlotNumber slot : used) {
      if (slot == no_slot) continue;
      first_use_.try_emplace(slot, step);
      last_use_[slot] = step;
    }
    segment_.steps.push_back({&node, std::move(kernel)});
  }

  // The slot itself, or a copy of it in the wanted layout. The sizes are those of the value: one that is an alias lies
  // in a slot whose own sizes may be others.
  SlotNumber in_layout(SlotNumber slot, const Sizes& sizes, bool channels_last) {
    const Slot& given = segment_.slots[slot];
    if (given.channels_last == channels_last || same_in_both_layouts(sizes)) return slot;
    auto [at, fresh] = relaid_.try_emplace({slot, sizes}, SlotNumber(segment_.slots.size()));
    if (!fresh) return at->second;
    Slot copy{Slot::Where::arena, given.dtype, sizes, Value()};
    copy.channels_last = channels_last;
    Kernel kernel = reorder_kernel(slot, at->second, sizes, given.dtype, channels_last);
    segment_.slots.push_back(std::move(copy));
    add_step(*current_, std::move(kernel), {slot, at->second});
    return at->second;
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
    bool large = !operand.tensor && value.is_weight();  // filled when a kernel asks for it
    if (large) slot.where = Slot::Where::constant;
    auto before = at_.tensors.find(&value.info());
    bool half = slot.where == Slot::Where::live_in && before != at_.tensors.end() && lies_in_halves(before->second);
    SlotNumber number = new_slot(std::move(slot));
    if (half) half_slots_.insert(number);
    if (!operand.tensor && !large) segment_.live_in.push_back(number);
    return number;
  }
  void find_wanted_after(Block::Nodes::const_iterator rest) {
    for (auto node = rest; node != block_.nodes().end(); ++node) {
      Values read = operands_of_all(**node);
      wanted_after_.insert(wanted_after_.end(), read.begin(), read.end());
    }
    for (Value value : block_.results()) wanted_after_.push_back(value);
  }
  void find_live_out() {
    std::set<const ValueInfo*> seen;
    auto want = [&](Value value) {
      if (!seen.insert(&value.info()).second || value.type().kind == Type::Kind::state) return;
      auto folded = known_.find(&value.info());
      if (folded != known_.end()) {
        if (!at_.known.count(&value.info())) segment_.known_out.emplace_back(value, folded->second);
        return;
      }
      auto slot = slot_of_value_.find(&value.info());
      if (slot == slot_of_value_.end()) return;
      const Slot& found = segment_.slots[slot->second];
      if (found.value && found.value.is_weight()) return;
      // What came from before is there already; its memory is read by aliases that are copied after it.
      if (found.where == Slot::Where::live_in && found.value == value) return;
      if (found.where == Slot::Where::live_in && half_slots_.count(slot->second)) return;  // still there as it came
      slot->second = in_layout(slot->second, known_sizes(types_[&value.info()].shape), false);
      // An alias shares its slot with the value it renames; the sizes may differ, so both are live out on their own.
      live_out_values_.emplace_back(value, slot->second);
    };
    for (Value value : wanted_after_) want(value);
    for (auto [value, slot] : live_out_values_) {
      last_use_[slot] = segment_.steps.size();
      Slot view = segment_.slots[slot];
      view.value = value;
      view.where = Slot::Where::arena;  // never used: a view's pointer is its owner's
      const Type& type = types_[&value.info()];
      view.sizes = known_sizes(type.shape);
      segment_.slots.push_back(view);
      segment_.views.emplace_back(SlotNumber(segment_.slots.size() - 1), slot);
      segment_.live_out.push_back(segment_.views.back().first);
    }
  }

  void find_dead() {
    std::unordered_set<const ValueInfo*> wanted;
    for (Value value : wanted_after_) wanted.insert(&value.info());
    for (const auto& [info, tensor] : at_.tensors)
      if (!wanted.count(info)) segment_.dead.push_back(info);
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
  std::vector<PlannedNode> nodes_;
  std::unordered_set<const Node*> settled_;  // folded
  const Node* current_ = nullptr;            // being planned
  std::unordered_map<const ValueInfo*, Tensor> known_;
  std::unordered_map<const ValueInfo*, Type> types_;
  std::unordered_map<const ValueInfo*, SlotNumber> slot_of_value_;
  std::map<std::pair<SlotNumber, Sizes>, SlotNumber> relaid_;  // a copy in the other layout
  std::map<SlotNumber, std::size_t> first_use_, last_use_;
  std::vector<std::pair<Value, SlotNumber>> live_out_values_;
  Values wanted_after_;  // inputs of what follows the segment, and the block's results
  StateAliases aliases_;
  std::map<const Node*, PartedAttention> attentions_;
  std::set<const Node*> apart_;               // run on their own
  std::set<SlotNumber> half_slots_;           // states of fp16, and large inputs of it
  std::map<SlotNumber, SlotNumber> widened_;  // their copies of floats
};

}  // namespace

Result<Segment> plan_segment(const Block& block, Block::Nodes::const_iterator start, const Surroundings& at,
                             Constants& constants, const RunOptions& options) {
  auto segment = SegmentPlanner(block, at, constants, options).plan(start);
  constants.forget_large();
  return segment;
}

}  // namespace pomona::cpu
