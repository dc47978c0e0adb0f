// MIL scaled_dot_product_attention, as transformers use it. There is no causal flag, dropout or scale: the scale is
// 1/sqrt(E), and a causal mask is given as attn_mask.
//
//   Value y = g.add(mil::scaled_dot_product_attention{.query = q, .key = k, .value = v, .attn_mask = mask});
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct scaled_dot_product_attention {
  static constexpr auto doc =
      "softmax(query key^T / sqrt(E) + attn_mask) value, of query [B.., L, E], key [B.., S, E], value [B.., S, V]; a "
      "bool mask is true where a query attends to a key";
  static constexpr Target from = iOS18;
  static constexpr TypeVar T{'T', dtypes::fp}, M{'M', dtypes::boolean | dtypes::fp};
  POM_IN(query, T);
  POM_IN(key, T);
  POM_IN(value, T);
  POM_OPTIONAL(attn_mask, M);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
