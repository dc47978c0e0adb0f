#include "rewrite/rules/rules.h"

namespace pomona::rewrite {

std::vector<const Rule*> all_rules() {
  std::vector<const Rule*> all;
  for (RuleList list : {cleaning_rules(), activation_rules(), norm_rules(), fusion_rules(), attention_rules()})
    all.insert(all.end(), list.begin(), list.end());
  return all;
}

}  // namespace pomona::rewrite
