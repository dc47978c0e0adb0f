#include "formats/onnx/ml_classifier.h"

#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"

// Support vector machines, as libsvm and ONNX Runtime compute them.
namespace pomona::onnx {
namespace {

constexpr Text domain = "ai.onnx.ml";
constexpr int always = 1 << 30;

// Of each row of x with each of the vectors: [N, vectors].
Result<Value> kernel(Lowering& g, Value x, const Sizes& sizes, const Floats& vectors, const std::string& type,
                     const Floats& params) {
  double gamma = params.size() > 0 ? params[0] : 0;
  double offset = params.size() > 1 ? params[1] : 0;
  double degree = params.size() > 2 ? params[2] : 0;
  Value rows = g.constant(Tensor::from_numbers(DType::fp32, sizes, vectors));
  if (type == "RBF") {
    Value apart = g.minus(g.expand_dims(x, {1}), rows);
    Value squares = g.add(mil::reduce_sum_square{.x = apart, .axes = Ints{2}, .keep_dims = false});
    return g.add(mil::exp{.x = g.times(squares, -gamma)});
  }
  Value products = g.add(mil::matmul{.x = x, .y = rows, .transpose_y = true});
  if (type == "LINEAR") return products;
  Value shifted = g.plus(g.times(products, gamma), offset);
  if (type == "SIGMOID") return g.add(mil::tanh{.x = shifted});
  POM_REQUIRE(type == "POLY", "kernel_type is '{}'", type);
  return g.add(mil::pow{.x = shifted, .y = g.number(shifted, degree)});
}

struct SVMRegressor {
  ONNX_IN(X);
  ONNX_ATTR(coefficients, Floats, .required = true);
  ONNX_ATTR(kernel_params, Floats);
  ONNX_ATTR(kernel_type, std::string) = "LINEAR";
  ONNX_ATTR(n_supports, int) = 0;
  ONNX_ATTR(one_class, bool) = false;
  ONNX_ATTR(post_transform, std::string) = "NONE";
  ONNX_ATTR(rho, Floats, .required = true);
  ONNX_ATTR(support_vectors, Floats);
  Status lower(Lowering& g) const {
    POM_REQUIRE(*post_transform == "NONE", "post_transform is '{}', which is not supported", *post_transform);
    POM_REQUIRE(rho->size() == 1, "there are {} numbers in rho", rho->size());
    Value x = g.cast(X.rank() == 1 ? g.expand_dims(X, {0}) : *X, DType::fp32);
    POM_REQUIRE(x && x.rank() == 2, "the input is no matrix");
    bool supported = *n_supports > 0;
    const Floats& rows = supported ? *support_vectors : *coefficients;
    std::int64_t count = supported ? *n_supports : 1, width = std::int64_t(rows.size()) / count;
    POM_REQUIRE(width > 0 && width * count == std::int64_t(rows.size()) &&
                    (!supported || coefficients->size() == std::size_t(count)),
                "{} coefficients and {} numbers for {} vectors", coefficients->size(), rows.size(), count);
    Value y = POM_TRY(kernel(g, x, {count, width}, rows, *kernel_type, *kernel_params));
    if (supported)
      y = g.add(mil::matmul{.x = y, .y = g.constant(Tensor::from_numbers(DType::fp32, {count, 1}, *coefficients))});
    y = g.plus(y, (*rho)[0]);
    if (*one_class) {
      Value positive = g.add(mil::greater{.x = y, .y = g.number(y, 0)});
      y = g.minus(g.times(g.cast(positive, DType::fp32), 2), 1);
    }
    return g.result(y, Elem::float32);
  }
};

// Each pair of classes decides between the two; the label is that of the class with most wins.
struct SVMClassifier {
  ONNX_IN(X);
  ONNX_ATTR(classlabels_ints, Ints);
  ONNX_ATTR(classlabels_strings, Strings);
  ONNX_ATTR(coefficients, Floats, .required = true);
  ONNX_ATTR(kernel_params, Floats);
  ONNX_ATTR(kernel_type, std::string) = "LINEAR";
  ONNX_ATTR(post_transform, std::string) = "NONE";
  ONNX_ATTR(prob_a, Floats);
  ONNX_ATTR(prob_b, Floats);
  ONNX_ATTR(rho, Floats, .required = true);
  ONNX_ATTR(support_vectors, Floats);
  ONNX_ATTR(vectors_per_class, Ints);
  Status lower(Lowering& g) const {
    ClassLabels labels{*classlabels_ints, *classlabels_strings};
    Value x = g.cast(X.rank() == 1 ? g.expand_dims(X, {0}) : *X, DType::fp32);
    POM_REQUIRE(x && x.rank() == 2, "the input is no matrix");
    auto classes = std::int64_t(labels.size());
    POM_REQUIRE(classes >= 2, "there are {} labels", classes);
    if (vectors_per_class->empty()) return lower_linear(g, x, labels, classes);
    std::int64_t pairs = classes * (classes - 1) / 2;
    POM_REQUIRE(std::int64_t(vectors_per_class->size()) == classes && std::int64_t(rho->size()) == pairs,
                "there are {} numbers of vectors and {} numbers in rho for {} classes", vectors_per_class->size(),
                rho->size(), classes);
    Value decisions = POM_TRY(decided(g, x, classes, pairs));
    Value labels_index = most_wins(g, decisions, classes, pairs);
    if (!prob_a->empty()) return lower_probabilities(g, decisions, labels_index, labels);
    if (classes == 2) {
      POM_REQUIRE(*post_transform != "SOFTMAX", "post_transform is 'SOFTMAX', which is not supported for two classes");
      Value both = g.concat({g.times(decisions, -1), decisions}, 1);
      return give_classes(g, labels_index, POM_TRY(transformed(g, both, *post_transform)), labels,
                          "the second score is that of the first class");
    }
    return give_classes(g, labels_index, POM_TRY(transformed(g, decisions, *post_transform)), labels,
                        "the scores are those of pairs of classes");
  }

 private:
  Status lower_linear(Lowering& g, Value x, const ClassLabels& labels, std::int64_t classes) const {
    POM_REQUIRE(classes > 2,
                "of two linear classes the label is the one with the better score to the specification and what the "
                "better score's sign says to ONNX Runtime");
    std::int64_t width = std::int64_t(coefficients->size()) / classes;
    POM_REQUIRE(width > 0 && width * classes == std::int64_t(coefficients->size()) && !rho->empty(),
                "{} coefficients for {} classes", coefficients->size(), classes);
    Value scores = POM_TRY(kernel(g, x, {classes, width}, *coefficients, *kernel_type, *kernel_params));
    return give_best_class(g, g.plus(scores, (*rho)[0]), labels, *post_transform);
  }
  // [N, pairs]: above 0 where the first class of the pair wins.
  Result<Value> decided(Lowering& g, Value x, std::int64_t classes, std::int64_t pairs) const {
    Ints begin{0};
    for (std::int64_t count : *vectors_per_class) {
      POM_REQUIRE(count >= 0 && count < 1 << 24, "a class has {} vectors", count);
      begin.push_back(begin.back() + count);
    }
    std::int64_t vectors = begin.back(), width = vectors ? std::int64_t(support_vectors->size()) / vectors : 0;
    POM_REQUIRE(width > 0 && width * vectors == std::int64_t(support_vectors->size()) &&
                    std::int64_t(coefficients->size()) == vectors * (classes - 1),
                "{} numbers of support vectors and {} coefficients for {} vectors", support_vectors->size(),
                coefficients->size(), vectors);
    std::vector<double> matrix(std::size_t(vectors * pairs));
    std::int64_t pair = 0;
    for (std::int64_t i = 0; i < classes; ++i)
      for (std::int64_t j = i + 1; j < classes; ++j, ++pair) {
        auto take = [&](std::int64_t of, std::int64_t line) {
          for (std::int64_t v = begin[std::size_t(of)]; v < begin[std::size_t(of) + 1]; ++v)
            matrix[std::size_t(v * pairs + pair)] = (*coefficients)[std::size_t(line * vectors + v)];
        };
        take(i, j - 1);
        take(j, i);
      }
    Value near = POM_TRY(kernel(g, x, {vectors, width}, *support_vectors, *kernel_type, *kernel_params));
    Value weights = g.constant(Tensor::from_numbers(DType::fp32, {vectors, pairs}, matrix));
    return g.plus(g.add(mil::matmul{.x = near, .y = weights}),
                  g.constant(Tensor::from_numbers(DType::fp32, {pairs}, *rho)));
  }
  static Value most_wins(Lowering& g, Value decisions, std::int64_t classes, std::int64_t pairs) {
    std::vector<double> gains(std::size_t(pairs * classes)), second;
    std::int64_t pair = 0;
    for (std::int64_t i = 0; i < classes; ++i) {
      for (std::int64_t j = i + 1; j < classes; ++j, ++pair) {
        gains[std::size_t(pair * classes + i)] = 1;
        gains[std::size_t(pair * classes + j)] = -1;
      }
      second.push_back(double(i));  // so often it is the second of a pair, and wins unless the first does
    }
    Value wins = g.cast(g.add(mil::greater{.x = decisions, .y = g.number(decisions, 0)}), DType::fp32);
    Value table = g.constant(Tensor::from_numbers(DType::fp32, {pairs, classes}, gains));
    Value votes = g.plus(g.add(mil::matmul{.x = wins, .y = table}),
                         g.constant(Tensor::from_numbers(DType::fp32, {classes}, second)));
    return g.add(mil::reduce_argmax{.x = votes, .axis = 1, .keep_dims = false});
  }
  Status lower_probabilities(Lowering& g, Value decisions, Value index, const ClassLabels& labels) const {
    auto classes = std::int64_t(labels.size()), pairs = classes * (classes - 1) / 2;
    POM_REQUIRE(classes <= most_coupled, "probabilities of {} classes are not supported, of {} at most", classes,
                most_coupled);
    POM_REQUIRE(std::int64_t(prob_a->size()) == pairs && std::int64_t(prob_b->size()) == pairs,
                "there are {} and {} numbers in prob_a and prob_b", prob_a->size(), prob_b->size());
    constexpr double least = 1e-7;
    auto row = [&](const Floats& numbers) {
      return g.constant(Tensor::from_numbers(DType::fp32, {std::int64_t(numbers.size())}, numbers));
    };
    Value first = g.add(mil::sigmoid{.x = g.times(g.plus(g.times(decisions, row(*prob_a)), row(*prob_b)), -1)});
    first = g.add(mil::clip{.x = first, .alpha = least, .beta = 1 - least});
    Value coupled = coupled_probabilities(g, first, classes, pairs);
    return give_classes(g, index, POM_TRY(transformed(g, coupled, *post_transform)), labels,
                        "the greater probability is not always the label's");
  }

  static constexpr std::int64_t most_coupled = 16;
  // Probabilities of classes from those of pairs, by the iteration of Wu, Lin and Weng as libsvm does it: it ends when
  // it is near enough, so that what it gives depends on every step. Random pairs took 4 rounds at most.
  static Value coupled_probabilities(Lowering& g, Value first, std::int64_t classes, std::int64_t pairs) {
    constexpr int rounds = 6;
    constexpr double near_enough = 0.005;
    std::vector<double> from_pair(std::size_t(pairs * classes * classes)), base(std::size_t(classes * classes)), unit;
    std::int64_t pair = 0;
    for (std::int64_t i = 0; i < classes; ++i)
      for (std::int64_t j = i + 1; j < classes; ++j, ++pair) {
        from_pair[std::size_t((pair * classes + i) * classes + j)] = 1;
        from_pair[std::size_t((pair * classes + j) * classes + i)] = -1;
        base[std::size_t(j * classes + i)] = 1;
      }
    for (std::int64_t i = 0; i < classes * classes; ++i) unit.push_back(i / classes == i % classes);
    auto constant = [&](Sizes sizes, const std::vector<double>& numbers) {
      return g.constant(Tensor::from_numbers(DType::fp32, std::move(sizes), numbers));
    };
    Value flat = g.plus(g.add(mil::matmul{.x = first, .y = constant({pairs, classes * classes}, from_pair)}),
                        constant({classes * classes}, base));
    Value r = g.reshape(flat, Shape{flat ? flat.shape()[0] : Dim(), classes, classes});
    Value back = g.transpose(r, {0, 2, 1});
    Value squares = g.add(mil::reduce_sum_square{.x = back, .axes = Ints{2}, .keep_dims = true});
    Value q = g.minus(g.times(squares, constant({classes, classes}, unit)), g.times(r, back));  // [N, C, C]
    Value p = g.plus(g.times(g.squeeze(squares, {2}), 0), 1.0 / double(classes));
    Value going;
    for (int round = 0; round < rounds; ++round) {
      Value qp = g.squeeze(g.add(mil::matmul{.x = q, .y = g.expand_dims(p, {2})}), {2});
      Value pqp = g.add(mil::reduce_sum{.x = g.times(p, qp), .axes = Ints{1}, .keep_dims = true});
      Value off =
          g.add(mil::reduce_max{.x = g.add(mil::abs{.x = g.minus(qp, pqp)}), .axes = Ints{1}, .keep_dims = true});
      Value far = g.add(mil::greater_equal{.x = off, .y = g.number(off, near_enough / double(classes))});
      going = going ? g.add(mil::logical_and{.x = going, .y = far}) : far;
      p = g.select(going, next_round(g, q, p, qp, pqp, classes), p);
    }
    return p;
  }
  static Value next_round(Lowering& g, Value q, Value p, Value qp, Value pqp, std::int64_t classes) {
    for (std::int64_t t = 0; t < classes; ++t) {
      Value line = g.squeeze(g.slice(q, 1, t, t + 1), {1});  // [N, C]
      Value own = g.slice(line, 1, t, t + 1), here = g.slice(qp, 1, t, t + 1);
      Value step = g.over(g.minus(pqp, here), own), whole = g.plus(step, 1);
      std::vector<double> only(std::size_t(classes), 0.0);
      only[std::size_t(t)] = 1;
      Value place = g.constant(Tensor::from_numbers(DType::fp32, {classes}, only));
      pqp = g.plus(pqp, g.times(step, g.plus(g.times(step, own), g.times(here, 2))));
      pqp = g.over(g.over(pqp, whole), whole);
      qp = g.over(g.plus(qp, g.times(step, line)), whole);
      p = g.over(g.plus(p, g.times(step, place)), whole);
    }
    return p;
  }
};

}  // namespace

Rules ml_svm_chapter() {
  return {
      rule<SVMClassifier>("SVMClassifier", 1, always, domain),
      rule<SVMRegressor>("SVMRegressor", 1, always, domain),
  };
}

}  // namespace pomona::onnx
