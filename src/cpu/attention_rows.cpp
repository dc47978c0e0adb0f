#include "cpu/attention_rows.h"

#include <algorithm>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention_rows.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/vector_parts-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pomona::cpu::HWY_NAMESPACE {

using Floats = hn::CappedTag<float, 16>;
using Halves = hn::Rebind<hwy::float16_t, Floats>;
using Vector = hn::Vec<Floats>;

HWY_INLINE Vector load(const float* at) { return hn::LoadU(Floats(), at); }
HWY_INLINE Vector load(const hwy::float16_t* at) { return hn::PromoteTo(Floats(), hn::LoadU(Halves(), at)); }
HWY_INLINE Vector load_rest(const float* at, std::size_t count) { return load_first(Floats(), at, count); }
HWY_INLINE Vector load_rest(const hwy::float16_t* at, std::size_t count) {
  hwy::float16_t padded[16] = {};
  std::copy_n(at, count, padded);
  return load(padded);
}

template <int rows, int keys, class T>
HWY_INLINE void dots(const float* queries, const T* key, std::size_t width, float scale, float* scores,
                     std::size_t stride) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  Vector sums[rows][keys];
  HWY_UNROLL(4) for (int r = 0; r < rows; ++r) {
    HWY_UNROLL(4) for (int k = 0; k < keys; ++k) sums[r][k] = hn::Zero(d);
  }
  for (std::size_t i = 0; i < width; i += lanes) {
    const std::size_t left = width - i;
    Vector elements[keys];
    HWY_UNROLL(4) for (int k = 0; k < keys; ++k) {
      const T* at = key + std::size_t(k) * width + i;
      elements[k] = left >= lanes ? load(at) : load_rest(at, left);
    }
    HWY_UNROLL(4) for (int r = 0; r < rows; ++r) {
      const float* at = queries + std::size_t(r) * width + i;
      const Vector q = left >= lanes ? load(at) : load_rest(at, left);
      HWY_UNROLL(4) for (int k = 0; k < keys; ++k) sums[r][k] = hn::MulAdd(q, elements[k], sums[r][k]);
    }
  }
  HWY_UNROLL(4) for (int r = 0; r < rows; ++r) {
    HWY_UNROLL(4)
    for (int k = 0; k < keys; ++k)
      scores[std::size_t(r) * stride + std::size_t(k)] = scale * hn::GetLane(hn::SumOfLanes(d, sums[r][k]));
  }
}

template <int rows, class T>
void query_rows(const float* queries, const T* keys, std::size_t width, std::size_t count, float scale, float* scores,
                std::size_t stride) {
  std::size_t k = 0;
  for (; k + 4 <= count; k += 4) dots<rows, 4>(queries, keys + k * width, width, scale, scores + k, stride);
  for (; k < count; ++k) dots<rows, 1>(queries, keys + k * width, width, scale, scores + k, stride);
}

template <int rows, int vectors, class T>
HWY_INLINE void sum_columns(const float* weights, std::size_t stride, const T* values, std::size_t width,
                            std::size_t count, std::size_t columns, float* y) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  Vector sums[rows][vectors];
  HWY_UNROLL(4) for (int r = 0; r < rows; ++r) {
    HWY_UNROLL(4) for (int v = 0; v < vectors; ++v) sums[r][v] = hn::Zero(d);
  }
  for (std::size_t k = 0; k < count; ++k) {
    Vector elements[vectors];
    HWY_UNROLL(4) for (int v = 0; v < vectors; ++v) {
      const T* at = values + k * width + std::size_t(v) * lanes;
      elements[v] = vectors > 1 || columns >= lanes ? load(at) : load_rest(at, columns);
    }
    HWY_UNROLL(4) for (int r = 0; r < rows; ++r) {
      const Vector weight = hn::Set(d, weights[std::size_t(r) * stride + k]);
      HWY_UNROLL(4) for (int v = 0; v < vectors; ++v) sums[r][v] = hn::MulAdd(weight, elements[v], sums[r][v]);
    }
  }
  HWY_UNROLL(4) for (int r = 0; r < rows; ++r) {
    HWY_UNROLL(4) for (int v = 0; v < vectors; ++v) {
      float* to = y + std::size_t(r) * width + std::size_t(v) * lanes;
      store_first(d, sums[r][v], to, vectors > 1 ? lanes : columns);
    }
  }
}

template <int rows, class T>
void sum_rows(const float* weights, std::size_t stride, const T* values, std::size_t width, std::size_t count,
              float* y) {
  const std::size_t lanes = hn::Lanes(Floats());
  std::size_t e = 0;
  for (; e + 4 * lanes <= width; e += 4 * lanes)
    sum_columns<rows, 4>(weights, stride, values + e, width, count, width - e, y + e);
  for (; e < width; e += lanes) sum_columns<rows, 1>(weights, stride, values + e, width, count, width - e, y + e);
}

template <class T>
void query_keys_of(const float* queries, std::size_t rows, const T* keys, std::size_t width, std::size_t count,
                   float scale, float* scores, std::size_t stride) {
  if (rows == 1) return query_rows<1>(queries, keys, width, count, scale, scores, stride);
  if (rows == 2) return query_rows<2>(queries, keys, width, count, scale, scores, stride);
  if (rows == 3) return query_rows<3>(queries, keys, width, count, scale, scores, stride);
  query_rows<4>(queries, keys, width, count, scale, scores, stride);
}
template <class T>
void sum_values_of(const float* weights, std::size_t rows, std::size_t stride, const T* values, std::size_t width,
                   std::size_t count, float* y) {
  if (rows == 1) return sum_rows<1>(weights, stride, values, width, count, y);
  if (rows == 2) return sum_rows<2>(weights, stride, values, width, count, y);
  if (rows == 3) return sum_rows<3>(weights, stride, values, width, count, y);
  sum_rows<4>(weights, stride, values, width, count, y);
}

void query_keys_here(const float* queries, std::size_t rows, const RowsOf& keys, std::size_t count, float scale,
                     float* scores, std::size_t stride) {
  if (keys.half)
    query_keys_of(queries, rows, static_cast<const hwy::float16_t*>(keys.data), keys.width, count, scale, scores,
                  stride);
  else
    query_keys_of(queries, rows, static_cast<const float*>(keys.data), keys.width, count, scale, scores, stride);
}
void sum_values_here(const float* weights, std::size_t rows, std::size_t stride, const RowsOf& values,
                     std::size_t count, float* y) {
  if (values.half)
    sum_values_of(weights, rows, stride, static_cast<const hwy::float16_t*>(values.data), values.width, count, y);
  else
    sum_values_of(weights, rows, stride, static_cast<const float*>(values.data), values.width, count, y);
}

}  // namespace pomona::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pomona::cpu {
namespace {

HWY_EXPORT(query_keys_here);
HWY_EXPORT(sum_values_here);

}  // namespace

void query_keys(const float* queries, std::size_t rows, const RowsOf& keys, std::size_t count, float scale,
                float* scores, std::size_t stride) {
  HWY_DYNAMIC_DISPATCH(query_keys_here)(queries, rows, keys, count, scale, scores, stride);
}
void sum_values(const float* weights, std::size_t rows, std::size_t stride, const RowsOf& values, std::size_t count,
                float* y) {
  HWY_DYNAMIC_DISPATCH(sum_values_here)(weights, rows, stride, values, count, y);
}

}  // namespace pomona::cpu
#endif
