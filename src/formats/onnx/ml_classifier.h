// What classifiers of ai.onnx.ml have in common: labels, and scores that a transformation makes probabilities.
#pragma once
#include "formats/onnx/lowering.h"

namespace pomona::onnx {

struct ClassLabels {
  const Ints& ints;
  const Strings& strings;
  std::size_t size() const { return ints.size() + strings.size(); }
};
// The node's two results: the label of each row's class (an index [N]), and the scores [N, classes] or others. `unlike`
// says why the greatest score is not always the label's; empty where it is.
Status give_classes(Lowering& g, Value classes, Value scores, const ClassLabels& labels, std::string_view unlike = {});
// Scores after post_transform.
Result<Value> transformed(Lowering& g, Value scores, const std::string& name);
// The same with the class of the best score, and post_transform done to the scores. Classes where `scored` (if it is
// there) is 0 are out of the question.
Status give_best_class(Lowering& g, Value scores, const ClassLabels& labels, const std::string& post_transform,
                       Value scored = {});

// Two classes by one score [N, 1]: the second one where it is above `threshold`. As ONNX Runtime has them, the scores
// are those of `first` and the score, which NONE leaves as they are.
enum class FirstScore : std::uint8_t { one_less, negative, zero };
Status give_two_classes(Lowering& g, Value score, double threshold, FirstScore first, const ClassLabels& labels,
                        const std::string& post_transform);

}  // namespace pomona::onnx
