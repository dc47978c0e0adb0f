#include "formats/onnx/lowering.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/onnx/weight_scale.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"

namespace pomona::onnx {
namespace {

// Ops on up to so many elements are computed at once.
constexpr std::uint64_t eager_elements = 16384;
// A folded result may have so many elements although its operands have none to speak of.
constexpr std::uint64_t free_elements = 4096;

// Chains of constants longer than this are left as they are.
constexpr int deepest_fold = 100;

struct ConstantCall {
  const OpDef* op;
  std::vector<Attribute> attributes;
  std::vector<std::uint32_t> counts;
  Target opset;

  std::vector<std::vector<Operand>> operands(const std::vector<Type>& types, std::span<const Tensor> tensors) const {
    std::vector<std::vector<Operand>> all;
    std::size_t next = 0;
    for (std::uint32_t count : counts) {
      std::vector<Operand>& field = all.emplace_back();
      for (std::uint32_t k = 0; k < count; ++k, ++next)
        field.push_back({{}, &types[next], next < tensors.size() && tensors[next].data() ? &tensors[next] : nullptr});
    }
    return all;
  }
  Result<Tensors> evaluate(std::span<const Tensor> inputs) const {
    std::vector<Type> types;
    for (const Tensor& tensor : inputs) types.push_back(tensor.type());
    std::vector<std::vector<Operand>> all;
    std::size_t next = 0;
    for (std::uint32_t count : counts) {
      std::vector<Operand>& field = all.emplace_back();
      for (std::uint32_t k = 0; k < count; ++k, ++next) field.push_back({{}, &types[next], &inputs[next]});
    }
    return op->eval(*op, attributes, all, {opset, nullptr, nullptr});
  }
  std::string text() const {
    std::string text = fmt::format("{}[{}]", op->name, name(opset));
    for (const Attribute& a : attributes) text += "," + to_string(a);
    for (std::uint32_t c : counts) text += fmt::format(";{}", c);
    return text;
  }
};

std::uint64_t count_of(const Type& type) {
  std::uint64_t count = 1;
  for (Dim d : type.shape)
    if (__builtin_mul_overflow(count, std::uint64_t(std::max<std::int64_t>(d.value(), 0)), &count)) return UINT64_MAX;
  return count;
}

bool foldable(const OpDef& op) {
  return op.eval && !op.random && !op.side_effects && !op.structural && !op.constexpr_op;
}

}  // namespace

int opset_of(const Lowering& g) { return g.opset(); }

Lowering::Lowering(Block& block, const NodeCall& call, int opset, GraphLowering& graphs)
    : builder_(block), call_(&call), opset_(opset), graphs_(&graphs) {
  builder_.source = call.source;
}

std::optional<Values> Lowering::fold(const OpDef& op, const std::vector<Attribute>& attributes, const Values& inputs,
                                     const std::vector<std::uint32_t>& counts, bool whatever_size) {
  std::vector<Weight> weights;
  std::vector<Type> types;
  Tensors known;  // what is in memory already, for infer
  std::uint64_t elements = 0, most = 0;
  for (Value input : inputs) {
    const Weight* weight = input.literal();
    if (!weight || input.type().kind != Type::Kind::tensor || input.dtype() == DType::string) return {};
    weights.push_back(*weight);
    types.push_back(input.type());
    known.push_back(weight->in_memory() ? *weight->in_memory() : Tensor(weight->dtype(), Sizes{0}, Bytes()));
    elements += weight->count();
    most = std::max<std::uint64_t>(most, weight->count());
  }
  ConstantCall call{&op, attributes, counts, target()};
  auto operands = call.operands(types, known);
  for (auto& field : operands)
    for (Operand& operand : field)
      if (operand.tensor && !weights[std::size_t(operand.tensor - known.data())].in_memory()) operand.tensor = nullptr;
  auto inferred = infer_types(op, attributes, operands, {target(), nullptr, nullptr});
  if (!inferred) return {};  // the builder will say why
  std::uint64_t made = 0;
  bool sized = true;
  for (const Type& type : *inferred) {
    if (type.kind != Type::Kind::tensor) return {};
    sized = sized && all_known(type.shape);
    std::uint64_t count = sized ? count_of(type) : 0;
    if (__builtin_add_overflow(made, count, &made)) return {};
  }
  if (sized && made > (std::uint64_t(1) << 48)) return {};
  if (sized && made > free_elements && made > 2 * most && !whatever_size) return {};
  Values results;
  if (elements + (sized ? made : 0) <= eager_elements) {
    Tensors tensors;
    for (const Weight& weight : weights) {
      auto tensor = weight.materialise();
      if (!tensor) return Values{builder_.refuse(std::move(tensor).error())};
      tensors.push_back(*std::move(tensor));
    }
    auto outputs = call.evaluate(tensors);
    if (!outputs) return Values{builder_.refuse(std::move(outputs).error().in(std::string(op.name)))};
    for (Tensor& tensor : *outputs) results.push_back(constant(std::move(tensor)));
    return results;
  }
  if (!sized) return {};
  if (&op == &def<mil::mul>() && weights.size() == 2)
    if (auto fast = scaled_weight(weights[0], weights[1]); fast && fast->count() == made)
      return Values{constant(*fast)};
  std::string text = call.text();
  for (std::size_t i = 0; i < inferred->size(); ++i)
    results.push_back(constant(Weight::derived({inferred->size() == 1 ? text : fmt::format("{}#{}", text, i),
                                                (*inferred)[i].dtype, known_sizes((*inferred)[i].shape), weights,
                                                [call, i](std::span<const Tensor> in) -> Result<Tensor> {
                                                  Tensors out = POM_TRY(call.evaluate(in));
                                                  return std::move(out[i]);
                                                }})));
  return results;
}

Values Lowering::add_erased(const OpDef& op, const void* fields) {
  if (!status()) return {};
  std::vector<Attribute> attributes;
  Values inputs;
  std::vector<std::uint32_t> counts;
  op.take(fields, attributes, inputs, counts);
  return add_call(op, std::move(attributes), std::move(inputs), std::move(counts));
}

Values Lowering::add_call(const OpDef& op, std::vector<Attribute> attributes, Values inputs,
                          std::vector<std::uint32_t> counts, std::vector<std::unique_ptr<Block>> blocks) {
  if (!status()) return {};
  std::size_t next = 0;
  for (std::size_t field = 0; field < counts.size(); ++field)
    for (std::uint32_t k = 0; k < counts[field]; ++k, ++next)
      if (OpDef::rule(op.inputs[field]).constant) inputs[next] = as_constant(inputs[next]);
  if (blocks.empty() && foldable(op) && !inputs.empty())
    if (auto folded = fold(op, attributes, inputs, counts, false)) return *folded;
  Values made =
      builder_.add_call(op, std::move(attributes), std::move(inputs), std::move(counts), {}, std::move(blocks));
  if (made.size() != 1 || !made[0].info().contents || !foldable(op)) return made;
  // A shape-like value that is known although its operands are not.
  Ints elements;
  for (Dim d : *made[0].info().contents) {
    if (!d.known()) return made;
    elements.push_back(d.value());
  }
  if (!all_known(made[0].shape()) || made[0].rank() > 1) return made;
  Tensor tensor(made[0].dtype(), known_sizes(made[0].shape()));
  if (tensor.count() != elements.size()) return made;
  for (std::size_t i = 0; i < elements.size(); ++i) tensor.set_number(i, double(elements[i]));
  block().erase(*made[0].producer());
  return {constant(std::move(tensor))};
}

Value Lowering::as_constant(Value value) {
  std::map<Value, Value> known;
  return as_constant(value, known, 0);
}
Value Lowering::as_constant(Value value, std::map<Value, Value>& known, int depth) {
  if (!value || value.literal() || value.is_weight() || !value.producer() || depth > deepest_fold) return value;
  auto [at, fresh] = known.try_emplace(value, value);
  const Node& node = *value.producer();
  if (!fresh || !foldable(*node.op) || !node.blocks.empty()) return at->second;
  Values inputs;
  for (Value input : node.inputs()) {
    inputs.push_back(as_constant(input, known, depth + 1));
    if (!inputs.back().literal()) return value;
  }
  auto folded = fold(*node.op, node.attributes, inputs, node.counts(), true);
  if (folded && value.index() < folded->size() && (*folded)[value.index()]) known[value] = (*folded)[value.index()];
  return known[value];
}

bool Lowering::wants(std::size_t output) const {
  return output < call_->proto->output.size() && !call_->proto->output[output].empty();
}

void Lowering::assume(const std::string& sentence) { graphs_->assume(call_->source + ": " + sentence); }
Status Lowering::result(Value value, std::optional<Elem> elem) {
  if (!status()) return status().error();
  POM_REQUIRE(value, "the operator gives no value");
  if (!elem) {
    for (const Entry& input : call_->inputs)
      if (!elem && input && input.value.dtype() == value.dtype()) elem = input.elem;
    DType d = value.dtype();
    if (!elem)
      elem = d == DType::boolean  ? Elem::boolean
             : d == DType::int32  ? Elem::int64
             : d == DType::fp16   ? Elem::float16
             : d == DType::string ? Elem::string
                                  : Elem::float32;
  }
  outputs_.push_back({value, *elem});
  return {};
}

Status Lowering::give(Entry entry) {
  if (!status()) return status().error();
  outputs_.push_back(std::move(entry));
  return {};
}

Status Lowering::results(const Values& values) {
  if (!status()) return status().error();
  for (Value value : values) POM_TRY(result(value));
  return {};
}

Value Lowering::plus(Value a, Value b) { return add(mil::add{.x = a, .y = b}); }
Value Lowering::minus(Value a, Value b) { return add(mil::sub{.x = a, .y = b}); }
Value Lowering::times(Value a, Value b) { return add(mil::mul{.x = a, .y = b}); }
Value Lowering::over(Value a, Value b) { return add(mil::real_div{.x = a, .y = b}); }
Value Lowering::select(Value condition, Value a, Value b) {
  return add(mil::select{.cond = condition, .a = a, .b = b});
}
Value Lowering::cast(Value x, DType dtype) {
  if (!x || x.dtype() == dtype) return x;
  return add(mil::cast{.x = x, .dtype = std::string(name(dtype))});
}
Value Lowering::wrap(Value x, Elem elem) {
  if (!is_narrow_integer(elem)) return x;
  const ElemInfo& info = elem_info(elem);
  double range = double(1u << info.bits), lowest = info.is_signed ? -range / 2 : 0;
  Value shifted = info.is_signed ? minus(x, lowest) : x;
  Value wrapped = add(mil::mod{.x = shifted, .y = number(x, range)});
  return info.is_signed ? plus(wrapped, lowest) : wrapped;
}

Result<Ints> Lowering::constant_ints(Value value, std::string_view what) const {
  auto known = value.integers();
  if (!known) {
    if (auto contents = value.contents()) {
      Ints all;
      for (Dim d : *contents) {
        if (!d.known()) break;
        all.push_back(d.value());
      }
      if (all.size() == contents->size()) return all;
    }
    Value folded = const_cast<Lowering*>(this)->as_constant(value);
    known = folded.integers();
  }
  POM_REQUIRE(known, "{} must be known before the model runs; here it is computed from the inputs", what);
  return *known;
}

Result<double> Lowering::constant_number(Value value, std::string_view what) const {
  auto known = value.number();
  if (!known) known = const_cast<Lowering*>(this)->as_constant(value).number();
  POM_REQUIRE(known, "{} must be known before the model runs; here it is computed from the inputs", what);
  return *known;
}

Result<std::size_t> Lowering::axis(std::int64_t axis, std::size_t rank) const {
  auto found = normal_axis(axis, rank);
  POM_REQUIRE(found, "axis {} is outside a tensor of rank {}", axis, rank);
  return *found;
}

}  // namespace pomona::onnx
