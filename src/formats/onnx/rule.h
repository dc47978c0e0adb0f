// The language of ONNX lowering rules. A rule is a struct whose fields are the node's inputs (in ONNX's order) and
// attributes (with ONNX's names and defaults), and whose lower() says what the node becomes:
//
//   struct LeakyRelu {
//     ONNX_IN(X);
//     ONNX_ATTR(alpha, float) = 0.01f;
//     Status lower(Lowering& g) const { return g.result(g.add(mil::leaky_relu{.x = X, .alpha = alpha})); }
//   };
//   {rule<LeakyRelu>("LeakyRelu", 6)}      // its line in the chapter's list: valid from operator set 6 on
//
// A field says since when or until when (exclusive) it exists: ONNX_ATTR(axes, Ints, .until = 13). The driver fills the
// fields; an attribute or input that no field declares at the model's operator set is an error. An operator whose
// meaning changed entirely has one struct per meaning. All rules together are the coverage table: all_rules().
#pragma once
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "formats/onnx/element.h"
#include "formats/onnx/proto.h"
#include "ir/program.h"

namespace pomona::onnx {

class Lowering;

// What a name in an ONNX graph stands for: a tensor, or a sequence of which each item is known by itself.
// Of a classifier's label, or of the map from labels to scores that ZipMap makes. Core ML's programs have no strings
// and no maps but at a classifier's end.
struct NamedClasses {
  std::vector<std::int64_t> ints;
  std::vector<std::string> strings;
  Value scores;       // [N, classes], the greatest of which belongs to the label
  bool made = false;  // the scores are 1 for the label's class and 0 for others; those of the model are not like that
};
struct Entry {
  Value value;
  Elem elem = Elem::undefined;
  bool absent = false;  // an optional input that was not given; else an empty entry is a node that was refused
  std::shared_ptr<const std::vector<Entry>> items = {};  // of a sequence
  std::shared_ptr<const NamedClasses> classes = {};      // `value` has each row's class (of a label), or its scores
  bool is_text() const { return classes && elem != Elem::int64; }
  explicit operator bool() const { return bool(value) || items; }
};

// A node with its inputs looked up and its attributes resolved; what rules are filled from.
struct NodeCall {
  const NodeProto* proto = nullptr;
  std::vector<Entry> inputs;
  std::vector<AttributeProto> attributes;
  std::string source;  // "ONNX Conv '/stem/Conv'"
};

struct FieldRule {
  enum class Kind : std::uint8_t { attribute, input, variadic, tensor, graph, type } kind = Kind::attribute;
  int since = 1, until = 1 << 30;  // operator sets [since, until)
  bool sequence = false;           // an input that may be a sequence
  bool required = false;
};

class InputField : public Field, public Value {
 public:
  Elem elem() const { return entry_.elem; }
  const Entry& entry() const { return entry_; }
  Value operator*() const { return *this; }
  void set(const Entry& entry) {
    static_cast<Value&>(*this) = entry.value;
    entry_ = entry;
  }

 protected:
  using Field::Field;

 private:
  Entry entry_;
};
class VariadicField : public Field {
 public:
  std::vector<Entry> entries;
  std::size_t size() const { return entries.size(); }
  Value operator[](std::size_t i) const { return entries[i].value; }
  Values values() const {
    Values all;
    for (const Entry& entry : entries) all.push_back(entry.value);
    return all;
  }

 protected:
  using Field::Field;
};
class TensorField : public Field {
 public:
  const TensorProto* proto = nullptr;
  explicit operator bool() const { return proto != nullptr; }

 protected:
  using Field::Field;
};
// An attribute that says a type, which what it is about says, too.
class TypeField : public Field {
 protected:
  using Field::Field;
};
class GraphField : public Field {
 public:
  const GraphProto* proto = nullptr;
  explicit operator bool() const { return proto != nullptr; }

 protected:
  using Field::Field;
};

template <class Base, Name N, FieldRule R>
class Declared : public Base {
 public:
  Declared() : Base(&own_info) {}

 private:
  static constexpr FieldRule rule = R;
  static constexpr FieldInfo own_info{N.view(), {}, FieldInfo::Kind::input, nullptr, nullptr, &rule};
};
template <Name N, class V, FieldRule R>
class RuleAttribute : public Field {
 public:
  V value{};
  RuleAttribute() : Field(&own_info) {}
  template <class U>
    requires(!std::derived_from<std::remove_cvref_t<U>, Field> && std::convertible_to<U, V>)
  RuleAttribute(U&& u) : Field(&own_info), value(std::forward<U>(u)) {}
  operator const V&() const { return value; }
  const V& operator*() const { return value; }
  const V* operator->() const { return &value; }

 private:
  static bool set(Field& f, const Attribute& a) {
    V& value = static_cast<RuleAttribute&>(f).value;
    if constexpr (std::is_same_v<V, bool>) {
      // ONNX has no booleans among attributes: 0 and 1 stand for them.
      auto* number = std::get_if<std::int64_t>(&a);
      if (number) value = *number != 0;
      return number && (*number == 0 || *number == 1);
    } else {
      return AttributeForm<V>::set(value, a);
    }
  }
  static constexpr FieldRule rule = R;
  static constexpr FieldInfo own_info{N.view(), {}, FieldInfo::Kind::attribute, nullptr, set, &rule};
};

#define ONNX_IN(name, ...)                                                                                \
  ::pomona::onnx::Declared<::pomona::onnx::InputField, #name,                                             \
                           ::pomona::onnx::FieldRule{                                                     \
                               .kind = ::pomona::onnx::FieldRule::Kind::input __VA_OPT__(, ) __VA_ARGS__, \
                               .required = true}>                                                         \
      name
#define ONNX_OPTIONAL(name, ...)                                                                                   \
  ::pomona::onnx::Declared<::pomona::onnx::InputField, #name,                                                      \
                           ::pomona::onnx::FieldRule{.kind = ::pomona::onnx::FieldRule::Kind::input __VA_OPT__(, ) \
                                                         __VA_ARGS__}>                                             \
      name
#define ONNX_VARIADIC(name, ...)                                                                                      \
  ::pomona::onnx::Declared<::pomona::onnx::VariadicField, #name,                                                      \
                           ::pomona::onnx::FieldRule{.kind = ::pomona::onnx::FieldRule::Kind::variadic __VA_OPT__(, ) \
                                                         __VA_ARGS__}>                                                \
      name
#define ONNX_TYPE(name)                                                                              \
  ::pomona::onnx::Declared<::pomona::onnx::TypeField, #name,                                         \
                           ::pomona::onnx::FieldRule{.kind = ::pomona::onnx::FieldRule::Kind::type}> \
      name
#define ONNX_ATTR(name, type, ...) \
  ::pomona::onnx::RuleAttribute<#name, type, ::pomona::onnx::FieldRule{__VA_ARGS__}> name
#define ONNX_TENSOR(name, ...)                                                                                      \
  ::pomona::onnx::Declared<::pomona::onnx::TensorField, #name,                                                      \
                           ::pomona::onnx::FieldRule{.kind = ::pomona::onnx::FieldRule::Kind::tensor __VA_OPT__(, ) \
                                                         __VA_ARGS__}>                                              \
      name
#define ONNX_GRAPH(name)                                                                              \
  ::pomona::onnx::Declared<::pomona::onnx::GraphField, #name,                                         \
                           ::pomona::onnx::FieldRule{.kind = ::pomona::onnx::FieldRule::Kind::graph}> \
      name

// Fills a rule's fields from a node. Errors: an input or attribute is missing, unknown, or of another type.
Status fill_rule(const RecordInfo& record, void* rule, const NodeCall& call, int opset);

struct Rule {
  std::string_view op;
  int since = 1, until = 1 << 30;  // operator sets [since, until) of `domain`
  const RecordInfo& (*record)() = nullptr;
  Status (*lower)(Lowering& g, const NodeCall& call) = nullptr;
  std::string_view domain = {};  // "" is ai.onnx
};

int opset_of(const Lowering& g);

template <class R>
Rule rule(std::string_view op, int since = 1, int until = 1 << 30, std::string_view domain = {}) {
  return {op,
          since,
          until,
          &record_of<R>,
          [](Lowering& g, const NodeCall& call) -> Status {
            R fields{};
            POM_TRY(fill_rule(record_of<R>(), &fields, call, opset_of(g)));
            return fields.lower(g);
          },
          domain};
}
using Rules = std::vector<Rule>;

// Every rule of every chapter.
const Rules& all_rules();
// The rule for an operator at an operator set; null when there is none.
const Rule* find_rule(std::string_view domain, std::string_view op, std::int64_t opset);

Rules math_chapter();
Rules logical_chapter();
Rules activation_chapter();
Rules reduction_chapter();
Rules shape_chapter();
Rules generator_chapter();
Rules gather_scatter_chapter();
Rules matrix_chapter();
Rules attention_chapter();
Rules convolution_chapter();
Rules pooling_chapter();
Rules normalization_chapter();
Rules padding_chapter();
Rules resize_chapter();
Rules recurrent_chapter();
Rules quantization_chapter();
Rules spectral_chapter();
Rules loss_chapter();
Rules control_flow_chapter();
Rules sequence_chapter();
Rules sampling_chapter();
Rules selection_chapter();
Rules sequence_chapter();
Rules training_chapter();
Rules contrib_chapter();
Rules contrib_attention_chapter();
Rules contrib_plain_chapter();
Rules contrib_quantization_chapter();
Rules ml_chapter();
Rules ml_classifier_chapter();
Rules ml_svm_chapter();
Rules ml_tree_chapter();

}  // namespace pomona::onnx
