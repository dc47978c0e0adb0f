// Values of templates, with Python's meanings: truth, equality, text, JSON.
//
//   Value list = Value::list_of({Value(1), Value("a")});
//   text_of(list)       -> "[1, 'a']"
//   json_of(list, {})   -> "[1, \"a\"]"
//
// Lists and mappings are shared, as in Python; only namespaces are ever changed.
#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace pomona::llm::jinja {

class Value;
using List = std::vector<Value>;
using Entries = std::vector<std::pair<std::string, Value>>;
struct Arguments;
using Function = std::function<Result<Value>(const Arguments&)>;
struct Undefined {
  std::string name;
};
struct None {};
struct Mapping {
  Entries entries;
  bool is_namespace = false;
  const Value* find(std::string_view key) const;
  void set(const std::string& key, Value value);
};

class Value {
 public:
  Value() : held_(Undefined{}) {}
  Value(None) : held_(None{}) {}
  Value(bool v) : held_(v) {}
  Value(int v) : held_(std::int64_t(v)) {}
  Value(std::int64_t v) : held_(v) {}
  Value(double v) : held_(v) {}
  Value(const char* v) : held_(std::string(v)) {}
  Value(std::string v) : held_(std::move(v)) {}
  Value(Function f) : held_(std::make_shared<Function>(std::move(f))) {}
  static Value list_of(List v) { return Value(std::make_shared<List>(std::move(v))); }
  // A list that prints with round brackets.
  static Value tuple_of(List v) {
    Value made = list_of(std::move(v));
    made.is_tuple_ = true;
    return made;
  }
  static Value mapping_of(Entries v = {}, bool is_namespace = false) {
    return Value(std::make_shared<Mapping>(Mapping{std::move(v), is_namespace}));
  }
  static Value undefined(std::string name) {
    Value v;
    v.held_ = Undefined{std::move(name)};
    return v;
  }

  bool is_undefined() const { return std::holds_alternative<Undefined>(held_); }
  bool is_none() const { return std::holds_alternative<None>(held_); }
  const bool* boolean() const { return std::get_if<bool>(&held_); }
  const std::int64_t* integer() const { return std::get_if<std::int64_t>(&held_); }
  const double* real() const { return std::get_if<double>(&held_); }
  const std::string* string() const { return std::get_if<std::string>(&held_); }
  const List* list() const { return pointer<List>(); }  // tuples, too
  bool is_tuple() const { return is_tuple_; }
  Mapping* mapping() const { return pointer<Mapping>(); }
  const Function* function() const { return pointer<Function>(); }
  const std::string& undefined_name() const { return std::get<Undefined>(held_).name; }

  // A number, truth values included; false when it is none.
  bool number(double& out) const;
  bool truth() const;

 private:
  template <class T>
  explicit Value(std::shared_ptr<T> v) : held_(std::move(v)) {}
  template <class T>
  T* pointer() const {
    auto* held = std::get_if<std::shared_ptr<T>>(&held_);
    return held ? held->get() : nullptr;
  }
  std::variant<Undefined, None, bool, std::int64_t, double, std::string, std::shared_ptr<List>,
               std::shared_ptr<Mapping>, std::shared_ptr<Function>>
      held_;
  bool is_tuple_ = false;
};

struct Arguments {
  List positional;
  Entries named;
  // The i-th, or the one of that name; undefined when there is neither.
  Value at(std::size_t i, std::string_view name = {}) const;
};

bool equal(const Value& a, const Value& b);
std::string text_of(const Value& value);  // str()
// json.dumps(ensure_ascii=False)
struct JsonForm {
  int indent = -1;        // less than 0: one line
  std::string item, key;  // what parts elements, and a key from its value; empty: as usual
  bool sort_keys = false;
};
std::string json_of(const Value& value, const JsonForm& form);
// What stands in a list that is printed: texts have quotes.
std::string representation(const Value& value);
// "%s of %d" % (…), and "{} of {}".format(…).
Result<std::string> formatted(const std::string& text, const Value& values);
Result<std::string> formatted(const std::string& text, const Arguments& arguments);
std::string_view kind_of(const Value& value);  // for errors
Value value_of(const nlohmann::ordered_json& json);
// What a loop goes through: a list's elements, a mapping's keys, a text's characters.
Result<List> elements_of(const Value& value);

// The functions of functions.cpp and methods.cpp, by name. Errors name what is not known.
Result<Value> apply_filter(const std::string& name, const Value& value, const Arguments& arguments);
Result<bool> apply_test(const std::string& name, const Value& value, const Arguments& arguments);
bool is_filter(std::string_view name);
bool is_test(std::string_view name);
Result<Value> attribute(const Value& value, const std::string& name);  // undefined when there is none
Entries global_functions();

}  // namespace pomona::llm::jinja
