// Which weight gets which scheme: one for all, for the weights of an op type, for weights by name.
//
//   Recipe recipe = POM_TRY(one_scheme("int8"));
//   recipe.types["conv"] = lut6; recipe.names.push_back({"*embedding*", nullptr});       // null: left
//   Choice c = POM_TRY(choose(recipe, value));
//
// A name outranks a type, a type outranks the scheme for all; among names an equal one comes first, then patterns in
// their order. A name is that of the weight, of its node, or of an op that reads it, with or without ".weight".
// Patterns: `*` and `?` as in file names; a regular expression (of the whole name) after "re:".
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compress/scheme.h"

namespace pomona::compress {

struct Recipe {
  struct Named {
    std::string pattern;
    std::shared_ptr<const Scheme> scheme;  // null: weights of this name are left
  };
  std::shared_ptr<const Scheme> global;                        // null: weights without a rule are left
  std::map<std::string, std::shared_ptr<const Scheme>> types;  // by MIL op
  std::vector<Named> names;

  // What is done with data beside choosing codes; named in configurations and by flags of the same names.
  struct Methods {
    std::string scaling;  // awq, smooth_quant, or empty
    std::optional<double> smoothing_strength, damping;
    std::optional<bool> activation_order;
    bool bias_correction = false;
    std::string importance;  // a file
    std::string needs_data;  // what would be nothing without: the words for it
  };
  Methods methods;

  std::vector<std::shared_ptr<const Scheme>> schemes() const;
};
Result<Recipe> one_scheme(std::string_view name, const SchemeOptions& options = {});

struct Choice {
  std::shared_ptr<const Scheme> scheme;  // null: left, for `reason`
  std::string reason;
  bool by_name = false;
};
// `used`: set for each of recipe.names that has matched. Errors: ops that read the weight have different schemes.
Result<Choice> choose(const Recipe& recipe, Value weight, std::vector<bool>& used);

// Of an op, for its activations: by its own names, those of its result and of its weight; its type; or the scheme for
// all.
Choice choose_for_op(const Recipe& recipe, const Node& op, std::vector<bool>& used);

// An error when the pattern is no regular expression.
Status check_pattern(const std::string& pattern);
bool matches(const std::string& pattern, const std::string& name);

}  // namespace pomona::compress
