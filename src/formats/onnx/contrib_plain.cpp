#include "formats/onnx/compose.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/reduction.h"

// Operators of com.microsoft that are those of ai.onnx under another domain, or nearly.
namespace pomona::onnx {
namespace {

constexpr Text domain = "com.microsoft";

// The operator of the same name in ai.onnx.
Status lower_as_plain(Lowering& g, const NodeCall& call) {
  Entries results = POM_TRY(apply_all(g, call.proto->op_type, call.inputs, call.attributes, call.proto->output.size()));
  for (std::size_t i = 0; i < call.proto->output.size(); ++i) POM_TRY(g.give(results[i]));
  return {};
}
struct Anything {
  ONNX_VARIADIC(inputs);
};
Rule plain(std::string_view op) { return {op, 1, 1 << 30, &record_of<Anything>, &lower_as_plain, domain}; }

struct ExpandDims {
  ONNX_IN(X);
  ONNX_IN(axis);
  Status lower(Lowering& g) const {
    auto at = std::int64_t(POM_TRY(g.constant_number(axis, "axis")));
    return g.result(g.expand_dims(X, {std::int64_t(POM_TRY(g.axis(at, X.rank() + 1)))}), X.elem());
  }
};

// The distance of each row of A to each of B.
struct CDist {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_ATTR(metric, std::string) = "sqeuclidean";
  Status lower(Lowering& g) const {
    POM_REQUIRE(A.rank() == 2 && B.rank() == 2, "the inputs are no matrices");
    POM_REQUIRE(*metric == "sqeuclidean" || *metric == "euclidean", "metric is '{}'", *metric);
    Value apart = g.minus(g.expand_dims(A, {1}), g.expand_dims(B, {0}));
    Value squares = g.add(mil::reduce_sum_square{.x = apart, .axes = Ints{2}, .keep_dims = false});
    return g.result(*metric == "euclidean" ? g.add(mil::sqrt{.x = squares}) : squares, A.elem());
  }
};

}  // namespace

Rules contrib_plain_chapter() {
  return {
      rule<CDist>("CDist", 1, 1 << 30, domain),
      plain("DequantizeLinear"),
      rule<ExpandDims>("ExpandDims", 1, 1 << 30, domain),
      plain("GatherND"),
      plain("Pad"),
      plain("QuantizeLinear"),
      plain("Range"),
      plain("Trilu"),
  };
}

}  // namespace pomona::onnx
