// How far one tensor is from another, in the measures people use.
#pragma once
#include "ir/tensor.h"

namespace pomona::verify {

struct Metrics {
  double max_abs = 0;           // largest |a - b|
  double max_rel = 0;           // largest |a - b| / |b| where b != 0
  double rmse = 0;              // root of the mean squared difference
  double range = 0;             // largest - smallest finite value of b
  double snr_db = 0;            // 10 log10(sum b^2 / sum (a-b)^2); infinity when equal
  double psnr_db = 0;           // 10 log10(range^2 / mse)
  double cosine = 1;            // of the angle between the flattened tensors; 1 when both are zero
  double argmax_agreement = 1;  // share of rows (last axis) whose largest element is at the same place
  std::size_t count = 0;
  std::size_t unequal = 0;     // elements that are not the same number
  std::size_t non_finite = 0;  // places where one is NaN or infinite and the other is not the same
};

// `expected` is the reference. Errors: different sizes, or something that is no numeric tensor.
Result<Metrics> compare(const Tensor& got, const Tensor& expected);

}  // namespace pomona::verify
