#include "cli/usage.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>

#include "base/record.h"

namespace pomona::cli {
namespace {

std::string before(const std::string& text, std::string_view mark) { return text.substr(0, text.find(mark)); }
std::string behind(const std::string& text, std::string_view mark) {
  std::size_t at = text.find(mark);
  return at == text.npos ? text : text.substr(at + mark.size());
}

std::string nearest_flag(const CLI::App& verb, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::Option* option : verb.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  std::vector<std::string_view> known(names.begin(), names.end());
  return nearest_word(before(word, "="), known);
}

// "a whole number", by what the flag's help says it takes.
std::string_view wanted(const CLI::App* verb, const std::string& flag) {
  const CLI::Option* option = verb ? verb->get_option_no_throw(flag) : nullptr;
  std::string type = option ? option->get_type_name() : "";
  return type == "INT" ? "a whole number" : type == "NUMBER" ? "a number" : "another value";
}

}  // namespace

Error usage_error(const CLI::ParseError& problem, const CLI::App* verb) {
  std::string text = problem.what(), who = verb ? "'" + verb->get_name() + "'" : "pomona";
  std::string help = verb ? "pomona help " + verb->get_name() : "pomona help";
  if (dynamic_cast<const CLI::RequiredError*>(&problem)) {
    std::string what = before(text, " is required");
    std::transform(what.begin(), what.end(), what.begin(), [&](unsigned char c) {
      return text.starts_with("-") ? c : static_cast<unsigned char>(std::toupper(c));
    });
    return fail("{} needs {}", who, what).advise(help);
  }
  if (dynamic_cast<const CLI::ExtrasError*>(&problem)) {
    // An unknown option comes with what was meant as its value.
    std::string words = " " + behind(text, "expected: ");
    std::size_t dash = words.find(" -");
    std::string word = before(words.substr(dash == words.npos ? 1 : dash + 1), " ");
    if (!word.starts_with("-")) return fail("{} has no use for '{}'", who, word).advise(help);
    std::string near = verb ? nearest_flag(*verb, word) : "";
    return fail("{} has no option '{}'", who, word).advise(near.empty() ? help : near);
  }
  std::string flag = before(text, ":");
  if (dynamic_cast<const CLI::ConversionError*>(&problem)) {
    std::string rest = behind(text, ": ");
    flag = before(rest, " = ");
    return fail("{} takes {}, not '{}'", flag, wanted(verb, flag), behind(rest, " = ")).advise(help);
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&problem))
    return fail("{} {}", flag, text.find("received") == text.npos ? "needs a value" : "is given more than once")
        .advise(help);
  if (dynamic_cast<const CLI::ValidationError*>(&problem))
    return fail("{}", flag == "--threads" ? "--threads takes a whole number from 1 to 1024" : text).advise(help);
  return fail("the command line is not understood: {}", text).advise(help);
}

}  // namespace pomona::cli
