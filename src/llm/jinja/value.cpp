#include "llm/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "llm/tokenizers/unicode.h"

namespace pomona::llm::jinja {
namespace {

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == text.npos ? text + ".0" : text;
}

// repr() of a string.
std::string quoted(const std::string& text) {
  char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  std::string result(1, quote);
  for (char c : text) {
    if (c == quote || c == '\\') result += '\\';
    if (c == '\n')
      result += "\\n";
    else if (c == '\t')
      result += "\\t";
    else if (c == '\r')
      result += "\\r";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      result += fmt::format("\\x{:02x}", int(c));
    else
      result += c;
  }
  return result + quote;
}

std::string json_string(const std::string& text) {
  std::string result = "\"";
  for (char c : text) switch (c) {
      case '"':
        result += "\\\"";
        break;
      case '\\':
        result += "\\\\";
        break;
      case '\n':
        result += "\\n";
        break;
      case '\r':
        result += "\\r";
        break;
      case '\t':
        result += "\\t";
        break;
      case '\b':
        result += "\\b";
        break;
      case '\f':
        result += "\\f";
        break;
      default:
        result += static_cast<unsigned char>(c) < 0x20 ? fmt::format("\\u{:04x}", int(c)) : std::string(1, c);
    }
  return result + '"';
}

void write_json(const Value& value, const JsonForm& form, int depth, std::string& out) {
  auto line = [&](int level) {
    if (form.indent >= 0) out += '\n' + std::string(std::size_t(form.indent * level), ' ');
  };
  auto separate = [&](bool first) {
    if (!first) out += form.item;
    line(depth + 1);
  };
  if (const List* list = value.list()) {
    out += '[';
    for (std::size_t i = 0; i < list->size(); ++i) {
      separate(i == 0);
      write_json((*list)[i], form, depth + 1, out);
    }
    if (!list->empty()) line(depth);
    out += ']';
  } else if (const Mapping* mapping = value.mapping()) {
    out += '{';
    bool first = true;
    Entries entries = mapping->entries;
    if (form.sort_keys)
      std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [key, each] : entries) {
      separate(first);
      first = false;
      out += json_string(key) + form.key;
      write_json(each, form, depth + 1, out);
    }
    if (!first) line(depth);
    out += '}';
  } else if (value.string()) {
    out += json_string(*value.string());
  } else if (value.boolean()) {
    out += *value.boolean() ? "true" : "false";
  } else if (value.is_none() || value.is_undefined()) {
    out += "null";
  } else {
    out += text_of(value);
  }
}

}  // namespace

const Value* Mapping::find(std::string_view key) const {
  for (const auto& [name, value] : entries)
    if (name == key) return &value;
  return nullptr;
}
void Mapping::set(const std::string& key, Value value) {
  for (auto& [name, held] : entries)
    if (name == key) {
      held = std::move(value);
      return;
    }
  entries.emplace_back(key, std::move(value));
}

bool Value::number(double& out) const {
  if (boolean())
    out = *boolean();
  else if (integer())
    out = double(*integer());
  else if (real())
    out = *real();
  else
    return false;
  return true;
}

bool Value::truth() const {
  double n = 0;
  if (number(n)) return n != 0;
  if (string()) return !string()->empty();
  if (list()) return !list()->empty();
  if (mapping()) return mapping()->is_namespace || !mapping()->entries.empty();
  return function() != nullptr;
}

Value Arguments::at(std::size_t i, std::string_view name) const {
  if (i < positional.size()) return positional[i];
  for (const auto& [key, value] : named)
    if (!name.empty() && key == name) return value;
  return {};
}

bool equal(const Value& a, const Value& b) {
  double x = 0, y = 0;
  if (a.number(x) && b.number(y)) return x == y;
  if (a.string() && b.string()) return *a.string() == *b.string();
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.list() && b.list()) {
    if (a.is_tuple() != b.is_tuple()) return false;
    if (a.list()->size() != b.list()->size()) return false;
    for (std::size_t i = 0; i < a.list()->size(); ++i)
      if (!equal((*a.list())[i], (*b.list())[i])) return false;
    return true;
  }
  if (a.mapping() && b.mapping()) {
    if (a.mapping()->entries.size() != b.mapping()->entries.size()) return false;
    for (const auto& [key, value] : a.mapping()->entries) {
      const Value* other = b.mapping()->find(key);
      if (!other || !equal(value, *other)) return false;
    }
    return true;
  }
  return false;
}

std::string text_of(const Value& value) {
  if (value.string()) return *value.string();
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (value.boolean()) return *value.boolean() ? "True" : "False";
  if (value.integer()) return fmt::format("{}", *value.integer());
  if (value.real()) return real_text(*value.real());
  std::string text;
  if (const List* list = value.list()) {
    for (const Value& each : *list) text += (text.empty() ? "" : ", ") + representation(each);
    if (value.is_tuple()) return "(" + text + (list->size() == 1 ? ",)" : ")");
    return "[" + text + "]";
  }
  if (const Mapping* mapping = value.mapping()) {
    for (const auto& [key, each] : mapping->entries)
      text += (text.empty() ? "" : ", ") + quoted(key) + ": " + representation(each);
    return "{" + text + "}";
  }
  return "<function>";
}

std::string representation(const Value& value) { return value.string() ? quoted(*value.string()) : text_of(value); }

std::string json_of(const Value& value, const JsonForm& form) {
  JsonForm settled = form;
  if (settled.item.empty()) settled.item = form.indent >= 0 ? "," : ", ";
  if (settled.key.empty()) settled.key = ": ";
  std::string out;
  write_json(value, settled, 0, out);
  return out;
}

std::string_view kind_of(const Value& value) {
  if (value.is_undefined()) return "undefined";
  if (value.is_none()) return "none";
  if (value.boolean()) return "a truth value";
  if (value.integer() || value.real()) return "a number";
  if (value.string()) return "a text";
  if (value.list()) return "a list";
  return value.mapping() ? "a mapping" : "a function";
}

Value value_of(const nlohmann::ordered_json& json) {
  if (json.is_null()) return None{};
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_array()) {
    List list;
    for (const auto& each : json) list.push_back(value_of(each));
    return Value::list_of(std::move(list));
  }
  Entries entries;
  for (const auto& [key, each] : json.items()) entries.emplace_back(key, value_of(each));
  return Value::mapping_of(std::move(entries));
}

Result<List> elements_of(const Value& value) {
  List all;
  if (value.list()) return *value.list();
  if (value.is_undefined()) return all;
  if (value.mapping()) {
    for (const auto& [key, each] : value.mapping()->entries) all.emplace_back(key);
    return all;
  }
  POM_REQUIRE(value.string(), "{} has no elements", kind_of(value));
  for (Character c : characters(*value.string())) all.emplace_back(utf8(c));
  return all;
}

}  // namespace pomona::llm::jinja
