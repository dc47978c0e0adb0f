// Passes: functions that rewrite a whole program. Their order is in pipeline.cpp; each leaves a program that the
// verifier accepts, and is near-linear in the number of nodes.
#pragma once
#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "ir/op.h"

namespace pomona::rewrite {

// Removes nodes whose results nobody uses, innermost blocks included. Nodes with side effects stay.
void remove_dead(Program& program);

// Replaces nodes that compute from constants by constants. Small results are computed now; large ones become recipes
// (Weight::derived) that run the op's reference when the weight is written. Results that would be much larger than what
// they are made of (a fill, a tile) stay nodes. Shape-like values that are known although their input is not (the shape
// of a tensor of known size) become constants as well.
Status fold_constants(Program& program);

// For one node: whether all of its inputs are constants and its results not too large; and these results as constants,
// placed before the node, which stays.
bool is_foldable(const Node& node);
Result<Values> fold_node(Node& node);

// Whether a function returns this value.
bool is_result(Value value);
// Before `after` takes the place of `before`: results of a function keep their names, so a result passes its name on.
// False when that cannot be, as `after` is an input or another result. A value without a name takes any.
bool take_name(Value before, Value after);

// Merges nodes that apply the same op to the same inputs with the same attributes, and equal constants.
void merge_equal(Program& program);

// Gives every value a legal MIL identifier, unique in its function, and every node a name. Inputs and outputs whose
// names change keep their source names in the metadata (ir/border.h). Returns a sentence per renamed input or output.
std::vector<std::string> legal_names(Program& program);

// Moves transposes down through ops that do not mind the order of dims where that lets more of them cancel than it
// makes.
Status cancel_transposes(Program& program);

// Core ML holds tensors of rank 5 at most. Ops on more dims are done on fewer, with dims that stay together as one; a
// transpose that has too many even so is done in steps, an operand that broadcasts unevenly is repeated. What cannot be
// done so is an error that names the op.
Status limit_rank(Program& program);

// What a `select` chooses from has its result's shape even without the condition: coremltools' shape inference leaves
// that out, and refuses a program with a mask made of two numbers.
Status widen_selects(Program& program);

// Takes ops apart that the function's operator set does not have yet but older ones can say, and says anew what later
// ones say otherwise; an error lists the others.
Status fit_target(Program& program);

struct BorderOptions {
  bool half = false;  // fp32 inputs and outputs become fp16 (iOS16 and later)
};
// Gives inputs and outputs of every function the dtypes that Core ML takes there, with casts inside: fp32 and int32,
// fp16 from iOS16, int8 from iOS26; rank 0 becomes [1]. Results that are inputs, or appear twice, get an identity.
// Returns a sentence per change. Features are made for inputs, outputs and states that have none.
Result<std::vector<std::string>> adapt_border(Program& program, const BorderOptions& options);

struct HalfOptions {
  // Names nodes of a function, which computes in fp32 still, that are to stay as they are.
  std::function<Result<std::unordered_set<const Node*>>(Function& function)> stay_single = {};
};
// Makes fp32 computations fp16: constants are converted, casts placed where precisions meet. What stays fp32: ops that
// accept no fp16, ops with a finite constant beyond fp16's range (masks of 1e38 and more become -65504 instead), sums
// of 16384 elements and more, logarithms with the few ops that lead to them (the filters of a spectrum included), and
// arithmetic on numbers that end as integers (indices). Constants and epsilons that
// would become 0 become 2^-24. Types of function inputs, block inputs and results stay as they are. Returns a sentence
// per kind of number that fp16 cannot hold and that was changed to the nearest it can.
Result<std::vector<std::string>> use_half(Program& program, const HalfOptions& options = {});

// Makes fp16 computations fp32, constants and decoded weights included. Ops that take no fp32 (updates of a state)
// stay; types of function inputs, block inputs and results stay as they are.
Status use_single(Program& program);

struct EngineLimits {
  std::int64_t axis = 16384;   // the longest
  std::int64_t depth = 16384;  // of a matrix product
  std::int64_t kernel = 13;    // the widest of a convolution
};
// Says in forms that the Neural Engine takes what it does not take otherwise, with the same results: strides, kernels,
// dilations and poolings (engine_windows.h), attention written out, layers with long axes in parts, 16-bit indices,
// running sums as products, masks of -40000. Only where sizes are known. Returns a sentence per kind of change.
Result<std::vector<std::string>> suit_engine(Program& program, const EngineLimits& limits);

}  // namespace pomona::rewrite
