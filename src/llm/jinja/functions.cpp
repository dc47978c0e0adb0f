#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>

#include "llm/jinja/value.h"
#include "llm/tokenizers/unicode.h"

namespace pomona::llm::jinja {
namespace {

using Filter = Result<Value> (*)(const Value&, const Arguments&);
using Test = Result<bool> (*)(const Value&, const Arguments&);

Value counted(std::size_t n) { return Value(std::int64_t(n)); }

// value.a.b, for the filters that take `attribute`.
Result<Value> path_of(Value value, const std::string& path) {
  for (std::size_t begin = 0; begin <= path.size();) {
    std::size_t end = std::min(path.find('.', begin), path.size());
    value = POM_TRY(attribute(value, path.substr(begin, end - begin)));
    begin = end + 1;
  }
  return value;
}

// The methods of a text do as filters of the same name.
Result<Value> method_as_filter(const char* name, const Value& value, const Arguments& arguments) {
  Value method = POM_TRY(attribute(Value(text_of(value)), name));
  return (*method.function())(arguments);
}
Result<Value> trim(const Value& v, const Arguments& a) { return method_as_filter("strip", v, a); }
Result<Value> upper(const Value& v, const Arguments& a) { return method_as_filter("upper", v, a); }
Result<Value> lower(const Value& v, const Arguments& a) { return method_as_filter("lower", v, a); }
Result<Value> center(const Value& v, const Arguments& a) {
  Arguments own = a;
  if (own.positional.empty() && own.named.empty()) own.positional.emplace_back(80);
  return method_as_filter("center", v, own);
}
Result<Value> format(const Value& v, const Arguments& a) {
  Value values = a.named.empty() ? Value::tuple_of(a.positional) : Value::mapping_of(a.named);
  return Value(POM_TRY(formatted(text_of(v), values)));
}
// Other than the method it begins words at spaces and brackets only.
Result<Value> title(const Value& v, const Arguments&) {
  std::string text;
  bool begins = true;
  for (Character c : characters(text_of(v))) {
    text += begins ? upper_case(utf8(c)) : lower_case(utf8(c));
    begins = is_white_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  }
  return Value(text);
}
Result<Value> capitalize(const Value& v, const Arguments& a) { return method_as_filter("capitalize", v, a); }
Result<Value> replace(const Value& v, const Arguments& a) { return method_as_filter("replace", v, a); }

Result<Value> tojson(const Value& v, const Arguments& a) {
  Value indent = a.at(0, "indent");
  if (v.is_undefined()) return fail("'{}' is undefined, and tojson needs a value", v.undefined_name());
  JsonForm form;
  if (indent.integer()) form.indent = int(std::clamp<std::int64_t>(*indent.integer(), 0, 64));
  for (const auto& [key, value] : a.named) {
    if (key == "sort_keys") form.sort_keys = value.truth();
    if (key == "separators" && value.list() && value.list()->size() == 2) {
      form.item = text_of((*value.list())[0]);
      form.key = text_of((*value.list())[1]);
    }
  }
  return Value(json_of(v, form));
}
Result<Value> length(const Value& v, const Arguments&) { return counted(POM_TRY(elements_of(v)).size()); }
Result<Value> fallback(const Value& v, const Arguments& a) {
  bool also_false = a.at(1, "boolean").truth();
  Value other = a.at(0, "default_value");
  if (other.is_undefined()) other = Value("");
  return v.is_undefined() || (also_false && !v.truth()) ? other : v;
}
Result<Value> join(const Value& v, const Arguments& a) {
  std::string between = text_of(a.at(0, "d")), text;
  Value part = a.at(1, "attribute");
  bool first = true;
  for (const Value& each : POM_TRY(elements_of(v))) {
    if (!first) text += between;
    first = false;
    text += text_of(part.string() ? POM_TRY(path_of(each, *part.string())) : each);
  }
  return Value(text);
}
Result<Value> as_list(const Value& v, const Arguments&) { return Value::list_of(POM_TRY(elements_of(v))); }
Result<Value> items(const Value& v, const Arguments&) {
  if (v.is_undefined()) return Value::list_of({});
  POM_REQUIRE(v.mapping(), "items needs a mapping, not {}", kind_of(v));
  List all;
  for (const auto& [key, value] : v.mapping()->entries) all.push_back(Value::tuple_of({Value(key), value}));
  return Value::list_of(std::move(all));
}
// Numbers by size, texts by their letters, capitals or not.
bool before(const Value& x, const Value& y, bool exactly) {
  double m = 0, n = 0;
  if (x.number(m) && y.number(n)) return m < n;
  return exactly ? text_of(x) < text_of(y) : lower_case(text_of(x)) < lower_case(text_of(y));
}
Result<Value> dictsort(const Value& v, const Arguments& a) {
  Value sorted = POM_TRY(items(v, {})), by = a.at(1, "by");
  List all = *sorted.list();
  bool exactly = a.at(0, "case_sensitive").truth();
  std::size_t part = by.string() && *by.string() == "value" ? 1 : 0;
  std::stable_sort(all.begin(), all.end(), [&](const Value& x, const Value& y) {
    return before((*x.list())[part], (*y.list())[part], exactly);
  });
  if (a.at(2, "reverse").truth()) std::reverse(all.begin(), all.end());
  return Value::list_of(std::move(all));
}
Result<Value> first(const Value& v, const Arguments&) {
  List all = POM_TRY(elements_of(v));
  return all.empty() ? Value::undefined("first") : all.front();
}
Result<Value> last(const Value& v, const Arguments&) {
  List all = POM_TRY(elements_of(v));
  return all.empty() ? Value::undefined("last") : all.back();
}
Result<Value> reverse(const Value& v, const Arguments&) {
  List all = POM_TRY(elements_of(v));
  std::reverse(all.begin(), all.end());
  if (!v.string()) return Value::list_of(std::move(all));
  std::string text;
  for (const Value& each : all) text += *each.string();
  return Value(text);
}
Result<Value> string(const Value& v, const Arguments&) { return Value(text_of(v)); }
// What a text says, all of it; false where that is no number.
bool reads(const Value& v, double& n) {
  if (v.number(n)) return true;
  if (!v.string() || v.string()->empty()) return false;
  char* end = nullptr;
  n = std::strtod(v.string()->c_str(), &end);
  while (*end == ' ' || *end == '\n' || *end == '\t') ++end;
  return end != v.string()->c_str() && *end == 0 && std::isfinite(n);
}
Result<Value> integer(const Value& v, const Arguments& a) {
  Value otherwise = a.at(0, "default"), base = a.at(1, "base");
  double n = 0;
  if (v.string() && base.integer()) {
    POM_REQUIRE(*base.integer() >= 2 && *base.integer() <= 36, "a base is 2 to 36, not {}", *base.integer());
    char* end = nullptr;
    std::int64_t whole = std::strtoll(v.string()->c_str(), &end, int(*base.integer()));
    if (end != v.string()->c_str() && *end == 0) return Value(whole);
  }
  if (reads(v, n) && std::fabs(n) < 9e18) return Value(std::int64_t(n));
  return otherwise.is_undefined() ? Value(0) : otherwise;
}
Result<Value> real(const Value& v, const Arguments& a) {
  Value otherwise = a.at(0, "default");
  double n = 0;
  if (reads(v, n)) return Value(n);
  return otherwise.is_undefined() ? Value(0.0) : otherwise;
}
// To the nearest, halves to the even one, as Python does.
Result<Value> rounded(const Value& v, const Arguments& a) {
  double n = 0;
  POM_REQUIRE(v.number(n), "round needs a number, not {}", kind_of(v));
  Value digits = a.at(0, "precision"), method = a.at(1, "method");
  double scale = std::pow(10.0, digits.integer() ? double(*digits.integer()) : 0.0);
  if (method.string() && *method.string() == "floor") return Value(std::floor(n * scale) / scale);
  if (method.string() && *method.string() == "ceil") return Value(std::ceil(n * scale) / scale);
  int places = digits.integer() ? int(std::clamp<std::int64_t>(*digits.integer(), 0, 17)) : 0;
  return Value(std::strtod(fmt::format("{:.{}f}", n, places).c_str(), nullptr));
}
Result<Value> batch(const Value& v, const Arguments& a) {
  Value count = a.at(0, "linecount"), fill = a.at(1, "fill_with");
  POM_REQUIRE(count.integer() && *count.integer() > 0 && *count.integer() < 1 << 20,
              "batch needs a number of elements");
  List all, row;
  for (const Value& each : POM_TRY(elements_of(v))) {
    row.push_back(each);
    if (std::int64_t(row.size()) == *count.integer()) all.push_back(Value::list_of(std::exchange(row, {})));
  }
  while (!row.empty() && !fill.is_undefined() && !fill.is_none() && std::int64_t(row.size()) < *count.integer())
    row.push_back(fill);
  if (!row.empty()) all.push_back(Value::list_of(std::move(row)));
  return Value::list_of(std::move(all));
}
Result<Value> attr(const Value& v, const Arguments& a) {
  // The attributes of a mapping are its methods, not its keys.
  if (v.mapping() && v.mapping()->find(text_of(a.at(0)))) return Value::undefined(text_of(a.at(0)));
  return attribute(v, text_of(a.at(0)));
}
Result<Value> wordcount(const Value& v, const Arguments&) {
  std::int64_t words = 0;
  bool within = false;
  for (Character c : characters(text_of(v))) {
    bool word = is_word(c);
    words += word && !within;
    within = word;
  }
  return Value(words);
}
Result<Value> absolute(const Value& v, const Arguments&) {
  double n = 0;
  POM_REQUIRE(v.number(n), "abs needs a number, not {}", kind_of(v));
  return v.integer() ? Value(std::abs(*v.integer())) : Value(std::fabs(n));
}
Result<Value> sum(const Value& v, const Arguments& a) {
  Value part = a.at(0, "attribute");
  double total = 0, n = 0;
  bool whole = true;
  for (const Value& each : POM_TRY(elements_of(v))) {
    Value value = part.string() ? POM_TRY(path_of(each, *part.string())) : each;
    POM_REQUIRE(value.number(n), "sum needs numbers, not {}", kind_of(value));
    whole = whole && !value.real();
    total += n;
  }
  return whole ? Value(std::int64_t(total)) : Value(total);
}
Result<Value> extreme(const Value& v, bool largest) {
  List all = POM_TRY(elements_of(v));
  if (all.empty()) return Value::undefined(largest ? "max" : "min");
  auto before = [](const Value& x, const Value& y) {
    double a = 0, b = 0;
    return x.number(a) && y.number(b) ? a < b : text_of(x) < text_of(y);
  };
  return largest ? *std::max_element(all.begin(), all.end(), before)
                 : *std::min_element(all.begin(), all.end(), before);
}
Result<Value> least(const Value& v, const Arguments&) { return extreme(v, false); }
Result<Value> most(const Value& v, const Arguments&) { return extreme(v, true); }
Result<Value> unique(const Value& v, const Arguments& a) {
  bool exactly = a.at(0, "case_sensitive").truth();
  Value part = a.at(1, "attribute");
  List all, seen;
  for (const Value& each : POM_TRY(elements_of(v))) {
    Value key = part.string() ? POM_TRY(path_of(each, *part.string())) : each;
    if (key.string() && !exactly) key = Value(lower_case(*key.string()));
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& x) { return equal(x, key); })) continue;
    seen.push_back(key);
    all.push_back(each);
  }
  return Value::list_of(std::move(all));
}
Result<Value> sort(const Value& v, const Arguments& a) {
  Value part = a.at(2, "attribute");
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& each : POM_TRY(elements_of(v)))
    keyed.emplace_back(part.string() ? POM_TRY(path_of(each, *part.string())) : each, each);
  bool exactly = a.at(1, "case_sensitive").truth();
  std::stable_sort(keyed.begin(), keyed.end(),
                   [&](const auto& x, const auto& y) { return before(x.first, y.first, exactly); });
  List all;
  for (auto& [key, each] : keyed) all.push_back(each);
  if (a.at(0, "reverse").truth()) std::reverse(all.begin(), all.end());
  return Value::list_of(std::move(all));
}
Result<Value> indent(const Value& v, const Arguments& a) {
  Value width = a.at(0, "width");
  std::string by =
      width.string() ? *width.string() : std::string(std::size_t(width.integer() ? *width.integer() : 4), ' ');
  bool first = a.at(1, "first").truth(), blank = a.at(2, "blank").truth();
  std::string text, source = text_of(v);
  bool begins = first;
  for (std::size_t at = 0; at <= source.size();) {
    std::size_t end = std::min(source.find('\n', at), source.size());
    if (begins && (blank || end > at)) text += by;
    text += source.substr(at, end - at);
    if (end < source.size()) text += '\n';
    begins = true;
    at = end + 1;
  }
  return Value(text);
}
Result<Value> escape(const Value& v, const Arguments&) {
  std::string text;
  for (char c : text_of(v))
    text += c == '&'    ? "&amp;"
            : c == '<'  ? "&lt;"
            : c == '>'  ? "&gt;"
            : c == '"'  ? "&#34;"
            : c == '\'' ? "&#39;"
                        : std::string(1, c);
  return Value(text);
}
Result<Value> itself(const Value& v, const Arguments&) { return v; }

// select, reject: by a test of the elements themselves; selectattr, rejectattr: of one of their attributes.
Result<Value> chosen(const Value& v, const Arguments& a, bool of_attribute, bool wanted) {
  std::size_t at = of_attribute ? 1 : 0;
  Value name = a.at(at), part = a.at(0);
  POM_REQUIRE(!of_attribute || part.string(), "selectattr needs the name of an attribute");
  Arguments rest;
  for (std::size_t i = at + 1; i < a.positional.size(); ++i) rest.positional.push_back(a.positional[i]);
  List all;
  for (const Value& each : POM_TRY(elements_of(v))) {
    Value subject = of_attribute ? POM_TRY(path_of(each, *part.string())) : each;
    bool holds = name.string() ? POM_TRY(apply_test(*name.string(), subject, rest)) : subject.truth();
    if (holds == wanted) all.push_back(each);
  }
  return Value::list_of(std::move(all));
}
Result<Value> select(const Value& v, const Arguments& a) { return chosen(v, a, false, true); }
Result<Value> reject(const Value& v, const Arguments& a) { return chosen(v, a, false, false); }
Result<Value> selectattr(const Value& v, const Arguments& a) { return chosen(v, a, true, true); }
Result<Value> rejectattr(const Value& v, const Arguments& a) { return chosen(v, a, true, false); }

Result<Value> map(const Value& v, const Arguments& a) {
  Value part;
  for (const auto& [key, value] : a.named)
    if (key == "attribute") part = value;
  Value name = a.at(0), otherwise;
  for (const auto& [key, value] : a.named)
    if (key == "default") otherwise = value;
  Arguments rest;
  for (std::size_t i = 1; i < a.positional.size(); ++i) rest.positional.push_back(a.positional[i]);
  List all;
  for (const Value& each : POM_TRY(elements_of(v))) {
    if (part.string()) {
      Value found = POM_TRY(path_of(each, *part.string()));
      all.push_back(found.is_undefined() ? otherwise : found);
    } else {
      POM_REQUIRE(name.string(), "map needs a filter's name or an attribute");
      all.push_back(POM_TRY(apply_filter(*name.string(), each, rest)));
    }
  }
  return Value::list_of(std::move(all));
}

constexpr std::pair<std::string_view, Filter> filters[] = {
    {"trim", trim},
    {"tojson", tojson},
    {"length", length},
    {"count", length},
    {"default", fallback},
    {"d", fallback},
    {"join", join},
    {"upper", upper},
    {"lower", lower},
    {"title", title},
    {"capitalize", capitalize},
    {"replace", replace},
    {"list", as_list},
    {"items", items},
    {"dictsort", dictsort},
    {"first", first},
    {"last", last},
    {"reverse", reverse},
    {"string", string},
    {"int", integer},
    {"float", real},
    {"abs", absolute},
    {"sum", sum},
    {"min", least},
    {"max", most},
    {"unique", unique},
    {"sort", sort},
    {"indent", indent},
    {"round", rounded},
    {"batch", batch},
    {"attr", attr},
    {"wordcount", wordcount},
    {"center", center},
    {"format", format},
    {"forceescape", escape},
    {"escape", escape},
    {"e", escape},
    {"safe", itself},
    {"select", select},
    {"reject", reject},
    {"map", map},
    {"selectattr", selectattr},
    {"rejectattr", rejectattr},
};

Result<int> compared(const Value& a, const Value& b) {
  double x = 0, y = 0;
  if (a.number(x) && b.number(y)) return x < y ? -1 : x > y;
  if (a.list() && b.list()) {
    for (std::size_t i = 0; i < std::min(a.list()->size(), b.list()->size()); ++i)
      if (!equal((*a.list())[i], (*b.list())[i])) return compared((*a.list())[i], (*b.list())[i]);
    return a.list()->size() < b.list()->size() ? -1 : a.list()->size() > b.list()->size();
  }
  POM_REQUIRE(a.string() && b.string(), "{} and {} have no order", kind_of(a), kind_of(b));
  int order = a.string()->compare(*b.string());
  return order < 0 ? -1 : order > 0;
}
bool whole(const Value& v) { return v.integer() != nullptr; }

constexpr std::pair<std::string_view, Test> tests[] = {
    {"defined", [](const Value& v, const Arguments&) -> Result<bool> { return !v.is_undefined(); }},
    {"undefined", [](const Value& v, const Arguments&) -> Result<bool> { return v.is_undefined(); }},
    {"none", [](const Value& v, const Arguments&) -> Result<bool> { return v.is_none(); }},
    {"string", [](const Value& v, const Arguments&) -> Result<bool> { return v.string() != nullptr; }},
    {"mapping", [](const Value& v, const Arguments&) -> Result<bool> { return v.mapping() != nullptr; }},
    {"iterable",
     [](const Value& v, const Arguments&) -> Result<bool> {
       return v.string() || v.list() || v.mapping() || v.is_undefined();
     }},
    {"sequence",
     [](const Value& v, const Arguments&) -> Result<bool> {
       return v.string() || v.list() || v.mapping() || v.is_undefined();
     }},
    {"number", [](const Value& v, const Arguments&) -> Result<bool> { return v.integer() || v.real() || v.boolean(); }},
    {"integer", [](const Value& v, const Arguments&) -> Result<bool> { return whole(v); }},
    {"float", [](const Value& v, const Arguments&) -> Result<bool> { return v.real() != nullptr; }},
    {"boolean", [](const Value& v, const Arguments&) -> Result<bool> { return v.boolean() != nullptr; }},
    {"true", [](const Value& v, const Arguments&) -> Result<bool> { return v.boolean() && *v.boolean(); }},
    {"false", [](const Value& v, const Arguments&) -> Result<bool> { return v.boolean() && !*v.boolean(); }},
    {"callable", [](const Value& v, const Arguments&) -> Result<bool> { return v.function() != nullptr; }},
    {"odd", [](const Value& v, const Arguments&) -> Result<bool> { return whole(v) && *v.integer() % 2 != 0; }},
    {"even", [](const Value& v, const Arguments&) -> Result<bool> { return whole(v) && *v.integer() % 2 == 0; }},
    {"divisibleby",
     [](const Value& v, const Arguments& a) -> Result<bool> {
       Value by = a.at(0);
       POM_REQUIRE(whole(v) && whole(by) && *by.integer() != 0, "divisibleby needs whole numbers");
       return *v.integer() % *by.integer() == 0;
     }},
    {"lower",
     [](const Value& v, const Arguments&) -> Result<bool> {
       return lower_case(text_of(v)) == text_of(v) && upper_case(text_of(v)) != text_of(v);
     }},
    {"upper",
     [](const Value& v, const Arguments&) -> Result<bool> {
       return upper_case(text_of(v)) == text_of(v) && lower_case(text_of(v)) != text_of(v);
     }},
    {"sameas",
     [](const Value& v, const Arguments& a) -> Result<bool> {
       return kind_of(v) == kind_of(a.at(0)) && bool(v.real()) == bool(a.at(0).real()) && equal(v, a.at(0));
     }},
    {"filter", [](const Value& v, const Arguments&) -> Result<bool> { return is_filter(text_of(v)); }},
    {"test", [](const Value& v, const Arguments&) -> Result<bool> { return is_test(text_of(v)); }},
    {"eq", [](const Value& v, const Arguments& a) -> Result<bool> { return equal(v, a.at(0)); }},
    {"ne", [](const Value& v, const Arguments& a) -> Result<bool> { return !equal(v, a.at(0)); }},
    {"lt", [](const Value& v, const Arguments& a) -> Result<bool> { return POM_TRY(compared(v, a.at(0))) < 0; }},
    {"le", [](const Value& v, const Arguments& a) -> Result<bool> { return POM_TRY(compared(v, a.at(0))) <= 0; }},
    {"gt", [](const Value& v, const Arguments& a) -> Result<bool> { return POM_TRY(compared(v, a.at(0))) > 0; }},
    {"ge", [](const Value& v, const Arguments& a) -> Result<bool> { return POM_TRY(compared(v, a.at(0))) >= 0; }},
    {"in",
     [](const Value& v, const Arguments& a) -> Result<bool> {
       if (a.at(0).string()) {
         POM_REQUIRE(v.string(), "{} cannot be in a text", kind_of(v));
         return a.at(0).string()->find(*v.string()) != std::string::npos;
       }
       for (const Value& each : POM_TRY(elements_of(a.at(0))))
         if (equal(each, v)) return true;
       return false;
     }},
};

std::string_view usual_test_name(std::string_view name) {
  for (auto [other, usual] : {std::pair{"equalto", "eq"},
                              {"==", "eq"},
                              {"!=", "ne"},
                              {"lessthan", "lt"},
                              {"<", "lt"},
                              {"<=", "le"},
                              {"greaterthan", "gt"},
                              {">", "gt"},
                              {">=", "ge"}})
    if (name == other) return usual;
  return name;
}
const Test* find_test(std::string_view name) {
  for (const auto& [known, test] : tests)
    if (known == usual_test_name(name)) return &test;
  return nullptr;
}
const Filter* find_filter(std::string_view name) {
  for (const auto& [known, filter] : filters)
    if (known == name) return &filter;
  return nullptr;
}

Result<Value> range(const Arguments& a) {
  std::int64_t numbers[3] = {0, 0, 1};
  std::size_t count = a.positional.size();
  POM_REQUIRE(count >= 1 && count <= 3, "range takes one to three numbers");
  for (std::size_t i = 0; i < count; ++i) {
    POM_REQUIRE(a.positional[i].integer(), "range needs whole numbers");
    numbers[count == 1 ? 1 : i] = *a.positional[i].integer();
  }
  POM_REQUIRE(numbers[2] != 0, "the step of a range is 0");
  constexpr std::size_t longest = 100'000;
  List all;
  for (std::int64_t i = numbers[0]; numbers[2] > 0 ? i < numbers[1] : i > numbers[1]; i += numbers[2]) {
    POM_REQUIRE(all.size() < longest, "a range has more than {} numbers", longest);
    all.emplace_back(i);
  }
  return Value::list_of(std::move(all));
}
Result<Value> make_namespace(const Arguments& a) {
  Entries entries = a.named;
  if (!a.positional.empty() && a.positional[0].mapping()) entries = a.positional[0].mapping()->entries;
  return Value::mapping_of(std::move(entries), true);
}
Result<Value> make_dict(const Arguments& a) {
  Value made = Value::mapping_of();
  if (!a.positional.empty() && a.positional[0].mapping())
    made = Value::mapping_of(a.positional[0].mapping()->entries);
  else if (!a.positional.empty())
    for (const Value& pair : POM_TRY(elements_of(a.positional[0]))) {
      POM_REQUIRE(pair.list() && pair.list()->size() == 2, "dict needs pairs, not {}", kind_of(pair));
      made.mapping()->set(text_of((*pair.list())[0]), (*pair.list())[1]);
    }
  for (const auto& [key, value] : a.named) made.mapping()->set(key, value);
  return made;
}
Result<Value> make_joiner(const Arguments& a) {
  std::string between = a.at(0, "sep").is_undefined() ? ", " : text_of(a.at(0, "sep"));
  return Value(Function([between, used = std::make_shared<bool>(false)](const Arguments&) -> Result<Value> {
    return Value(std::exchange(*used, true) ? between : "");
  }));
}
Result<Value> raise_exception(const Arguments& a) { return fail("{}", text_of(a.at(0))); }
Result<Value> strftime_now(const Arguments& a) {
  std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[256];
  std::size_t size = std::strftime(text, sizeof text, text_of(a.at(0)).c_str(), &parts);
  return Value(std::string(text, size));
}

}  // namespace

bool is_filter(std::string_view name) { return find_filter(name) != nullptr; }
bool is_test(std::string_view name) { return find_test(name) != nullptr; }

Result<Value> apply_filter(const std::string& name, const Value& value, const Arguments& arguments) {
  const Filter* filter = find_filter(name);
  POM_REQUIRE(filter, "the filter '{}' is not known", name);
  return POM_TRY_IN((*filter)(value, arguments), "filter '{}'", name);
}

Result<bool> apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
  const Test* test = find_test(name);
  POM_REQUIRE(test, "the test '{}' is not known", name);
  return (*test)(value, arguments);
}

Entries global_functions() {
  return {{"range", Value(Function(range))},
          {"namespace", Value(Function(make_namespace))},
          {"dict", Value(Function(make_dict))},
          {"joiner", Value(Function(make_joiner))},
          {"raise_exception", Value(Function(raise_exception))},
          {"strftime_now", Value(Function(strftime_now))}};
}

}  // namespace pomona::llm::jinja
