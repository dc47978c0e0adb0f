// A function under test: tensors become its inputs, nodes are added with `g`, and run() evaluates it.
//
//   Graph t;
//   Value x = t.input(Tensor::from_numbers(DType::fp32, {2}, {1, 2}));
//   expect_numbers(t.run(t.g.add_all(mil::relu{.x = x}))[0], {1, 2});
#pragma once
#include <gtest/gtest.h>

#include <cmath>

#include "ir/builder.h"
#include "ir/evaluate.h"

namespace pomona {

struct Graph {
  explicit Graph(Target opset = iOS18) : main(program.add_function("main", opset)), g(main) {}

  Value input(Tensor tensor) { return input(tensor.type(), tensor); }
  // An input that is declared with another type than its tensor has: with unknown dimensions.
  Value input(Type type, Tensor tensor) {
    std::string name = "in" + std::to_string(inputs.size());
    inputs[name] = std::move(tensor);
    return main.body.add_input(name, std::move(type));
  }
  Value input(DType dtype, Sizes sizes, std::initializer_list<double> numbers) {
    return input(Tensor::from_numbers(dtype, std::move(sizes), numbers));
  }
  Value weight(DType dtype, Sizes sizes, std::initializer_list<double> numbers) {
    return g.constant(Tensor::from_numbers(dtype, std::move(sizes), numbers));
  }
  // Result tensors; none, with a test failure, when something went wrong.
  Tensors run(const Values& results) {
    std::string error = this->error(results);
    EXPECT_EQ(error, "");
    return error.empty() ? tensors : Tensors(results.size());
  }
  // What building or running says is wrong; empty when all is well.
  std::string error(const Values& results) {
    if (!g.status()) return g.status().error().what;
    main.body.set_results(results);
    Evaluation evaluation(main);
    auto made = evaluation(inputs);
    if (!made) return made.error().what;
    tensors = *made;
    for (std::size_t i = 0; i < results.size(); ++i) check_type(results[i], tensors[i]);
    return {};
  }

  Program program;
  Function& main;
  Builder g;
  NamedTensors inputs;
  Tensors tensors;

 private:
  // The inferred type holds for what was computed.
  static void check_type(Value value, const Tensor& tensor) {
    const Type &inferred = value.type(), made = tensor.type();
    EXPECT_EQ(inferred.dtype, made.dtype) << value.name();
    EXPECT_EQ(inferred.kind, made.kind) << value.name();
    ASSERT_EQ(inferred.rank(), made.rank()) << value.name();
    for (std::size_t d = 0; d < made.rank(); ++d) {
      if (!inferred.shape[d].known()) continue;
      EXPECT_EQ(inferred.shape[d].value(), made.shape[d].value()) << value.name();
    }
  }
};

inline void expect_numbers(const Tensor& tensor, std::initializer_list<double> wanted, double tolerance = 0) {
  std::vector<double> found = tensor.count() ? tensor.numbers() : std::vector<double>();
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    double value = wanted.begin()[i];
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(found[i])) << "element " << i;
      continue;
    }
    EXPECT_LE(std::fabs(found[i] - value), tolerance) << "element " << i << " is " << found[i] << ", not " << value;
  }
}

}  // namespace pomona
