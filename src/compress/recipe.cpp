#include "compress/recipe.h"

#include <algorithm>
#include <regex>

namespace pomona::compress {
namespace {

constexpr std::string_view regex_mark = "re:";

bool glob(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') return glob(pattern.substr(1), name) || (!name.empty() && glob(pattern, name.substr(1)));
  if (name.empty() || (pattern[0] != '?' && pattern[0] != name[0])) return false;
  return glob(pattern.substr(1), name.substr(1));
}

std::vector<std::string> names_of(Value weight) {
  std::vector<std::string> names{weight.name(), weight.producer()->name};
  for (const Node* user : weight.users()) {
    if (!user->op) continue;
    names.push_back(user->name);
    if (user->output_count() > 0) names.push_back(user->output().name());
  }
  for (std::string_view ending : {".weight", "_weight"})
    if (names[0].ends_with(ending)) names.push_back(names[0].substr(0, names[0].size() - ending.size()));
  std::erase(names, "");
  return names;
}

}  // namespace

std::vector<std::shared_ptr<const Scheme>> Recipe::schemes() const {
  std::vector<std::shared_ptr<const Scheme>> all{global};
  for (const auto& [type, scheme] : types) all.push_back(scheme);
  for (const Named& named : names) all.push_back(named.scheme);
  std::erase(all, nullptr);
  return all;
}

Result<Recipe> one_scheme(std::string_view name, const SchemeOptions& options) {
  Recipe recipe;
  recipe.global = POM_TRY(make_scheme(name, options));
  return recipe;
}

Status check_pattern(const std::string& pattern) {
  if (!pattern.starts_with(regex_mark)) return {};
  try {
    (void)std::regex(pattern.substr(regex_mark.size()));
  } catch (const std::regex_error& error) {
    return fail("'{}' is no regular expression: {}", pattern, error.what());
  }
  return {};
}

bool matches(const std::string& pattern, const std::string& name) {
  if (pattern == name) return true;
  if (!pattern.starts_with(regex_mark)) return pattern.find_first_of("*?") != pattern.npos && glob(pattern, name);
  return std::regex_match(name, std::regex(pattern.substr(regex_mark.size())));
}

namespace {

// What the first pattern among the names decides, if there is one.
std::optional<Choice> choose_by_name(const Recipe& recipe, const std::vector<std::string>& names,
                                     std::vector<bool>& used) {
  used.resize(recipe.names.size());
  for (bool exact : {true, false})
    for (std::size_t i = 0; i < recipe.names.size(); ++i) {
      const auto& [pattern, scheme] = recipe.names[i];
      bool found = std::ranges::any_of(
          names, [&](const std::string& name) { return exact ? name == pattern : matches(pattern, name); });
      if (!found) continue;
      used[i] = true;
      return Choice{scheme, scheme ? "" : "'" + pattern + "' is left by the configuration", true};
    }
  return {};
}

// What the configuration says of an op of that type.
Choice choose_by_type(const Recipe& recipe, const Node& op) {
  auto at = recipe.types.find(std::string(op.op->name));
  if (at == recipe.types.end()) return {recipe.global, recipe.global ? "" : "the configuration has no scheme for it"};
  return {at->second, at->second ? "" : std::string(op.op->name) + " is left by the configuration"};
}

}  // namespace

Choice choose_for_op(const Recipe& recipe, const Node& op, std::vector<bool>& used) {
  std::vector<std::string> names{op.name};
  if (op.output_count() > 0) names.push_back(op.output().name());
  if (op.op->input_index("weight"))
    if (Value weight = op.input("weight"); weight && weight.is_weight())
      for (std::string& name : names_of(weight)) names.push_back(std::move(name));
  std::erase(names, "");
  return choose_by_name(recipe, names, used).value_or(choose_by_type(recipe, op));
}

Result<Choice> choose(const Recipe& recipe, Value weight, std::vector<bool>& used) {
  if (auto named = choose_by_name(recipe, names_of(weight), used)) return *named;
  std::optional<Choice> choice;
  const Node* first = nullptr;
  for (const Node* user : weight.users()) {
    if (!user->op) continue;
    Choice here = choose_by_type(recipe, *user);
    if (!choice) choice = here, first = user;
    POM_REQUIRE(choice->scheme == here.scheme, "{} and {} read it, and the configuration treats them differently",
                first->label(), user->label());
  }
  return choice.value_or(Choice{recipe.global, "nothing reads it"});
}

}  // namespace pomona::compress
