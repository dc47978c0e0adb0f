// One way to hold kernels against the reference: a case builds a program, which is then run with kernels and without,
// in fp32 and in fp16 (strict and fast), on one thread and on several.
//
//   INSTANTIATE_TEST_SUITE_P(Chapter, KernelCase, testing::ValuesIn(cases()), name_of);
#pragma once
#include <gtest/gtest.h>

#include <functional>

#include "ir/builder.h"

namespace pomona::cpu {

struct Case {
  std::string name;
  // F stands for the floating type that the case is run in.
  std::vector<std::pair<char, Sizes>> inputs;  // 'F', 'i' (int32), 'b' (bool), 'n' (int32 from 0 to 3)
  std::function<Values(Builder&, const Values&)> build;
  double tolerance = 2e-6;  // of the largest finite result, and of each; in fp32
  bool specials = false;    // NaN, infinities, zeros and extremes among the inputs
  Target opset = iOS18;
  bool positive = false;
  bool half = true;  // also in fp16
};

inline std::string name_of(const testing::TestParamInfo<Case>& info) { return info.param.name; }
inline void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class KernelCase : public testing::TestWithParam<Case> {};

// A constant tensor of normal numbers in the dtype of `like`.
Value random_constant(Builder& g, Value like, Sizes sizes, unsigned seed = 1, double scale = 1);

}  // namespace pomona::cpu
