#include <algorithm>

#include "llm/jinja/value.h"
#include "llm/tokenizers/unicode.h"

namespace pomona::llm::jinja {
namespace {

using Text = std::string;
using TextMethod = Result<Value> (*)(const Text&, const Arguments&);

Text stripped(const Text& text, const Value& which, bool left, bool right) {
  std::vector<Character> all = characters(text), drop;
  if (which.string()) drop = characters(*which.string());
  auto goes = [&](Character c) {
    // What Python takes for white space beyond the property: the separators of ASCII.
    return which.string() ? std::find(drop.begin(), drop.end(), c) != drop.end()
                          : is_white_space(c) || (c >= 0x1C && c <= 0x1F);
  };
  auto begin = all.begin(), end = all.end();
  while (left && begin != end && goes(*begin)) ++begin;
  while (right && begin != end && goes(*(end - 1))) --end;
  return utf8(std::vector<Character>(begin, end));
}

Text replaced(const Text& text, const Text& what, const Text& with, std::int64_t most) {
  Text result;
  std::size_t done = 0;
  for (std::size_t at = 0; most != 0 && !what.empty() && (at = text.find(what, done)) != text.npos; --most) {
    result += text.substr(done, at - done) + with;
    done = at + what.size();
  }
  return result + text.substr(done);
}

List split(const Text& text, const Value& by, std::int64_t most) {
  List parts;
  if (by.string() && !by.string()->empty()) {
    std::size_t done = 0;
    for (std::size_t at = 0; most != 0 && (at = text.find(*by.string(), done)) != text.npos; --most) {
      parts.emplace_back(text.substr(done, at - done));
      done = at + by.string()->size();
    }
    parts.emplace_back(text.substr(done));
    return parts;
  }
  Text rest = stripped(text, {}, true, false);
  while (!rest.empty()) {
    std::size_t end = rest.find_first_of(" \t\n\r\f\v");
    if (most-- == 0 || end == rest.npos) {
      parts.emplace_back(stripped(rest, {}, false, most < -1 || end == rest.npos));
      break;
    }
    parts.emplace_back(rest.substr(0, end));
    rest = stripped(rest.substr(end), {}, true, false);
  }
  return parts;
}

Result<bool> touches(const Text& text, const Value& with, bool start) {
  auto one = [&](const Value& v) { return start ? text.starts_with(*v.string()) : text.ends_with(*v.string()); };
  if (with.string()) return one(with);
  POM_REQUIRE(with.list(), "startswith and endswith need a text");
  for (const Value& each : *with.list())
    if (each.string() && one(each)) return true;
  return false;
}

Text capitalised(const Text& text, bool each_word) {
  Text result;
  bool begins = true;
  for (Character c : characters(text)) {
    Text one = utf8(c);
    Text low = lower_case(one);
    bool letter = !is_white_space(c) && !is_punctuation(c) && !is_numeric(c);
    result += begins && letter ? upper_case(one) : low;
    begins = each_word ? !letter : false;
  }
  return result;
}

std::int64_t whole_or(const Value& v, std::int64_t otherwise) { return v.integer() ? *v.integer() : otherwise; }

// A text and the parts before and behind the first (or last) place where `by` stands.
Result<Value> parted(const Text& t, const Arguments& a, bool last) {
  Text by = text_of(a.at(0, "sep"));
  POM_REQUIRE(!by.empty(), "a text is parted by another that is not empty");
  std::size_t at = last ? t.rfind(by) : t.find(by);
  if (at == t.npos && last) return Value::tuple_of({Value(""), Value(""), Value(t)});
  if (at == t.npos) return Value::tuple_of({Value(t), Value(""), Value("")});
  return Value::tuple_of({Value(t.substr(0, at)), Value(by), Value(t.substr(at + by.size()))});
}

List split_from_behind(const Text& text, const Value& by, std::int64_t most) {
  if (most < 0 || !by.string() || by.string()->empty()) return split(text, by, most < 0 ? -1 : most);
  List parts;
  std::size_t end = text.size();
  for (; most > 0 && end > 0; --most) {
    std::size_t at = end >= by.string()->size() ? text.rfind(*by.string(), end - by.string()->size()) : text.npos;
    if (at == text.npos) break;
    parts.emplace_back(text.substr(at + by.string()->size(), end - at - by.string()->size()));
    end = at;
  }
  parts.emplace_back(text.substr(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Result<Value> place_in(const Text& t, const Arguments& a, bool last, bool must) {
  Text what = text_of(a.at(0));
  std::size_t at = last ? t.rfind(what) : t.find(what);
  POM_REQUIRE(!must || at != t.npos, "'{}' is not in the text", what);
  return Value(at == t.npos ? std::int64_t(-1) : std::int64_t(characters(t.substr(0, at)).size()));
}

// To a width, with `left` of what lacks before the text.
Result<Value> filled(const Text& t, const Arguments& a, char kind) {
  Value width = a.at(0, "width"), by = a.at(1, "fillchar");
  POM_REQUIRE(width.integer() && *width.integer() < 1 << 20, "a width is a whole number");
  std::int64_t lacks = std::max<std::int64_t>(0, *width.integer() - std::int64_t(characters(t).size()));
  std::int64_t before = kind == '>' ? lacks : kind == '<' ? 0 : lacks / 2 + (lacks & *width.integer() & 1);
  Text fill = by.string() ? *by.string() : " ", result;
  for (std::int64_t i = 0; i < before; ++i) result += fill;
  result += t;
  for (std::int64_t i = before; i < lacks; ++i) result += fill;
  return Value(result);
}

bool all_are(const Text& t, bool (*is)(Character)) {
  std::vector<Character> all = characters(t);
  return !all.empty() && std::all_of(all.begin(), all.end(), is);
}
bool is_letter(Character c) {
  return is_word(c) && !is_numeric(c) && c != '_' && !without_marks(utf8(c), true).empty();
}

constexpr std::pair<std::string_view, TextMethod> text_methods[] = {
    {"strip",
     [](const Text& t, const Arguments& a) -> Result<Value> {
       return Value(stripped(t, a.at(0, "chars"), true, true));
     }},
    {"lstrip",
     [](const Text& t, const Arguments& a) -> Result<Value> {
       return Value(stripped(t, a.at(0, "chars"), true, false));
     }},
    {"rstrip",
     [](const Text& t, const Arguments& a) -> Result<Value> {
       return Value(stripped(t, a.at(0, "chars"), false, true));
     }},
    {"upper", [](const Text& t, const Arguments&) -> Result<Value> { return Value(upper_case(t)); }},
    {"lower", [](const Text& t, const Arguments&) -> Result<Value> { return Value(lower_case(t)); }},
    {"title", [](const Text& t, const Arguments&) -> Result<Value> { return Value(capitalised(t, true)); }},
    {"capitalize", [](const Text& t, const Arguments&) -> Result<Value> { return Value(capitalised(t, false)); }},
    {"split",
     [](const Text& t, const Arguments& a) -> Result<Value> {
       return Value::list_of(split(t, a.at(0, "sep"), whole_or(a.at(1, "maxsplit"), -1)));
     }},
    {"splitlines",
     [](const Text& t, const Arguments&) -> Result<Value> {
       List lines = split(t, Value("\n"), -1);
       if (!lines.empty() && lines.back().string()->empty()) lines.pop_back();
       return Value::list_of(std::move(lines));
     }},
    {"startswith",
     [](const Text& t, const Arguments& a) -> Result<Value> { return Value(POM_TRY(touches(t, a.at(0), true))); }},
    {"endswith",
     [](const Text& t, const Arguments& a) -> Result<Value> { return Value(POM_TRY(touches(t, a.at(0), false))); }},
    {"replace",
     [](const Text& t, const Arguments& a) -> Result<Value> {
       return Value(replaced(t, text_of(a.at(0, "old")), text_of(a.at(1, "new")), whole_or(a.at(2, "count"), -1)));
     }},
    {"rsplit",
     [](const Text& t, const Arguments& a) -> Result<Value> {
       return Value::list_of(split_from_behind(t, a.at(0, "sep"), whole_or(a.at(1, "maxsplit"), -1)));
     }},
    {"partition", [](const Text& t, const Arguments& a) { return parted(t, a, false); }},
    {"rpartition", [](const Text& t, const Arguments& a) { return parted(t, a, true); }},
    {"find", [](const Text& t, const Arguments& a) { return place_in(t, a, false, false); }},
    {"rfind", [](const Text& t, const Arguments& a) { return place_in(t, a, true, false); }},
    {"index", [](const Text& t, const Arguments& a) { return place_in(t, a, false, true); }},
    {"rindex", [](const Text& t, const Arguments& a) { return place_in(t, a, true, true); }},
    {"removeprefix",
     [](const Text& t, const Arguments& a) -> Result<Value> {
       Text start = text_of(a.at(0));
       return Value(t.starts_with(start) ? t.substr(start.size()) : t);
     }},
    {"removesuffix",
     [](const Text& t, const Arguments& a) -> Result<Value> {
       Text end = text_of(a.at(0));
       return Value(t.ends_with(end) ? t.substr(0, t.size() - end.size()) : t);
     }},
    {"ljust", [](const Text& t, const Arguments& a) { return filled(t, a, '<'); }},
    {"rjust", [](const Text& t, const Arguments& a) { return filled(t, a, '>'); }},
    {"center", [](const Text& t, const Arguments& a) { return filled(t, a, '^'); }},
    {"zfill",
     [](const Text& t, const Arguments& a) -> Result<Value> {
       bool sign = t.starts_with('-') || t.starts_with('+');
       std::int64_t lacks = whole_or(a.at(0, "width"), 0) - std::int64_t(characters(t).size());
       return Value(lacks > 0 && lacks < 1 << 20 ? t.substr(0, sign) + Text(std::size_t(lacks), '0') + t.substr(sign)
                                                 : t);
     }},
    {"format", [](const Text& t, const Arguments& a) -> Result<Value> { return Value(POM_TRY(formatted(t, a))); }},
    {"swapcase",
     [](const Text& t, const Arguments&) -> Result<Value> {
       Text result;
       for (Character c : characters(t))
         result += lower_case(utf8(c)) == utf8(c) ? upper_case(utf8(c)) : lower_case(utf8(c));
       return Value(result);
     }},
    {"casefold", [](const Text& t, const Arguments&) -> Result<Value> { return Value(lower_case(t)); }},
    {"isalpha", [](const Text& t, const Arguments&) -> Result<Value> { return Value(all_are(t, is_letter)); }},
    {"isalnum",
     [](const Text& t, const Arguments&) -> Result<Value> {
       return Value(all_are(t, [](Character c) { return is_letter(c) || is_numeric(c); }));
     }},
    {"isspace", [](const Text& t, const Arguments&) -> Result<Value> { return Value(all_are(t, is_white_space)); }},
    {"isnumeric", [](const Text& t, const Arguments&) -> Result<Value> { return Value(all_are(t, is_numeric)); }},
    {"isdecimal",
     [](const Text& t, const Arguments&) -> Result<Value> {
       return Value(!t.empty() && t.find_first_not_of("0123456789") == t.npos);
     }},
    {"isupper",
     [](const Text& t, const Arguments&) -> Result<Value> { return Value(upper_case(t) == t && lower_case(t) != t); }},
    {"islower",
     [](const Text& t, const Arguments&) -> Result<Value> { return Value(lower_case(t) == t && upper_case(t) != t); }},
    {"count",
     [](const Text& t, const Arguments& a) -> Result<Value> {
       return Value(std::int64_t(split(t, a.at(0), -1).size()) - 1);
     }},
    {"join",
     [](const Text& t, const Arguments& a) -> Result<Value> {
       return apply_filter("join", a.at(0), {{Value(t)}, {}});
     }},
    {"isdigit",
     [](const Text& t, const Arguments&) -> Result<Value> {
       return Value(!t.empty() && t.find_first_not_of("0123456789") == t.npos);
     }},
};

Value bound(TextMethod method, const Text& text) {
  return Value(Function([method, text](const Arguments& a) { return method(text, a); }));
}

Value mapping_method(const Value& self, std::string_view name) {
  auto each = [&self](auto make) {
    List all;
    for (const auto& [key, value] : self.mapping()->entries) all.push_back(make(key, value));
    return Value(Function([list = Value::list_of(std::move(all))](const Arguments&) -> Result<Value> { return list; }));
  };
  if (name == "items") return each([](auto& key, auto& value) { return Value::tuple_of({Value(key), value}); });
  if (name == "copy")
    return Value(
        Function([self](const Arguments&) -> Result<Value> { return Value::mapping_of(self.mapping()->entries); }));
  if (name == "keys") return each([](auto& key, auto&) { return Value(key); });
  if (name == "values") return each([](auto&, auto& value) { return value; });
  if (name == "get")
    return Value(Function([self](const Arguments& a) -> Result<Value> {
      const Value* found = self.mapping()->find(text_of(a.at(0)));
      if (found) return *found;
      return a.positional.size() > 1 || !a.named.empty() ? a.at(1, "default") : Value(None{});
    }));
  return {};
}

}  // namespace

Result<Value> attribute(const Value& value, const std::string& name) {
  POM_REQUIRE(!value.is_undefined(), "'{}' is undefined, and has no '{}'", value.undefined_name(), name);
  if (const Mapping* mapping = value.mapping()) {
    // As in Python, a mapping's methods hide its keys.
    if (!mapping->is_namespace)
      if (Value method = mapping_method(value, name); !method.is_undefined()) return method;
    const Value* found = mapping->find(name);
    return found ? *found : Value::undefined(name);
  }
  if (value.list() && (name == "count" || name == "index"))
    return Value(Function([value, name](const Arguments& a) -> Result<Value> {
      std::int64_t found = 0, at = 0;
      for (const Value& each : *value.list()) {
        bool same = equal(each, a.at(0));
        if (same && name == "index") return Value(at);
        found += same;
        ++at;
      }
      POM_REQUIRE(name == "count", "'{}' is not in the list", text_of(a.at(0)));
      return Value(found);
    }));
  if (const Text* text = value.string())
    for (const auto& [known, method] : text_methods)
      if (known == name) return bound(method, *text);
  return Value::undefined(name);
}

}  // namespace pomona::llm::jinja
