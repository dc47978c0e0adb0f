// Runs a single op on tensors, through the builder (types and known contents) and the reference evaluation.
//
//   OneOp one;
//   Value x = one.input(Tensor::from_numbers(DType::fp32, {2}, {1, 2}));
//   EXPECT_EQ(one.numbers(mil::square{.x = x}), (Floats{1, 4}));
//
// The types that the builder inferred must be those of the results.
#pragma once
#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/evaluate.h"

namespace pomona {

class OneOp {
 public:
  explicit OneOp(Target opset = iOS18) : function_(program_.add_function("main", opset)), g(function_) {}

  Value input(const Tensor& tensor) {
    std::string name = "x" + std::to_string(inputs_.size());
    inputs_[name] = tensor;
    return function_.body.add_input(name, tensor.type());
  }
  Value input(DType dtype, Sizes sizes, const Floats& numbers) {
    return input(Tensor::from_numbers(dtype, std::move(sizes), numbers));
  }
  // One that is known by its type only: for results' types.
  Value symbolic(DType dtype, Shape shape) {
    return function_.body.add_input("s" + std::to_string(function_.body.input_count()), tensor_type(dtype, shape));
  }
  Value constant(DType dtype, Sizes sizes, const Floats& numbers) {
    return g.constant(Tensor::from_numbers(dtype, std::move(sizes), numbers));
  }

  template <class Op>
  Result<Tensors> run(const Op& op) {
    Values values = g.add_all(op, "op");
    if (!g.status()) return g.status().error();
    function_.body.set_results(values);
    Evaluation evaluation(function_);
    Tensors tensors = POM_TRY(evaluation(inputs_));
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(tensors[i].type(), values[i].type());
    return tensors;
  }
  template <class Op>
  Floats numbers(const Op& op) {
    auto tensors = run(op);
    if (!tensors) {
      ADD_FAILURE() << describe(tensors.error());
      return {};
    }
    return (*tensors)[0].numbers();
  }
  // "[2, h]" or the error's sentence.
  template <class Op>
  std::string shape(const Op& op) {
    Value value = g.add(op, "op");
    return g.status() ? to_string(value.shape()) : g.status().error().what;
  }
  // The error of building or of running; empty when there is none.
  template <class Op>
  std::string error(const Op& op) {
    auto tensors = run(op);
    return tensors ? std::string() : tensors.error().what;
  }

 private:
  Program program_;
  Function& function_;
  NamedTensors inputs_;

 public:
  Builder g;
};

inline void expect_near(const Floats& found, const Floats& expected, double tolerance = 2e-6) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], tolerance * (1 + std::abs(expected[i]))) << "element " << i;
}

// (i*factor + start) modulo `modulus`, around zero: small whole numbers without much pattern.
inline Floats ramp(std::size_t count, int factor = 7, int start = 3, int modulus = 11) {
  Floats numbers;
  for (std::size_t i = 0; i < count; ++i)
    numbers.push_back(double((i * std::size_t(factor) + std::size_t(start)) % std::size_t(modulus)) - modulus / 2);
  return numbers;
}

}  // namespace pomona
