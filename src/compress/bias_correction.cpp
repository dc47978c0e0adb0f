#include "compress/bias_correction.h"

#include <algorithm>

#include "compress/scaling_places.h"
#include "ops/conv.h"
#include "ops/linear.h"

namespace pomona::compress {

Result<std::vector<float>> mean_shift(const Tensor& before, const Tensor& after, const ChannelAxes& axes,
                                      const std::vector<float>& means) {
  std::size_t outputs = std::size_t(before.sizes()[axes.output]), columns = before.count() / outputs;
  POM_REQUIRE(means.size() == columns && after.sizes() == before.sizes(), "its inputs have no means");
  Tensor a = before.converted(DType::fp32), b = after.converted(DType::fp32);
  std::span<const float> was = a.view<float>(), is = b.view<float>();
  bool columns_first = axes.input < axes.output;
  std::vector<float> shift(outputs);
  for (std::size_t o = 0; o < outputs; ++o) {
    double sum = 0;
    for (std::size_t c = 0; c < columns; ++c) {
      std::size_t at = columns_first ? c * outputs + o : o * columns + c;
      sum += double(was[at] - is[at]) * double(means[c]);
    }
    shift[o] = float(sum);
  }
  return shift;
}

std::string why_no_bias(Value weight) {
  if (!weight.used_once()) return "several ops read it: their biases stay";
  const Node* op = weight.users().front();
  if (!op->op || !(is<mil::linear>(op) || is<mil::conv>(op))) return "its op has no bias to correct";
  Value bias = op->input("bias");
  return bias && !bias.literal() ? "its op's bias is not constant" : "";
}

Status correct_bias(Node& op, const std::vector<float>& shift) {
  std::vector<double> numbers(shift.begin(), shift.end());
  DType dtype = op.output().dtype();
  if (Value bias = op.input("bias")) {
    std::vector<double> was = POM_TRY(bias.literal()->materialise()).numbers();
    POM_REQUIRE(was.size() == numbers.size(), "{} has {} outputs and a bias of {}", op.label(), numbers.size(),
                was.size());
    for (std::size_t i = 0; i < was.size(); ++i) numbers[i] += was[i];
    dtype = bias.dtype();
  }
  return set_constant(op, "bias", Weight(Tensor::from_numbers(dtype, {std::int64_t(numbers.size())}, numbers)));
}

}  // namespace pomona::compress
