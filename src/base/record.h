// Records: plain structs of named fields that the program can read.
//
// A field is a member whose type derives from Field and carries a FieldInfo: its name, whether it may be absent, and
// how to read and write its value as an Attribute. One struct thus yields defaults, parsing, printing, help, and an
// error for every name it does not have. Op structs, ONNX rules, pass and compression options are all records.
//
//   struct Options {
//     POM_OPTION(nbits, int, "bits per index") = 4;
//     POM_OPTION(mode, std::string, "kmeans, uniform or unique") = "kmeans";
//   };
//   record_of<Options>().fields           -> {name "nbits", offset ...}, ...
//   set_fields(options, {{"nbits", 6}})   -> error for a name that no field has
//
// How the fields are found: while record_of<R>() constructs one R, each Field's constructor notes its own address;
// the differences to the struct's address are the offsets. No macro lists the members a second time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"

namespace pomona {

using Ints = std::vector<std::int64_t>;
using Floats = std::vector<double>;
using Strings = std::vector<std::string>;
// The value of a field that is not a tensor; monostate means absent.
using Attribute = std::variant<std::monostate, bool, std::int64_t, double, std::string, Ints, Floats, Strings>;
std::string to_string(const Attribute& attribute);

template <std::size_t N>
struct Name {
  char text[N]{};
  consteval Name(const char (&s)[N]) {
    for (std::size_t i = 0; i < N; ++i) text[i] = s[i];
  }
  constexpr std::string_view view() const { return {text, N - 1}; }
};

// Which attributes a field takes, so that a reader of files can make one of what the file has.
enum class Holds : std::uint8_t { any, boolean, int32, integer, real, text, integers, reals, texts, scalar };

class Field;
struct FieldInfo {
  std::string_view name;
  std::string_view doc;
  enum class Kind : std::uint8_t { attribute, input } kind;  // inputs hold IR values and have no Attribute form
  Attribute (*get)(const Field&);
  bool (*set)(Field&, const Attribute&);  // false when the attribute has another type
  const void* detail;                     // what the layer that declares the field adds (dtypes, versions)
  Holds holds = Holds::any;
};

class Field {
 public:
  const FieldInfo& info() const { return *info_; }

 protected:
  explicit Field(const FieldInfo* info) : info_(info) {
    if (recorder) recorder->push_back(this);
  }
  Field(const Field&) = default;
  Field& operator=(const Field&) { return *this; }

 private:
  friend struct RecordInfo;
  inline static thread_local std::vector<const Field*>* recorder = nullptr;
  const FieldInfo* info_;
};

struct RecordInfo {
  std::vector<std::size_t> offsets;
  std::vector<const FieldInfo*> fields;

  const Field& at(const void* record, std::size_t i) const {
    return *reinterpret_cast<const Field*>(static_cast<const char*>(record) + offsets[i]);
  }
  Field& at(void* record, std::size_t i) const {
    return *reinterpret_cast<Field*>(static_cast<char*>(record) + offsets[i]);
  }
  template <class R>
  static RecordInfo make() {
    std::vector<const Field*> found;
    auto* outer = std::exchange(Field::recorder, &found);
    R record{};
    Field::recorder = outer;
    RecordInfo info;
    for (const Field* field : found) {
      info.offsets.push_back(
          std::size_t(reinterpret_cast<const char*>(field) - reinterpret_cast<const char*>(&record)));
      info.fields.push_back(&field->info());
    }
    return info;
  }
};

template <class R>
const RecordInfo& record_of() {
  static const RecordInfo info = RecordInfo::make<R>();
  return info;
}

// How each C++ type of a field's value reads and writes as an Attribute. A layer may specialise it for its own types.
template <class V>
struct AttributeForm;
template <class V>
constexpr Holds holds() {
  if constexpr (requires { AttributeForm<V>::holds; })
    return AttributeForm<V>::holds;
  else
    return Holds::any;
}

template <Name N, class V, Name Doc = "">
class Option : public Field {
 public:
  V value{};
  Option() : Field(&own_info) {}
  template <class U>
    requires(!std::derived_from<std::remove_cvref_t<U>, Field> && std::convertible_to<U, V>)
  Option(U&& u) : Field(&own_info), value(std::forward<U>(u)) {}
  operator const V&() const { return value; }
  const V& operator*() const { return value; }
  const V* operator->() const { return &value; }

 private:
  static Attribute get(const Field& f) { return AttributeForm<V>::get(static_cast<const Option&>(f).value); }
  static bool set(Field& f, const Attribute& a) { return AttributeForm<V>::set(static_cast<Option&>(f).value, a); }
  static constexpr FieldInfo own_info{N.view(), Doc.view(), FieldInfo::Kind::attribute, get, set, nullptr, holds<V>()};
};
#define POM_OPTION(name, type, doc) ::pomona::Option<#name, type, doc> name

template <>
struct AttributeForm<bool> {
  static constexpr Holds holds = Holds::boolean;
  static Attribute get(bool v) { return v; }
  static bool set(bool& v, const Attribute& a);
};
template <>
struct AttributeForm<std::int64_t> {
  static constexpr Holds holds = Holds::integer;
  static Attribute get(std::int64_t v) { return v; }
  static bool set(std::int64_t& v, const Attribute& a);
};
template <>
struct AttributeForm<int> {
  static constexpr Holds holds = Holds::int32;
  static Attribute get(int v) { return std::int64_t(v); }
  static bool set(int& v, const Attribute& a);  // false when out of range, too
};
template <>
struct AttributeForm<double> {
  static constexpr Holds holds = Holds::real;
  static Attribute get(double v) { return v; }
  static bool set(double& v, const Attribute& a);  // an integer is taken as well
};
template <>
struct AttributeForm<float> {
  static constexpr Holds holds = Holds::real;
  static Attribute get(float v) { return double(v); }
  static bool set(float& v, const Attribute& a);
};
template <>
struct AttributeForm<std::string> {
  static constexpr Holds holds = Holds::text;
  static Attribute get(const std::string& v) { return v; }
  static bool set(std::string& v, const Attribute& a);
};
template <>
struct AttributeForm<Ints> {
  static constexpr Holds holds = Holds::integers;
  static Attribute get(const Ints& v) { return v; }
  static bool set(Ints& v, const Attribute& a);  // a single integer is a list of one
};
template <>
struct AttributeForm<Floats> {
  static constexpr Holds holds = Holds::reals;
  static Attribute get(const Floats& v) { return v; }
  static bool set(Floats& v, const Attribute& a);
};
template <>
struct AttributeForm<Strings> {
  static constexpr Holds holds = Holds::texts;
  static Attribute get(const Strings& v) { return v; }
  static bool set(Strings& v, const Attribute& a);
};
// A list of integers, or of strings: class labels, sizes of which some are names.
using IntsOrStrings = std::variant<Ints, Strings>;
template <>
struct AttributeForm<IntsOrStrings> {
  static Attribute get(const IntsOrStrings& v) {
    return std::visit([](const auto& list) -> Attribute { return list; }, v);
  }
  static bool set(IntsOrStrings& v, const Attribute& a);
};
template <class V>
struct AttributeForm<std::optional<V>> {
  static constexpr Holds holds = pomona::holds<V>();
  static Attribute get(const std::optional<V>& v) { return v ? AttributeForm<V>::get(*v) : Attribute(); }
  static bool set(std::optional<V>& v, const Attribute& a) {
    v.reset();
    return a.index() == 0 || AttributeForm<V>::set(v.emplace(), a);
  }
};

// Sets the named fields of a record; an error names an unknown field (with the nearest known one) or a wrong type.
Status set_fields_erased(const RecordInfo& info, void* record, const std::map<std::string, Attribute>& values);
template <class R>
Status set_fields(R& record, const std::map<std::string, Attribute>& values) {
  return set_fields_erased(record_of<R>(), &record, values);
}
// The known word nearest to `word` by edit distance, or empty when none is near.
std::string nearest_word(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace pomona
