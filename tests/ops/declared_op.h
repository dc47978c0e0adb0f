// One op on its own, for tests: its results from tensors, or the error.
//
//   DeclaredOp op(iOS17);
//   Value x = op.input(Tensor::from_numbers(DType::fp32, {2}, {1, 2}));
//   EXPECT_EQ(op.numbers(mil::reverse{.x = x}), ...);
//
// Inputs may be declared with unknown dims, so that inference is tested on expressions and evaluation on numbers.
#pragma once
#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/evaluate.h"

namespace pomona {

struct DeclaredOp {
  explicit DeclaredOp(Target opset = iOS17) : function(&program.add_function("main", opset)), g(*function) {}

  Value input(Tensor value, std::optional<Shape> declared = {}) {
    std::string name = "x" + std::to_string(values.size());
    Value v = function->body.add_input(name, tensor_type(value.dtype(), declared.value_or(value.shape())));
    values[name] = std::move(value);
    return v;
  }
  Value floats(Sizes sizes, std::initializer_list<double> numbers) {
    return input(Tensor::from_numbers(DType::fp32, std::move(sizes), numbers));
  }
  Value counting(Sizes sizes, std::optional<Shape> declared = {}) {
    std::vector<double> numbers(std::size_t(element_count(sizes)));
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = double(i + 1);
    return input(Tensor::from_numbers(DType::fp32, std::move(sizes), numbers), std::move(declared));
  }
  // An int32 vector as an input, or as a constant.
  Value integers(const Ints& list) { return input(Tensor::ints(list)); }
  Value constant(const Ints& list) { return g.ints(list); }

  template <class Op>
  Result<Tensors> run(const Op& op) {
    Values outputs = g.add_all(op, "op");
    POM_TRY(g.status());
    inferred = outputs.empty() ? Shape() : outputs[0].shape();
    contents = outputs.empty() ? std::nullopt : outputs[0].contents();
    function->body.set_results(outputs);
    Evaluation evaluation(*function);
    Tensors results = POM_TRY(evaluation(values));
    for (std::size_t i = 0; i < results.size(); ++i) expect_promised(outputs[i].shape(), results[i]);
    return results;
  }
  template <class Op>
  std::vector<double> numbers(const Op& op) {
    auto results = run(op);
    EXPECT_TRUE(results) << describe(results.error());
    return results ? (*results)[0].numbers() : std::vector<double>();
  }
  template <class Op>
  std::string error(const Op& op) {
    auto results = run(op);
    return results ? "no error" : results.error().what;
  }
  // The first result's shape as inferred from the declared types, and what is known of its elements.
  Shape inferred;
  std::optional<std::vector<Dim>> contents;

  Program program;
  Function* function;
  Builder g;
  NamedTensors values;

 private:
  static void expect_promised(const Shape& shape, const Tensor& result) {
    ASSERT_EQ(shape.size(), result.rank());
    for (std::size_t d = 0; d < shape.size(); ++d)
      EXPECT_TRUE(!shape[d].known() || shape[d] == result.sizes()[d]) << to_string(shape);
  }
};
using Numbers = std::vector<double>;

}  // namespace pomona
