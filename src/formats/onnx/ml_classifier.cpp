#include "formats/onnx/ml_classifier.h"

#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/reduction.h"

namespace pomona::onnx {
namespace {

constexpr Text domain = "ai.onnx.ml";
constexpr int always = 1 << 30;

Result<Value> transformed(Lowering& g, Value scores, const std::string& name) {
  if (name == "NONE") return scores;
  if (name == "SOFTMAX") return g.add(mil::softmax{.x = scores, .axis = -1});
  if (name == "LOGISTIC") return g.add(mil::sigmoid{.x = scores});
  return fail("post_transform is '{}', which is not supported", name);
}

struct LinearClassifier {
  ONNX_IN(X);
  ONNX_ATTR(classlabels_ints, Ints);
  ONNX_ATTR(classlabels_strings, Strings);
  ONNX_ATTR(coefficients, Floats, .required = true);
  ONNX_ATTR(intercepts, Floats);
  ONNX_ATTR(multi_class, int) = 0;
  ONNX_ATTR(post_transform, std::string) = "NONE";
  Status lower(Lowering& g) const {
    ClassLabels labels{*classlabels_ints, *classlabels_strings};
    Value x = X.rank() == 1 ? g.expand_dims(X, {0}) : *X;
    POM_REQUIRE(x && x.rank() == 2, "the input is no matrix");
    // An open width is what the coefficients leave.
    bool one_score = labels.size() == 2 && intercepts->size() == 1;
    std::int64_t rows = one_score ? 1 : std::int64_t(labels.size());
    if (x.shape()[1].known() && x.shape()[1].value() > 0)
      rows = std::int64_t(coefficients->size()) / x.shape()[1].value();
    POM_REQUIRE(rows > 0 && coefficients->size() % std::size_t(rows) == 0, "{} coefficients for {} labels",
                coefficients->size(), labels.size());
    std::int64_t width = std::int64_t(coefficients->size()) / rows;
    POM_REQUIRE((rows == 1 && labels.size() == 2) || rows == std::int64_t(labels.size()),
                "{} rows of coefficients for {} labels", rows, labels.size());
    Value weight = g.constant(Tensor::from_numbers(DType::fp32, {rows, width}, *coefficients));
    Value scores = g.add(mil::matmul{.x = g.cast(x, DType::fp32), .y = weight, .transpose_y = true});
    if (!intercepts->empty())
      scores = g.plus(scores,
                      g.constant(Tensor::from_numbers(DType::fp32, {std::int64_t(intercepts->size())}, *intercepts)));
    if (rows == 1) return give_two_classes(g, scores, 0, FirstScore::one_less, labels, *post_transform);
    return give_best_class(g, scores, labels, *post_transform);
  }
};

}  // namespace

Status give_classes(Lowering& g, Value classes, Value scores, const ClassLabels& labels) {
  POM_REQUIRE(labels.strings.empty() && !labels.ints.empty(), "labels that are strings are not supported");
  Value table = g.ints(labels.ints);
  POM_TRY(g.result(g.add(mil::gather{.x = table, .indices = classes, .axis = 0}), Elem::int64));
  return g.result(scores, Elem::float32);
}

Status give_best_class(Lowering& g, Value scores, const ClassLabels& labels, const std::string& post_transform,
                       Value scored) {
  POM_REQUIRE(scores && scores.rank() == 2, "the scores are no matrix");
  constexpr double hopeless = -3e38;
  Value chances = scores;
  if (scored) {
    Value there = g.add(mil::greater{.x = scored, .y = g.number(scored, 0)});
    chances = g.select(there, scores, g.number(scores, hopeless));
  }
  Value best = g.add(mil::reduce_argmax{.x = chances, .axis = 1, .keep_dims = false});
  return give_classes(g, best, POM_TRY(transformed(g, scores, post_transform)), labels);
}

Status give_two_classes(Lowering& g, Value score, double threshold, FirstScore first, const ClassLabels& labels,
                        const std::string& post_transform) {
  POM_REQUIRE(labels.size() == 2, "there are {} labels for two classes", labels.size());
  POM_REQUIRE(score && score.rank() == 2, "the scores are no matrix");
  Value second = g.add(mil::greater{.x = score, .y = g.number(score, threshold)});
  Value classes = g.squeeze(g.cast(second, DType::int32), {1});
  Value other = g.times(score, first == FirstScore::zero ? 0 : -1);
  if (post_transform == "NONE" && first == FirstScore::one_less) other = g.plus(other, 1);
  // Of -s and s the softmax would be another thing than what ONNX Runtime gives.
  POM_REQUIRE(post_transform != "SOFTMAX" || first == FirstScore::zero,
              "post_transform is 'SOFTMAX', which is not supported for one score");
  return give_classes(g, classes, POM_TRY(transformed(g, g.concat({other, score}, 1), post_transform)), labels);
}

Rules ml_classifier_chapter() {
  return {
      rule<LinearClassifier>("LinearClassifier", 1, always, domain),
  };
}

}  // namespace pomona::onnx
