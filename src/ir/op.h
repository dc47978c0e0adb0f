// The op language. An op is one plain struct: its fields are its named inputs and attributes with their dtypes,
// defaults and the system version each appeared in; `infer` gives result types, `eval` its meaning.
//
//   struct leaky_relu {
//     static constexpr auto doc = "x where x >= 0, else alpha*x.";
//     static constexpr TypeVar T{'T', fp};
//     POM_IN(x, T);
//     POM_SCALAR(alpha, mixed(T, iOS17));
//     static double f(double x, double alpha) ...
//   };
//   const OpDef& d = def<mil::leaky_relu>();
//
// From the struct follow the builder (designated initialisers), the typed view of a node (view<Op>), verification,
// text form, serialisation and the oldest system a node needs. An op may declare
//   Result<Types> infer(const At&) const          result types from operand types (or `static constexpr auto f`)
//   Result<Tensors> eval(const At&) const         result tensors; slow, plain, right
//   std::optional<std::vector<Dim>> contents(const At&) const   elements of a shape-like result
//   static constexpr bool commutative, ...        see OpDef
// An elementwise op declares `arity` and `f`, a generic callable on double and std::int64_t; with them `infer` only
// when its result is not simply the first operand's dtype (or `result`) broadcast over all.
#pragma once
#include <array>
#include <optional>
#include <span>

#include "ir/program.h"

namespace pomona {

using enum Target;
using Types = std::vector<Type>;

// Which dtypes an input accepts, each since which target: a bit mask of dtypes per target that brought them.
struct Domain {
  std::uint32_t since[5]{};
  constexpr std::uint32_t up_to(Target opset) const {
    std::uint32_t mask = 0;
    for (int t = 0; t < int(opset); ++t) mask |= since[t];
    return mask;
  }
  constexpr bool accepts(DType d, Target opset) const { return up_to(opset) >> unsigned(d) & 1; }
  friend constexpr Domain operator|(Domain a, const Domain& b) {
    std::uint32_t seen = 0;
    for (int t = 0; t < 5; ++t) {
      a.since[t] = (a.since[t] | b.since[t]) & ~seen;
      seen |= a.since[t];
    }
    return a;
  }
};
constexpr Domain only(DType d) { return {{std::uint32_t(1) << unsigned(d)}}; }
constexpr Domain since(Target t, Domain d) {
  Domain r;
  r.since[int(t) - 1] = d.up_to(iOS26);
  return r;
}
namespace dtypes {
inline constexpr Domain fp16 = only(DType::fp16), fp32 = only(DType::fp32), i4 = only(DType::int4),
                        i8 = only(DType::int8), i16 = only(DType::int16), i32 = only(DType::int32),
                        u1 = only(DType::uint1), u2 = only(DType::uint2), u3 = only(DType::uint3),
                        u4 = only(DType::uint4), u6 = only(DType::uint6), u8 = only(DType::uint8),
                        u16 = only(DType::uint16), u32 = only(DType::uint32), boolean = only(DType::boolean),
                        string = only(DType::string), fp = fp16 | fp32, fp_i = fp | i32, fp_ib = fp_i | boolean,
                        small_ints = i8 | i16 | u8 | u16, all = fp_ib | small_ints,
                        any = all | u32 | i4 | u1 | u2 | u3 | u4 | u6 | string;
}  // namespace dtypes

// A dtype variable: inputs naming the same one have the same dtype. From `split` on (if set), the field has a
// variable `other` of its own instead.
struct TypeVar {
  char id;
  Domain domain;
  Target split = never;
  char other = 0;
  constexpr char at(Target opset) const { return split != never && opset >= split ? other : id; }
};
constexpr TypeVar mixed(TypeVar var, Target from, char other = 'U') {
  var.split = from;
  var.other = other;
  return var;
}

enum class Presence : std::uint8_t { required, optional, variadic };
struct InputRule {
  TypeVar var;
  Presence presence = Presence::required;
  bool constant = false;          // must be known when the model is loaded ...
  Target constant_until = never;  // ... up to but not including this target
  Target since = iOS15;
  Type::Kind kind = Type::Kind::tensor;
};
struct AttributeRule {
  TypeVar var{0, {}};         // floating attributes are written in this variable's dtype
  DType wire = DType::int32;  // dtype an integer is written in
  Target since = iOS15;
  enum class Form : std::uint8_t {
    scalar,
    vector,
    pairs,
    tuple
  } form = Form::scalar;  // pairs: [n, 2]; tuple: several bindings
  bool required = false;
  // Written as an inline value instead of through a const op (reshape_like's tuples, classify's labels).
  bool inline_value = false;
};

// An operand as infer and eval see it: its type now (concrete while evaluating), and its tensor when it has one.
struct Operand {
  Value value;
  const Type* type = nullptr;
  const Tensor* tensor = nullptr;
  std::optional<std::vector<Dim>> contents() const;
};

class InputField : public Field {
 public:
  explicit operator bool() const { return operand_.type || operand_.value; }
  operator Value() const { return operand_.value; }
  const Type& type() const { return operand_.type ? *operand_.type : operand_.value.type(); }
  const Shape& shape() const { return type().shape; }
  DType dtype() const { return type().dtype; }
  std::size_t rank() const { return type().shape.size(); }
  // While evaluating (or inferring with a constant): the elements. Concrete sizes of the operand.
  const Tensor& tensor() const { return *operand_.tensor; }
  const Sizes& sizes() const { return operand_.tensor->sizes(); }
  const Tensor* known() const { return operand_.tensor; }
  std::optional<std::vector<Dim>> contents() const { return operand_.contents(); }

 protected:
  using Field::Field;
  friend struct OpDef;
  Operand operand_;
};

class VariadicField : public Field {
 public:
  std::size_t size() const { return operands_.size(); }
  const Type& type(std::size_t i) const { return operands_[i].type ? *operands_[i].type : operands_[i].value.type(); }
  const Shape& shape(std::size_t i) const { return type(i).shape; }
  const Tensor& tensor(std::size_t i) const { return *operands_[i].tensor; }
  const Operand& operator[](std::size_t i) const { return operands_[i]; }

 protected:
  using Field::Field;
  friend struct OpDef;
  std::vector<Operand> operands_;
};

template <Name N, InputRule R>
class In : public InputField {
 public:
  In() : InputField(&own_info) {}
  In(Value v) : InputField(&own_info) { operand_.value = v; }

 private:
  static constexpr InputRule rule = R;
  static constexpr FieldInfo own_info{N.view(), {}, FieldInfo::Kind::input, nullptr, nullptr, &rule};
};
template <Name N, InputRule R>
class InTuple : public VariadicField {
 public:
  InTuple() : VariadicField(&own_info) {}
  InTuple(const Values& values) : VariadicField(&own_info) {
    for (Value v : values) operands_.push_back({v});
  }

 private:
  static constexpr InputRule rule = R;
  static constexpr FieldInfo own_info{N.view(), {}, FieldInfo::Kind::input, nullptr, nullptr, &rule};
};

// A number whose dtype matters (fill's value gives the result its dtype).
struct Scalar {
  DType dtype = DType::fp32;
  double value = 0;
};
template <>
struct AttributeForm<Scalar> {  // as Floats {dtype number, value}
  static constexpr Holds holds = Holds::scalar;
  static Attribute get(const Scalar& v) { return Floats{double(v.dtype), v.value}; }
  static bool set(Scalar& v, const Attribute& a);
};

template <Name N, class V, AttributeRule R>
class Attr : public Field {
 public:
  V value{};
  Attr() : Field(&own_info) {}
  template <class U>
    requires(!std::derived_from<std::remove_cvref_t<U>, Field> && std::convertible_to<U, V>)
  Attr(U&& u) : Field(&own_info), value(std::forward<U>(u)) {}
  // .strides = {2, 2}
  Attr(std::initializer_list<std::int64_t> list)
    requires std::same_as<V, Ints>
      : Field(&own_info), value(list) {}
  operator const V&() const { return value; }
  const V& operator*() const { return value; }
  const V* operator->() const { return &value; }

 private:
  static Attribute get(const Field& f) { return AttributeForm<V>::get(static_cast<const Attr&>(f).value); }
  static bool set(Field& f, const Attribute& a) { return AttributeForm<V>::set(static_cast<Attr&>(f).value, a); }
  static constexpr AttributeRule rule = R;
  static constexpr FieldInfo own_info{N.view(), {}, FieldInfo::Kind::attribute, get, set, &rule, holds<V>()};
};

// Inputs. The last arguments are designated initialisers of InputRule / AttributeRule: POM_IN(k, K, .since = iOS17).
#define POM_IN(name, ...) ::pomona::In<#name, ::pomona::InputRule{__VA_ARGS__}> name
#define POM_OPTIONAL(name, variable, ...)                                                                       \
  ::pomona::In<#name, ::pomona::InputRule{.var = variable,                                                      \
                                          .presence = ::pomona::Presence::optional __VA_OPT__(, ) __VA_ARGS__}> \
      name {}
#define POM_WEIGHT(name, variable, ...) \
  ::pomona::In<#name, ::pomona::InputRule{.var = variable, .constant = true __VA_OPT__(, ) __VA_ARGS__}> name
#define POM_OPTIONAL_WEIGHT(name, variable, ...)                                        \
  ::pomona::In<#name, ::pomona::InputRule{.var = variable,                              \
                                          .presence = ::pomona::Presence::optional,     \
                                          .constant = true __VA_OPT__(, ) __VA_ARGS__}> \
      name {}
#define POM_VARIADIC(name, variable, ...)                                                                            \
  ::pomona::InTuple<#name, ::pomona::InputRule{.var = variable,                                                      \
                                               .presence = ::pomona::Presence::variadic __VA_OPT__(, ) __VA_ARGS__}> \
      name
// Attributes: constants that belong to the node. POM_FLOAT is written in the dtype of a type variable.
#define POM_ATTR(name, type, ...) ::pomona::Attr<#name, type, ::pomona::AttributeRule{__VA_ARGS__}> name
#define POM_FLOAT(name, variable, ...) \
  ::pomona::Attr<#name, double, ::pomona::AttributeRule{.var = variable __VA_OPT__(, ) __VA_ARGS__}> name
#define POM_INTS(name, ...)                                                                                         \
  ::pomona::Attr<#name, ::pomona::Ints,                                                                             \
                 ::pomona::AttributeRule{.form = ::pomona::AttributeRule::Form::vector __VA_OPT__(, ) __VA_ARGS__}> \
      name

// Runs blocks and holds states while evaluating; infer has none of it.
class Interpreter {
 public:
  virtual Result<Tensors> run(const Block& block, std::span<const Tensor> arguments) = 0;
  virtual Tensor& state(Value state) = 0;
  virtual std::uint64_t random() = 0;

 protected:
  ~Interpreter() = default;
};
struct At {
  Target opset = iOS18;
  const Node* node = nullptr;  // for blocks; null while checking a lone op
  Interpreter* interpreter = nullptr;
};

struct OpDef {
  std::string_view name, doc;
  const RecordInfo* record;
  std::vector<const FieldInfo*> inputs, attributes;  // in declaration order
  Target since = iOS15, until = never;               // `until`: another struct has the name from that target on
  std::vector<Target> revised;                       // class versions that change meaning but no field
  bool commutative = false;
  bool elementwise = false;   // result element i depends on elements i of the (broadcast) operands only
  bool side_effects = false;  // must run in order, even when nobody uses its results
  bool constexpr_op = false;  // decodes a weight
  bool random = false;        // gives another result each time
  bool structural = false;    // const: has no fields, its literal is on the node
  Result<Types> (*infer)(const OpDef&, std::span<const Attribute>, std::span<const std::vector<Operand>>, const At&);
  Result<Tensors> (*eval)(const OpDef&, std::span<const Attribute>, std::span<const std::vector<Operand>>,
                          const At&) = nullptr;
  std::optional<std::vector<Dim>> (*contents)(const OpDef&, std::span<const Attribute>,
                                              std::span<const std::vector<Operand>>, const At&) = nullptr;

  static const InputRule& rule(const FieldInfo* input) { return *static_cast<const InputRule*>(input->detail); }
  static const AttributeRule& attribute_rule(const FieldInfo* a) {
    return *static_cast<const AttributeRule*>(a->detail);
  }
  std::optional<std::size_t> input_index(std::string_view field) const;
  std::optional<std::size_t> attribute_index(std::string_view field) const;
  // Class versions: the targets at which something about the op changes.
  std::vector<Target> versions() const;

  // Fills an op struct from a node's parts; and takes a struct apart.
  void fill(void* op, std::span<const Attribute> attributes, std::span<const std::vector<Operand>> operands) const;
  void take(const void* op, std::vector<Attribute>& attributes, Values& inputs,
            std::vector<std::uint32_t>& counts) const;

  std::vector<Attribute> defaults;  // one per attribute field
};

// Field-level checks that the declarations promise: presence, dtypes, equal variables, constants. For one call.
Status check_call(const OpDef& op, std::span<const Attribute> attributes,
                  std::span<const std::vector<Operand>> operands, Target opset);
// The oldest target this node's op, inputs and attributes need.
Target oldest_target(const Node& node);
// infer / eval through the table, with the field checks of check_call before infer.
Result<Types> infer_types(const OpDef& op, std::span<const Attribute> attributes,
                          std::span<const std::vector<Operand>> operands, const At& at);
std::vector<std::vector<Operand>> operands_of(const Node& node);

// Elementwise machinery: the shape all inputs broadcast to, and applying f with broadcasting.
Result<Types> infer_broadcast(std::span<const std::vector<Operand>> operands, std::optional<DType> result = {});
Result<Shape> broadcast(const Shape& a, const Shape& b);
struct ElementwiseFunction {
  double (*on_doubles)(const double* x, const void* op);
  std::int64_t (*on_integers)(const std::int64_t* x, const void* op);
};
Result<Tensors> eval_broadcast(std::span<const std::vector<Operand>> operands, const ElementwiseFunction& f,
                               const void* op, DType result);

template <class R>
consteval std::string_view type_name() {
  std::string_view s = __PRETTY_FUNCTION__;
  std::size_t a = s.find("R = ") + 4;
  s = s.substr(a, s.find_first_of(";]", a) - a);
  return s.substr(s.rfind(':') + 1);
}

namespace detail {
template <class Op>
Op view_of(const OpDef& d, std::span<const Attribute> attributes, std::span<const std::vector<Operand>> operands) {
  Op op{};
  d.fill(&op, attributes, operands);
  return op;
}
template <class Op>
concept HasResult = requires { Op::result; };

template <class Op, class T, std::size_t... I>
auto call(const T* x, const Op& op, std::index_sequence<I...>) {
  if constexpr (requires { op.f(x[I]...); })
    return op.f(x[I]...);
  else
    return T(0);  // an op that has no meaning on this kind of number; its type variable keeps it from coming here
}
template <class Op>
Result<Types> elementwise_infer(const OpDef&, std::span<const Attribute>,
                                std::span<const std::vector<Operand>> operands, const At&) {
  if constexpr (HasResult<Op>)
    return infer_broadcast(operands, Op::result);
  else
    return infer_broadcast(operands);
}
template <class Op, std::size_t Inputs>
Result<Tensors> elementwise_eval(const OpDef& d, std::span<const Attribute> a, std::span<const std::vector<Operand>> o,
                                 const At& at) {
  Op op = view_of<Op>(d, a, o);
  ElementwiseFunction f{[](const double* x, const void* p) {
                          return double(call(x, *static_cast<const Op*>(p), std::make_index_sequence<Inputs>()));
                        },
                        [](const std::int64_t* x, const void* p) {
                          return std::int64_t(call(x, *static_cast<const Op*>(p), std::make_index_sequence<Inputs>()));
                        }};
  auto types = d.infer(d, a, o, at);
  if (!types) return std::move(types).error();
  return eval_broadcast(o, f, &op, (*types)[0].dtype);
}
OpDef describe(std::string_view name, std::string_view doc, const RecordInfo& record);
}  // namespace detail

// How many arguments an elementwise op's f takes: its input fields, unless it says otherwise.
template <class Op>
concept Elementwise = requires { Op::arity; };

template <class Op>
const OpDef& def() {
  static const OpDef d = [] {
    OpDef d = detail::describe(type_name<Op>(), Op::doc, record_of<Op>());
    if constexpr (requires { Op::mil_name; }) d.name = Op::mil_name;
    if constexpr (requires { Op::commutative; }) d.commutative = Op::commutative;
    if constexpr (requires { Op::side_effects; }) d.side_effects = Op::side_effects;
    if constexpr (requires { Op::random; }) d.random = Op::random;
    if constexpr (requires { Op::from; }) d.since = Op::from;
    if constexpr (requires { Op::until; }) d.until = Op::until;
    if constexpr (requires { Op::revised; }) d.revised.assign(std::begin(Op::revised), std::end(Op::revised));
    d.constexpr_op = d.name.starts_with("constexpr_");
    Op fresh{};
    Values no_inputs;
    std::vector<std::uint32_t> no_counts;
    d.take(&fresh, d.defaults, no_inputs, no_counts);
    if constexpr (requires(const Op& op, const At& at) { op.infer(at); })
      d.infer = [](const OpDef& d, std::span<const Attribute> a, std::span<const std::vector<Operand>> o,
                   const At& at) -> Result<Types> { return detail::view_of<Op>(d, a, o).infer(at); };
    else
      d.infer = &detail::elementwise_infer<Op>;
    if constexpr (Elementwise<Op>) {
      d.elementwise = true;
      d.eval = &detail::elementwise_eval<Op, Op::arity>;
    } else {
      d.eval = [](const OpDef& d, std::span<const Attribute> a, std::span<const std::vector<Operand>> o,
                  const At& at) -> Result<Tensors> { return detail::view_of<Op>(d, a, o).eval(at); };
    }
    if constexpr (requires(const Op& op, const At& at) { op.contents(at); })
      d.contents = [](const OpDef& d, std::span<const Attribute> a, std::span<const std::vector<Operand>> o,
                      const At& at) { return detail::view_of<Op>(d, a, o).contents(at); };
    return d;
  }();
  return d;
}

// The node as its op's struct. The node must be of that op.
template <class Op>
Op view(const Node& node) {
  return detail::view_of<Op>(*node.op, node.attributes, operands_of(node));
}
template <class Op>
bool is(const Node* node) {
  return node && node->op == &def<Op>();
}

// The ops of a chapter, in the order they are named.
template <class... Ops>
std::vector<const OpDef*> op_list() {
  return {&def<Ops>()...};
}

// The one op the IR itself knows: a node with a literal and no inputs.
const OpDef& const_op();

}  // namespace pomona
