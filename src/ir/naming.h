// Names as MIL's text and files need them: [A-Za-z_][A-Za-z0-9_@]*, no reserved words, unique in a function.
//
//   Names names = POM_TRY(name_values(function));
//   names.of(value)      // "layer_1_weight", though the value is called "layer/1.weight"
//   names.of(node)       // op names are apart from value names
//
// What is legal and unique already keeps its name; inputs and results of the function keep theirs in any case.
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "ir/program.h"

namespace pomona {

bool is_legal_name(std::string_view name);
// Illegal characters become '_', a leading digit gets the prefix, a reserved word the suffix "_workaround".
std::string legal_name(std::string_view name, std::string_view prefix);

// Every character but ASCII letters, digits and '_' as '_': what the names of one value have in common wherever it is
// written.
std::string plain_name(std::string_view name);

class Names {
 public:
  const std::string& of(Value value) const { return values_.at(&value.info()); }
  const std::string& of(const Node& node) const { return nodes_.at(&node); }
  // Another value or op of this function: the name, made legal and unique.
  std::string fresh(std::string_view name);

 private:
  friend Result<Names> name_values(const Function& function);
  friend Names name_all(const Function& function);
  void name_block(const Block& block);
  std::string unique(std::string name, std::unordered_set<std::string>& taken);
  std::unordered_map<const ValueInfo*, std::string> values_;
  std::unordered_map<const Node*, std::string> nodes_;
  std::unordered_set<std::string> taken_values_, taken_nodes_;
  std::unordered_map<std::string, std::size_t> next_number_;
};
// Errors: an input or result of the function has an illegal name, or two have the same one.
Result<Names> name_values(const Function& function);
// Without errors: such names are changed like any other.
Names name_all(const Function& function);

}  // namespace pomona
