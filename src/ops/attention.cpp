#include "ops/attention.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "ops/axes.h"
#include "ops/catalogue.h"
#include "ops/shape_rules.h"

namespace pomona::mil {

Result<Types> scaled_dot_product_attention::infer(const At&) const {
  std::size_t rank = query.rank();
  POM_REQUIRE(rank >= 3 && key.rank() == rank && value.rank() == rank,
              "query, key and value have ranks {}, {} and {}; they must be equal and at least 3", rank, key.rank(),
              value.rank());
  const Shape &q = query.shape(), &k = key.shape(), &v = value.shape();
  Shape result = q;
  for (std::size_t d = 0; d + 2 < rank; ++d) {
    POM_REQUIRE(may_equal(q[d], k[d]) && may_equal(q[d], v[d]) && may_equal(k[d], v[d]),
                "batch dimension {} of query, key and value is {}, {} and {}; they must be equal", d, q[d].text(),
                k[d].text(), v[d].text());
    if (!result[d].known()) result[d] = k[d].known() ? k[d] : v[d].known() ? v[d] : q[d];
  }
  POM_REQUIRE(may_equal(q[rank - 1], k[rank - 1]), "query vectors have {} elements, but key vectors have {}",
              q[rank - 1].text(), k[rank - 1].text());
  POM_REQUIRE(may_equal(k[rank - 2], v[rank - 2]), "there are {} keys, but {} values", k[rank - 2].text(),
              v[rank - 2].text());
  if (attn_mask) {
    const Shape& m = attn_mask.shape();
    POM_REQUIRE(!m.empty() && m.size() <= rank, "attn_mask has rank {}, but query has rank {}", m.size(), rank);
    POM_REQUIRE(may_equal(m.back(), k[rank - 2]), "attn_mask covers {} keys, but there are {}", m.back().text(),
                k[rank - 2].text());
    for (std::size_t d = 0; d + 1 < m.size(); ++d) {
      Dim size = q[rank - m.size() + d];
      POM_REQUIRE(m[d] == 1 || may_equal(m[d], size), "attn_mask of shape {} does not broadcast to query {}",
                  to_string(m), to_string(q));
    }
  }
  result[rank - 1] = v[rank - 1];
  POM_TRY(check_sizes(result));
  return Types{tensor_type(query.dtype(), std::move(result))};
}

Result<Tensors> scaled_dot_product_attention::eval(const At& at) const {
  Shape shape = POM_TRY(infer(at))[0].shape;
  POM_TRY(check_memory(DType::fp64, shape));
  std::size_t rank = query.rank();
  Sizes sizes = known_sizes(shape);
  std::size_t queries = std::size_t(sizes[rank - 2]), width = std::size_t(query.sizes()[rank - 1]),
              keys = std::size_t(key.sizes()[rank - 2]), out_width = std::size_t(sizes[rank - 1]);
  std::vector<double> q = query.tensor().numbers(), k = key.tensor().numbers(), v = value.tensor().numbers(), mask;
  Sizes mask_strides(rank, 0);  // of the mask along the axes of query, 0 where it is broadcast
  bool boolean = attn_mask && attn_mask.dtype() == DType::boolean;
  if (attn_mask) {
    mask = attn_mask.tensor().numbers();
    const Sizes& own = attn_mask.sizes();
    Sizes strides = strides_of(own);
    for (std::size_t d = 0; d < own.size(); ++d) mask_strides[rank - own.size() + d] = own[d] == 1 ? 0 : strides[d];
  }
  std::size_t rows = 1;
  for (std::size_t d = 0; d + 1 < rank; ++d) rows *= std::size_t(sizes[d]);
  std::vector<double> result(rows * out_width, 0.0);
  parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<double> weight(keys);
    for (std::size_t row = begin; row < end; ++row) {
      std::size_t batch = row / queries, rest = row, mask_at = 0;
      for (std::size_t d = rank - 1; d-- > 0; rest /= std::size_t(sizes[d]))
        mask_at += rest % std::size_t(sizes[d]) * std::size_t(mask_strides[d]);
      double most = -INFINITY, sum = 0;
      for (std::size_t s = 0; s < keys; ++s) {
        double dot = 0;
        for (std::size_t e = 0; e < width; ++e) dot += q[row * width + e] * k[(batch * keys + s) * width + e];
        weight[s] = dot / std::sqrt(double(width));
        // With one key only, its stride is 0 as well, which is where its element is.
        double m = attn_mask ? mask[mask_at + s * std::size_t(mask_strides[rank - 1])] : 0;
        weight[s] = boolean ? (m != 0 ? weight[s] : -INFINITY) : weight[s] + m;
        most = std::max(most, weight[s]);
      }
      for (double& w : weight) sum += w = std::exp(w - most);
      for (std::size_t s = 0; s < keys; ++s)
        for (std::size_t e = 0; e < out_width; ++e)
          result[row * out_width + e] += weight[s] / sum * v[(batch * keys + s) * out_width + e];
    }
  });
  return Tensors{Tensor::from_numbers(query.dtype(), sizes, result)};
}

std::vector<const OpDef*> attention_chapter() { return op_list<scaled_dot_product_attention>(); }

}  // namespace pomona::mil
