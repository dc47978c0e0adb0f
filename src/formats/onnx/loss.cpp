#include "formats/onnx/lowering.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/reduction.h"
#include "ops/shape.h"

// Losses, as they are computed in inference.
namespace pomona::onnx {
namespace {

Value all_axes(Lowering& g, Value x, bool mean) {
  if (!x || x.rank() == 0) return x;
  Ints axes;
  for (std::size_t i = 0; i < x.rank(); ++i) axes.push_back(std::int64_t(i));
  if (mean) return g.add(mil::reduce_mean{.x = x, .axes = axes, .keep_dims = false});
  return g.add(mil::reduce_sum{.x = x, .axes = axes, .keep_dims = false});
}

// -weight[t] * log_probability[n, t, ...] for each target t, those equal to ignore_index left out.
Result<Value> negative_log_likelihood(Lowering& g, Value input, Value target, Value weight,
                                      const std::optional<int>& ignored, const std::string& reduction) {
  POM_REQUIRE(input.rank() >= 2 && target.rank() + 1 == input.rank(), "input and target have the ranks {} and {}",
              input.rank(), target.rank());
  POM_REQUIRE(reduction == "none" || reduction == "sum" || reduction == "mean", "reduction is '{}'", reduction);
  // The dims after the classes are alike: one stands for all of them.
  Shape spatial(target.shape().begin(), target.shape().end());
  if (input.rank() > 3) {
    auto places = exact_div(element_count(target.shape()), target.shape()[0]);
    POM_REQUIRE(places, "the sizes after the classes are not known");
    input = g.reshape(input, Shape{input.shape()[0], input.shape()[1], *places});
    target = g.reshape(target, Shape{target.shape()[0], *places});
  }
  Value skipped = ignored ? g.add(mil::equal{.x = target, .y = g.integer(*ignored)}) : Value();
  Value at = skipped ? g.select(skipped, g.integer(0), target) : target;
  Value picked =
      g.squeeze(g.add(mil::gather_along_axis{.x = input, .indices = g.expand_dims(at, {1}), .axis = 1}), {1});
  Value loss = g.times(picked, -1), share;
  if (weight) share = g.add(mil::gather{.x = weight, .indices = at, .axis = 0});
  if (skipped) {
    Value kept = g.cast(g.add(mil::logical_not{.x = skipped}), input.dtype());
    share = share ? g.times(share, kept) : kept;
    loss = g.select(skipped, g.number(input, 0), loss);
  }
  if (share) loss = g.times(loss, share);
  if (reduction == "none") return g.reshape(loss, spatial);
  if (reduction == "sum" || !share) return all_axes(g, loss, reduction == "mean");
  return g.over(all_axes(g, loss, false), all_axes(g, share, false));
}

struct NegativeLogLikelihoodLoss {
  ONNX_IN(input);
  ONNX_IN(target);
  ONNX_OPTIONAL(weight);
  ONNX_ATTR(ignore_index, std::optional<int>);
  ONNX_ATTR(reduction, std::string) = "mean";
  Status lower(Lowering& g) const {
    return g.result(POM_TRY(negative_log_likelihood(g, input, target, weight, ignore_index, reduction)), input.elem());
  }
};

struct SoftmaxCrossEntropyLoss {
  ONNX_IN(scores);
  ONNX_IN(labels);
  ONNX_OPTIONAL(weights);
  ONNX_ATTR(ignore_index, std::optional<int>);
  ONNX_ATTR(reduction, std::string) = "mean";
  Status lower(Lowering& g) const {
    POM_REQUIRE(scores.rank() >= 2, "scores has rank {}", scores.rank());
    Value centred = g.minus(scores, g.add(mil::reduce_max{.x = scores, .axes = Ints{1}, .keep_dims = true}));
    Value sum = g.add(mil::reduce_log_sum_exp{.x = centred, .axes = Ints{1}, .keep_dims = true});
    Value log = g.minus(centred, sum);
    if (!log) return g.status();
    POM_TRY(
        g.result(POM_TRY(negative_log_likelihood(g, log, labels, weights, ignore_index, reduction)), scores.elem()));
    return g.wants(1) ? g.result(log, scores.elem()) : Status();
  }
};

}  // namespace

Rules loss_chapter() {
  return {
      rule<NegativeLogLikelihoodLoss>("NegativeLogLikelihoodLoss"),
      rule<SoftmaxCrossEntropyLoss>("SoftmaxCrossEntropyLoss"),
  };
}

}  // namespace pomona::onnx
