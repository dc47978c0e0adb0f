#include "cli/flags.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace pomona::cli {
namespace {

std::string flag_name(std::string_view field) {
  std::string name = "--" + std::string(field);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

// "1,32", "1x32", "2:4" or "[1, 32]".
std::optional<Attribute> list_from(Holds holds, std::string word) {
  for (char& c : word)
    if (std::string_view("[](),x:").find(c) != std::string_view::npos) c = ' ';
  Ints integers;
  Floats reals;
  const char* at = word.c_str();
  while (*(at += std::strspn(at, " "))) {
    char* stop = nullptr;
    reals.push_back(std::strtod(at, &stop));
    if (stop == at) return {};
    auto whole = std::int64_t(reals.back());
    if (double(whole) != reals.back() && holds == Holds::integers) return {};
    integers.push_back(whole);
    at = stop;
  }
  if (reals.empty()) return {};
  if (holds == Holds::integers) return Attribute(integers);
  return Attribute(reals);
}

std::optional<Attribute> attribute_from(Holds holds, const std::vector<std::string>& words) {
  if (holds == Holds::texts) return Attribute(words);
  const std::string& word = words.back();
  const char* end = word.data() + word.size();
  if (holds == Holds::int32 || holds == Holds::integer) {
    std::int64_t value = 0;
    auto [stop, failed] = std::from_chars(word.data(), end, value);
    if (failed != std::errc() || stop != end) return {};
    return Attribute(value);
  }
  if (holds == Holds::real) {
    char* stop = nullptr;
    double value = std::strtod(word.c_str(), &stop);
    if (word.empty() || stop != word.c_str() + word.size()) return {};
    return Attribute(value);
  }
  if (holds == Holds::integers || holds == Holds::reals) return list_from(holds, word);
  if (holds == Holds::any) {
    for (Holds guess : {Holds::integer, Holds::real})
      if (auto value = attribute_from(guess, words)) return value;
  }
  return Attribute(word);
}

std::string type_name(Holds holds) {
  switch (holds) {
    case Holds::int32:
    case Holds::integer:
      return "INT";
    case Holds::real:
      return "NUMBER";
    default:
      return "TEXT";
  }
}

}  // namespace

void add_attribute_flag(CLI::App& app, const FieldInfo& field, const std::string& doc,
                        std::function<void(const Attribute&)> take) {
  if (field.holds == Holds::boolean) {
    app.add_flag_callback(flag_name(field.name), [take] { take(true); }, doc);
    return;
  }
  app.add_option(
         flag_name(field.name),
         [take, holds = field.holds](const CLI::results_t& words) {
           auto value = attribute_from(holds, words);
           if (value) take(*value);
           return value.has_value();
         },
         doc)
      ->type_name(type_name(field.holds))
      ->expected(1);
}

void add_record_flags(CLI::App& app, void* record, const RecordInfo& info) {
  for (std::size_t i = 0; i < info.fields.size(); ++i) {
    Field& field = info.at(record, i);
    const FieldInfo& facts = *info.fields[i];
    std::string name = flag_name(facts.name), doc(facts.doc);
    if (facts.holds == Holds::boolean) {
      app.add_flag_callback(name, [&field, &facts] { facts.set(field, true); }, doc);
      continue;
    }
    auto* option = app.add_option(
        name,
        [&field, &facts](const CLI::results_t& words) {
          auto value = attribute_from(facts.holds, words);
          return value && facts.set(field, *value);
        },
        doc);
    option->type_name(type_name(facts.holds));
    if (facts.holds == Holds::texts)
      option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    else
      option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::Throw);
    std::string fallback = to_string(facts.get(field));
    if (facts.holds != Holds::texts && !fallback.empty() && fallback != "\"\"") option->default_str(fallback);
  }
}

}  // namespace pomona::cli
