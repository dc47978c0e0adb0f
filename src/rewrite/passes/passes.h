// Passes: functions that rewrite a whole program. Their order is in pipeline.cpp; each leaves a program that the
// verifier accepts, and is near-linear in the number of nodes.
#pragma once
#include "ir/program.h"

namespace pomona::rewrite {

// Removes nodes whose results nobody uses, innermost blocks included. Nodes with side effects stay.
void remove_dead(Program& program);

// Replaces nodes that compute from constants by constants. Small results are computed now; large ones become recipes
// (Weight::derived) that run the op's reference when the weight is written. Results that would be much larger than what
// they are made of (a fill, a tile) stay nodes. Shape-like values that are known although their input is not (the shape
// of a tensor of known size) become constants as well.
Status fold_constants(Program& program);

// Merges nodes that apply the same op to the same inputs with the same attributes, and equal constants.
void merge_equal(Program& program);

}  // namespace pomona::rewrite
