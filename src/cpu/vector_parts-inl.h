// The first elements of a Highway vector from and to memory, and nothing beyond them: what lies behind may be another
// thread's result, or no memory at all. hn::MaskedLoad reads and hn::BlendedStore rewrites the whole vector where a
// target has no masks for memory, as NEON and, for elements of less than four bytes, AVX2. Included once per target.
#if defined(POMONA_CPU_VECTOR_PARTS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef POMONA_CPU_VECTOR_PARTS_INL_H
#undef POMONA_CPU_VECTOR_PARTS_INL_H
#else
#define POMONA_CPU_VECTOR_PARTS_INL_H
#endif

#include <hwy/highway.h>

#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace pomona::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class T>
constexpr bool memory_has_masks = HWY_TARGET <= HWY_AVX3 || (HWY_TARGET == HWY_AVX2 && sizeof(T) >= 4);

// The others are 0; `count` may be more than there are lanes.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_first(D d, const T* from, std::size_t count) {
  if (count >= hn::Lanes(d)) return hn::LoadU(d, from);
  if constexpr (memory_has_masks<T>) {
    return hn::MaskedLoad(hn::FirstN(d, count), d, from);
  } else {
    HWY_ALIGN T lanes[hn::MaxLanes(D())] = {};
    std::memcpy(lanes, from, count * sizeof(T));
    return hn::Load(d, lanes);
  }
}
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_first(D d, hn::Vec<D> v, T* to, std::size_t count) {
  if (count >= hn::Lanes(d)) return hn::StoreU(v, d, to);
  if constexpr (memory_has_masks<T>) {
    hn::BlendedStore(v, hn::FirstN(d, count), d, to);
  } else {
    HWY_ALIGN T lanes[hn::MaxLanes(D())];
    hn::Store(v, d, lanes);
    std::memcpy(to, lanes, count * sizeof(T));
  }
}

}  // namespace pomona::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
