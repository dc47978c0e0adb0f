// Checks that a program is one Core ML can hold: a table of rules, each with what it promises.
//
//   POM_TRY(verify(program));
//
// All broken rules come in one error, each with the op or value it is about, up to a bound. A rewriting that leaves a
// program in which verify() finds something has a bug; a file in which it does is refused by Core ML, too.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/program.h"

namespace pomona {

struct Finding {
  std::string_view rule;  // its name
  std::string place;      // "conv 'stem'", "input 'x'"
  std::string text;
};
using Findings = std::vector<Finding>;

struct VerifyRule {
  std::string_view name, what;
  void (*check)(const Function& function, Findings& findings);
};
std::span<const VerifyRule> verify_rules();

// What the rules find in a function, in the order of the rules.
Findings findings_of(const Function& function);
Status verify(const Function& function);
Status verify(const Program& program);

}  // namespace pomona
