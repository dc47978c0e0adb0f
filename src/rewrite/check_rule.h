// Holds a rewrite rule to its word: builds its pattern in every spelling as a program, runs the program before and
// after the rule with the reference evaluation on random inputs, and compares. Then the same with other shapes than
// the pattern's own examples: where the rule still applies, results must still agree.
//
//   RuleCheck check = POM_TRY(check_rule(rule));     // an error says which spelling, which shapes, how far off
//
// It shows a wrong rule wrong; it cannot show that a rule never misses what it should see.
#pragma once
#include "rewrite/rule.h"

namespace pomona::rewrite {

struct RuleCheck {
  std::size_t spellings = 0;  // of the pattern, all of which the rule rewrote
  std::size_t other_shapes = 0, other_shapes_rewritten = 0;
  double worst_error = 0;  // |after - before| / (1 + |before|)
};

Result<RuleCheck> check_rule(const Rule& rule, double tolerance = 2e-5);

}  // namespace pomona::rewrite
