#include "ir/op.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/threads.h"

namespace pomona {

bool AttributeForm<Scalar>::set(Scalar& v, const Attribute& a) {
  if (auto* pair = std::get_if<Floats>(&a); pair && pair->size() == 2) {
    v = {DType(int((*pair)[0])), (*pair)[1]};
    return true;
  }
  return false;
}

namespace {

// Shape-like constants longer than this are data, not shapes.
constexpr std::size_t longest_contents = 1024;

std::optional<std::vector<Dim>> dims_of(const Tensor& tensor) {
  if (!is_integer(tensor.dtype()) && tensor.dtype() != DType::boolean) return {};
  if (tensor.rank() > 1 || tensor.is_list() || tensor.count() > longest_contents) return {};
  std::vector<Dim> dims;
  for (std::int64_t value : tensor.integers()) dims.push_back(value);
  return dims;
}

Result<Types> infer_const(const OpDef&, std::span<const Attribute>, std::span<const std::vector<Operand>>,
                          const At& at) {
  if (!at.node || !at.node->literal) return fail("a constant has no value");
  const Tensor* tensor = at.node->literal.in_memory();
  return Types{tensor ? tensor->type() : at.node->literal.type()};
}
Result<Tensors> eval_const(const OpDef&, std::span<const Attribute>, std::span<const std::vector<Operand>>,
                           const At& at) {
  return Tensors{POM_TRY(at.node->literal.materialise())};
}

}  // namespace

const OpDef& const_op() {
  static const RecordInfo empty;
  static const OpDef d = [] {
    OpDef d = detail::describe("const", "A tensor (or list, or string) stored with the program.", empty);
    d.structural = true;
    d.infer = infer_const;
    d.eval = eval_const;
    return d;
  }();
  return d;
}

std::optional<std::vector<Dim>> Operand::contents() const {
  if (tensor) return dims_of(*tensor);
  if (value) return value.contents();
  return {};
}

std::optional<std::vector<Dim>> Value::contents() const {
  if (const Weight* weight = literal()) {
    if (weight->sizes().size() > 1 || weight->count() > longest_contents || is_float(weight->dtype())) return {};
    auto tensor = weight->materialise();
    if (!tensor) return {};
    return dims_of(*tensor);
  }
  return info_->contents;
}

OpDef detail::describe(std::string_view name, std::string_view doc, const RecordInfo& record) {
  OpDef d{};
  d.name = name;
  d.doc = doc;
  d.record = &record;
  for (std::size_t i = 0; i < record.fields.size(); ++i) {
    const FieldInfo* field = record.fields[i];
    (field->kind == FieldInfo::Kind::input ? d.inputs : d.attributes).push_back(field);
  }
  return d;
}

std::optional<std::size_t> OpDef::input_index(std::string_view field) const {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i]->name == field) return i;
  return {};
}
std::optional<std::size_t> OpDef::attribute_index(std::string_view field) const {
  for (std::size_t i = 0; i < attributes.size(); ++i)
    if (attributes[i]->name == field) return i;
  return {};
}

std::vector<Target> OpDef::versions() const {
  std::set<Target> found{since};
  found.insert(revised.begin(), revised.end());
  auto domain = [&](const TypeVar& var) {
    for (int t = 0; t < 5; ++t)
      if (var.domain.since[t]) found.insert(Target(t + 1));
    if (var.split != never) found.insert(var.split);
  };
  for (const FieldInfo* field : inputs) {
    const InputRule& r = rule(field);
    found.insert(r.since);
    if (r.constant_until != never) found.insert(r.constant_until);
    domain(r.var);
  }
  for (const FieldInfo* field : attributes) {
    const AttributeRule& r = attribute_rule(field);
    found.insert(r.since);
    domain(r.var);
  }
  std::erase_if(found, [&](Target t) { return t < since || (until != never && t >= until); });
  return {found.begin(), found.end()};
}

void OpDef::fill(void* op, std::span<const Attribute> values, std::span<const std::vector<Operand>> operands) const {
  std::size_t next_input = 0, next_attribute = 0;
  for (std::size_t i = 0; i < record->fields.size(); ++i) {
    const FieldInfo* field = record->fields[i];
    if (field->kind == FieldInfo::Kind::attribute) {
      const Attribute& value = values[next_attribute++];
      field->set(record->at(op, i), value);
    } else if (rule(field).presence == Presence::variadic) {
      static_cast<VariadicField&>(record->at(op, i)).operands_ = operands[next_input++];
    } else {
      const std::vector<Operand>& operand = operands[next_input++];
      static_cast<InputField&>(record->at(op, i)).operand_ = operand.empty() ? Operand() : operand[0];
    }
  }
}

void OpDef::take(const void* op, std::vector<Attribute>& values, Values& operands,
                 std::vector<std::uint32_t>& counts) const {
  for (std::size_t i = 0; i < record->fields.size(); ++i) {
    const FieldInfo* field = record->fields[i];
    if (field->kind == FieldInfo::Kind::attribute) {
      values.push_back(field->get(record->at(op, i)));
    } else if (rule(field).presence == Presence::variadic) {
      const auto& tuple = static_cast<const VariadicField&>(record->at(op, i));
      for (std::size_t k = 0; k < tuple.size(); ++k) operands.push_back(tuple[k].value);
      counts.push_back(std::uint32_t(tuple.size()));
    } else {
      Value value = static_cast<const InputField&>(record->at(op, i)).operand_.value;
      if (value) operands.push_back(value);
      counts.push_back(value ? 1 : 0);
    }
  }
}

namespace {

std::string accepted_names(const TypeVar& var, Target opset) {
  std::string names;
  for (std::size_t d = 0; d < dtype_count; ++d)
    if (var.domain.accepts(DType(d), opset)) names += (names.empty() ? "" : ", ") + std::string(name(DType(d)));
  return names;
}

Status check_operand(const FieldInfo* field, const Operand& operand, Target opset,
                     std::map<char, std::pair<DType, std::string_view>>& bound) {
  const InputRule& rule = OpDef::rule(field);
  const Type& type = operand.type ? *operand.type : operand.value.type();
  bool any_kind = rule.var.id == '*';
  POM_REQUIRE(any_kind || type.kind == rule.kind, "input '{}' is a {}", field->name, type.text());
  if (rule.kind != Type::Kind::tensor || any_kind) return {};
  POM_REQUIRE(rule.var.domain.accepts(type.dtype, opset), "input '{}' is {}, but {} accepts only {}", field->name,
              name(type.dtype), name(opset), accepted_names(rule.var, opset));
  char variable = rule.var.at(opset);
  if (variable == 0) return {};
  auto [at, fresh] = bound.try_emplace(variable, type.dtype, field->name);
  POM_REQUIRE(fresh || at->second.first == type.dtype, "input '{}' is {}, but input '{}' is {}; they must be equal",
              field->name, name(type.dtype), at->second.second, name(at->second.first));
  return {};
}

}  // namespace

Status check_call(const OpDef& op, std::span<const Attribute> attributes,
                  std::span<const std::vector<Operand>> operands, Target opset) {
  POM_REQUIRE(op.since <= opset, "op '{}' needs {}, but the function is for {}", op.name, name(op.since), name(opset));
  std::map<char, std::pair<DType, std::string_view>> bound;
  for (std::size_t i = 0; i < op.inputs.size(); ++i) {
    const InputRule& rule = OpDef::rule(op.inputs[i]);
    if (operands[i].empty()) {
      POM_REQUIRE(rule.presence != Presence::required, "input '{}' is missing", op.inputs[i]->name);
      continue;
    }
    POM_REQUIRE(rule.since <= opset, "input '{}' needs {}, but the function is for {}", op.inputs[i]->name,
                name(rule.since), name(opset));
    for (const Operand& operand : operands[i]) POM_TRY(check_operand(op.inputs[i], operand, opset, bound));
  }
  for (std::size_t i = 0; i < op.attributes.size(); ++i) {
    const AttributeRule& rule = OpDef::attribute_rule(op.attributes[i]);
    if (rule.required) POM_REQUIRE(attributes[i].index() != 0, "input '{}' is missing", op.attributes[i]->name);
    if (rule.since > opset)
      POM_REQUIRE(attributes[i] == op.defaults[i], "input '{}' needs {}, but the function is for {}",
                  op.attributes[i]->name, name(rule.since), name(opset));
  }
  return {};
}

Result<Types> infer_types(const OpDef& op, std::span<const Attribute> attributes,
                          std::span<const std::vector<Operand>> operands, const At& at) {
  POM_TRY(check_call(op, attributes, operands, at.opset));
  return op.infer(op, attributes, operands, at);
}

Target oldest_target(const Node& node) {
  const OpDef& op = *node.op;
  Target oldest = std::max(iOS15, op.since);
  for (std::size_t i = 0; i < op.inputs.size(); ++i) {
    const InputRule& rule = OpDef::rule(op.inputs[i]);
    for (Value value : node.inputs_of(i)) {
      oldest = std::max(oldest, rule.since);
      if (value.type().kind != Type::Kind::tensor) continue;
      for (int t = 0; t < 5; ++t)
        if (rule.var.domain.since[t] >> unsigned(value.dtype()) & 1) oldest = std::max(oldest, Target(t + 1));
      if (rule.constant && rule.constant_until != never && !value.is_weight())
        oldest = std::max(oldest, rule.constant_until);
    }
  }
  for (std::size_t i = 0; i < op.attributes.size(); ++i)
    if (!(node.attributes[i] == op.defaults[i]))
      oldest = std::max(oldest, OpDef::attribute_rule(op.attributes[i]).since);
  return oldest;
}

std::vector<std::vector<Operand>> operands_of(const Node& node) {
  std::vector<std::vector<Operand>> operands;
  std::size_t next = 0;
  for (std::uint32_t count : node.counts()) {
    std::vector<Operand>& field = operands.emplace_back();
    for (std::uint32_t k = 0; k < count; ++k) {
      Value value = node.inputs()[next++];
      const Weight* weight = value.literal();
      field.push_back({value, &value.type(), weight ? weight->in_memory() : nullptr});
    }
  }
  return operands;
}

Result<Shape> broadcast(const Shape& a, const Shape& b) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape result = longer;
  std::size_t offset = longer.size() - shorter.size();
  for (std::size_t i = 0; i < shorter.size(); ++i) {
    Dim x = longer[offset + i], y = shorter[i];
    if (y == 1 || x == y) continue;
    if (x == 1) {
      result[offset + i] = y;
      continue;
    }
    POM_REQUIRE(!x.known() || !y.known(), "cannot broadcast {} with {}", to_string(a), to_string(b));
    // One side is known and not 1: the other must equal it (or be 1). Two unknowns: either is as good.
    if (y.known()) result[offset + i] = y;
  }
  return result;
}

Result<Types> infer_broadcast(std::span<const std::vector<Operand>> operands, std::optional<DType> result) {
  Shape shape;
  std::optional<DType> dtype = result;
  for (const auto& field : operands)
    for (const Operand& operand : field) {
      const Type& type = operand.type ? *operand.type : operand.value.type();
      shape = POM_TRY(broadcast(shape, type.shape));
      if (!dtype) dtype = type.dtype;
    }
  return Types{tensor_type(*dtype, std::move(shape))};
}

namespace {

// Reads elements of a broadcast operand in the order of the result.
struct BroadcastReader {
  const Tensor* tensor;
  Sizes strides;  // of the operand along the result's axes, 0 where it is broadcast
  bool contiguous;

  BroadcastReader(const Tensor& t, const Sizes& result)
      : tensor(&t), strides(result.size(), 0), contiguous(t.sizes() == result) {
    Sizes own = strides_of(t.sizes());
    std::size_t offset = result.size() - t.rank();
    for (std::size_t i = 0; i < t.rank(); ++i) strides[offset + i] = t.sizes()[i] == 1 ? 0 : own[i];
  }
  template <class T>
  void read(std::size_t begin, std::span<T> out, const Sizes& result) const {
    if (contiguous && std::is_same_v<T, double>) {
      if constexpr (std::is_same_v<T, double>) tensor->read_numbers(begin, out);
      return;
    }
    Sizes index(result.size());
    std::size_t rest = begin;
    std::int64_t at = 0;
    for (std::size_t d = result.size(); d-- > 0;) {
      index[d] = std::int64_t(rest % std::size_t(result[d]));
      rest /= std::size_t(result[d]);
      at += index[d] * strides[d];
    }
    for (T& value : out) {
      value = T(tensor->number(std::size_t(at)));
      for (std::size_t d = result.size(); d-- > 0;) {
        at += strides[d];
        if (++index[d] < result[d]) break;
        at -= strides[d] * result[d];
        index[d] = 0;
      }
    }
  }
};

constexpr std::size_t chunk_elements = 512, most_operands = 4;

template <class T>
void map_chunks(std::span<const BroadcastReader> readers, const Sizes& sizes, Tensor& out,
                T (*f)(const T*, const void*), const void* op) {
  std::size_t count = std::size_t(element_count(sizes));
  out.mutable_data();
  parallel_for((count + chunk_elements - 1) / chunk_elements, 16, [&](std::size_t first, std::size_t last) {
    T columns[most_operands][chunk_elements];
    double results[chunk_elements];
    for (std::size_t chunk = first; chunk < last; ++chunk) {
      std::size_t begin = chunk * chunk_elements, length = std::min(chunk_elements, count - begin);
      for (std::size_t k = 0; k < readers.size(); ++k) readers[k].read(begin, std::span<T>(columns[k], length), sizes);
      for (std::size_t i = 0; i < length; ++i) {
        T x[most_operands];
        for (std::size_t k = 0; k < readers.size(); ++k) x[k] = columns[k][i];
        results[i] = double(f(x, op));
      }
      for (std::size_t i = 0; i < length; ++i) out.set_number(begin + i, results[i]);
    }
  });
}

}  // namespace

Result<Tensors> eval_broadcast(std::span<const std::vector<Operand>> operands, const ElementwiseFunction& f,
                               const void* op, DType result) {
  Shape shape;
  std::vector<const Tensor*> tensors;
  for (const auto& field : operands)
    for (const Operand& operand : field) {
      tensors.push_back(operand.tensor);
      shape = POM_TRY(broadcast(shape, operand.tensor->shape()));
    }
  Tensor out(result, known_sizes(shape));
  std::vector<BroadcastReader> readers;
  bool floats = false;
  for (const Tensor* tensor : tensors) {
    readers.emplace_back(*tensor, out.sizes());
    floats = floats || is_float(tensor->dtype());
  }
  if (floats)
    map_chunks<double>(readers, out.sizes(), out, f.on_doubles, op);
  else
    map_chunks<std::int64_t>(readers, out.sizes(), out, f.on_integers, op);
  return Tensors{std::move(out)};
}

}  // namespace pomona
