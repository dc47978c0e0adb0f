// Inputs whose channels depend on each other, a layer that reads them, and what its outputs lose when its weight
// changes.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "compress/policy.h"
#include "ir/builder.h"
#include "ops/linear.h"

namespace pomona::compress {

inline Tensor normal(Sizes sizes, unsigned seed, double deviation, DType dtype = DType::fp32) {
  std::mt19937 random(seed);
  std::normal_distribution<double> draw(0, deviation);
  std::vector<double> numbers(std::size_t(element_count(sizes)));
  for (double& number : numbers) number = draw(random);
  return Tensor::from_numbers(dtype, std::move(sizes), numbers);
}

// Inputs whose channels depend on each other and are of very different size.
inline Tensor correlated(std::int64_t rows, std::int64_t width, unsigned seed) {
  Tensor few = normal({rows, 12}, seed, 1), mix = normal({12, width}, 99, 1),
         noise = normal({rows, width}, seed + 1, 0.2);
  Tensor out(DType::fp32, {rows, width});
  auto to = out.mutable_view<float>();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < width; ++c) {
      double sum = noise.number(std::size_t(r * width + c));
      for (std::int64_t k = 0; k < 12; ++k)
        sum += few.number(std::size_t(r * 12 + k)) * mix.number(std::size_t(k * width + c));
      to[std::size_t(r * width + c)] = float(sum * std::exp(2 * std::sin(double(c))));
    }
  return out;
}

struct Layer {
  Program program;
  Function& main;
  Tensor weight = normal({48, 64}, 5, 0.05);

  Layer() : main(program.add_function("main", iOS18)) {
    Value x = main.body.add_input("x", tensor_type(DType::fp32, {32, 64}));
    Builder g(main);
    Value y = g.add(mil::linear{.x = x, .weight = g.constant(weight, "w")}, "y");
    main.body.set_results({y});
  }
  Value value() {
    for (const auto& node : main.body.nodes())
      if (node->output().name() == "w") return node->output();
    return {};
  }
  // The squared error of the layer's outputs on inputs that were not calibrated with.
  double loss() {
    EXPECT_TRUE(decompress(program));
    Tensor now = *value().literal()->materialise(), x = correlated(32, 64, 77);
    double error = 0;
    for (std::size_t r = 0; r < 32; ++r)
      for (std::size_t o = 0; o < 48; ++o) {
        double off = 0;
        for (std::size_t i = 0; i < 64; ++i)
          off += x.number(r * 64 + i) * (now.number(o * 64 + i) - weight.number(o * 64 + i));
        error += off * off;
      }
    return error;
  }
};

inline std::vector<NamedTensors> samples() {
  std::vector<NamedTensors> all;
  for (unsigned s = 0; s < 8; ++s) all.push_back({{"x", correlated(32, 64, 10 + 2 * s)}});
  return all;
}

}  // namespace pomona::compress
