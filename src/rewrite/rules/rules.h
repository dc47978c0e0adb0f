// The rewrite rules, by topic. A rule is one record in its topic's file; the list at that file's end makes it known.
//
//   POM_TRY(apply_rules(program, cleaning_rules()));
#pragma once
#include "rewrite/rule.h"

namespace pomona::rewrite {

// Ops that do nothing, that undo each other or are better said in one op, and one spelling for what has several.
RuleList cleaning_rules();
// gelu, silu, the hard activations and others, from what exporters take them apart into.
RuleList activation_rules();
// layer_norm, softmax, means.
RuleList norm_rules();
// Constant scales, shifts and normalisations taken into the weights of linear and conv.
RuleList fusion_rules();
// scaled_dot_product_attention (iOS18).
RuleList attention_rules();

std::vector<const Rule*> all_rules();

}  // namespace pomona::rewrite
