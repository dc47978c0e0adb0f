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

// Scores with names: a sequence of maps, of which Core ML has one at a classifier's end.
struct ZipMap {
  ONNX_IN(X);
  ONNX_ATTR(classlabels_int64s, Ints);
  ONNX_ATTR(classlabels_strings, Strings);
  Status lower(Lowering& g) const {
    POM_REQUIRE(!classlabels_int64s->empty() || !classlabels_strings->empty(), "there are no labels");
    Value scores = X.rank() == 1 ? g.expand_dims(X, {0}) : *X;
    return g.give(
        {.value = scores,
         .elem = Elem::float32,
         .classes = std::make_shared<NamedClasses>(NamedClasses{*classlabels_int64s, *classlabels_strings, scores})});
  }
};

}  // namespace

Result<Value> transformed(Lowering& g, Value scores, const std::string& name) {
  if (name == "NONE") return scores;
  if (name == "SOFTMAX") return g.add(mil::softmax{.x = scores, .axis = -1});
  if (name == "LOGISTIC") return g.add(mil::sigmoid{.x = scores});
  return fail("post_transform is '{}', which is not supported", name);
}

Status give_classes(Lowering& g, Value classes, Value scores, const ClassLabels& labels, std::string_view unlike) {
  auto named = std::make_shared<NamedClasses>(NamedClasses{labels.ints, labels.strings, scores});
  if (!unlike.empty()) {
    std::vector<double> all;
    for (std::size_t i = 0; i < labels.size(); ++i) all.push_back(double(i));
    Value numbers = g.constant(Tensor::from_numbers(DType::int32, {std::int64_t(all.size())}, all));
    named->scores = g.cast(g.add(mil::equal{.x = g.expand_dims(classes, {1}), .y = numbers}), DType::fp32);
    named->made = true;
  }
  if (!labels.strings.empty()) {
    POM_TRY(g.give({.value = classes, .elem = Elem::string, .classes = named}));
  } else {
    Value label = g.add(mil::gather{.x = g.ints(labels.ints), .indices = classes, .axis = 0});
    POM_TRY(g.result(label, Elem::int64));
  }
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
  return give_classes(g, best, POM_TRY(transformed(g, scores, post_transform)), labels,
                      scored ? "not every class has a score" : "");
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
  // Whether the greater of both scores is the label's.
  bool whole = post_transform == "NONE" && first == FirstScore::one_less;
  bool agrees = threshold == (whole ? 0.5 : 0);
  return give_classes(g, classes, POM_TRY(transformed(g, g.concat({other, score}, 1), post_transform)), labels,
                      agrees ? "" : "the greater score is not always the label's");
}

Rules ml_classifier_chapter() {
  return {
      rule<LinearClassifier>("LinearClassifier", 1, always, domain),
      rule<ZipMap>("ZipMap", 1, always, domain),
  };
}

}  // namespace pomona::onnx
