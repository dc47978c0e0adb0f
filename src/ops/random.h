// MIL random ops. The format does not say which generator Core ML uses, so values differ from it; only their
// distribution is the same. A seed other than -1 makes an op give the same values each time.
//
//   Value noise = g.add(mil::random_normal{.shape = shape, .mean = Scalar{DType::fp16, 0}});
//
// The result has the dtype of the distribution's parameters.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct random_bernoulli {
  static constexpr auto doc = "1 with probability prob, else 0";
  static constexpr bool random = true;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(shape, {'I', dtypes::i32});
  POM_ATTR(prob, Scalar, .var = T) = Scalar { DType::fp32, 0.5 };
  POM_ATTR(seed, int) = -1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct random_categorical {
  static constexpr auto doc =
      "size draws with replacement from the distribution in each row of x, as logits or as probs; the last dimension "
      "becomes size";
  static constexpr bool random = true;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_ATTR(mode, std::string) = "logits";  // logits, probs
  POM_ATTR(size, int) = 1;
  POM_ATTR(seed, int) = -1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct random_normal {
  static constexpr auto doc = "The normal distribution";
  static constexpr bool random = true;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(shape, {'I', dtypes::i32});
  POM_ATTR(mean, Scalar, .var = T) = Scalar { DType::fp32, 0 };
  POM_ATTR(stddev, Scalar, .var = T) = Scalar { DType::fp32, 1 };
  POM_ATTR(seed, int) = -1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct random_uniform {
  static constexpr auto doc = "The uniform distribution on [low, high)";
  static constexpr bool random = true;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(shape, {'I', dtypes::i32});
  POM_ATTR(low, Scalar, .var = T) = Scalar { DType::fp32, 0 };
  POM_ATTR(high, Scalar, .var = T) = Scalar { DType::fp32, 1 };
  POM_ATTR(seed, int) = -1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
