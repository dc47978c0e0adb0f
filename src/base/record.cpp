#include "base/record.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

namespace pomona {
namespace {

template <class V>
bool take(V& v, const Attribute& a) {
  const V* held = std::get_if<V>(&a);
  if (held) v = *held;
  return held;
}

template <class V, class Element>
bool take_list(V& v, const Attribute& a) {
  if (auto* one = std::get_if<Element>(&a)) {
    v = {*one};
    return true;
  }
  return take(v, a);
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t best = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = std::exchange(row[j], best);
    }
  }
  return row.back();
}

}  // namespace

bool AttributeForm<bool>::set(bool& v, const Attribute& a) { return take(v, a); }
bool AttributeForm<std::int64_t>::set(std::int64_t& v, const Attribute& a) { return take(v, a); }
bool AttributeForm<int>::set(int& v, const Attribute& a) {
  std::int64_t wide;
  if (!take(wide, a) || wide != int(wide)) return false;
  v = int(wide);
  return true;
}
bool AttributeForm<double>::set(double& v, const Attribute& a) {
  std::int64_t whole;
  if (take(whole, a)) {
    v = double(whole);
    return true;
  }
  return take(v, a);
}
bool AttributeForm<float>::set(float& v, const Attribute& a) {
  double wide;
  if (!AttributeForm<double>::set(wide, a)) return false;
  v = float(wide);
  return true;
}
bool AttributeForm<std::string>::set(std::string& v, const Attribute& a) { return take(v, a); }
bool AttributeForm<Ints>::set(Ints& v, const Attribute& a) { return take_list<Ints, std::int64_t>(v, a); }
bool AttributeForm<Floats>::set(Floats& v, const Attribute& a) {
  if (auto* whole = std::get_if<Ints>(&a)) {
    v.assign(whole->begin(), whole->end());
    return true;
  }
  return take_list<Floats, double>(v, a);
}
bool AttributeForm<Strings>::set(Strings& v, const Attribute& a) { return take_list<Strings, std::string>(v, a); }
bool AttributeForm<IntsOrStrings>::set(IntsOrStrings& v, const Attribute& a) {
  if (Strings strings; AttributeForm<Strings>::set(strings, a)) {
    v = std::move(strings);
    return true;
  }
  return AttributeForm<Ints>::set(v.emplace<Ints>(), a);
}

std::string to_string(const Attribute& attribute) {
  return std::visit(
      [](const auto& v) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::monostate>)
          return "none";
        else
          return fmt::format("{}", v);
      },
      attribute);
}

std::string nearest_word(std::string_view word, const std::vector<std::string_view>& known) {
  std::string_view best;
  std::size_t nearest = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (std::string_view candidate : known) {
    std::size_t distance = edit_distance(word, candidate);
    if (distance < nearest) nearest = distance, best = candidate;
  }
  return std::string(best);
}

Status set_fields_erased(const RecordInfo& info, void* record, const std::map<std::string, Attribute>& values) {
  for (const auto& [name, value] : values) {
    auto field = std::find_if(info.fields.begin(), info.fields.end(), [&](auto* f) { return f->name == name; });
    if (field == info.fields.end()) {
      std::vector<std::string_view> known;
      for (auto* f : info.fields) known.push_back(f->name);
      Error error = fail("there is no option '{}'", name);
      std::string near = nearest_word(name, known);
      if (!near.empty()) return std::move(error).advise(near);
      return error;
    }
    POM_REQUIRE((*field)->set(info.at(record, std::size_t(field - info.fields.begin())), value),
                "option '{}' cannot be {}", name, to_string(value));
  }
  return {};
}

}  // namespace pomona
