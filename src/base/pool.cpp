#include "base/pool.h"

namespace pomona {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
constexpr bool sanitized = __has_feature(address_sanitizer);
#else
constexpr bool sanitized = false;
#endif

}  // namespace

void* Pool::take() {
  if (sanitized) return ::operator new(size_);
  std::lock_guard lock(mutex_);
  ++in_use_;
  if (free_) {
    void* place = free_;
    free_ = free_->next;
    return place;
  }
  if (next_ == end_) {
    slabs_.push_back(std::make_unique_for_overwrite<std::byte[]>(size_ * objects_per_slab));
    next_ = slabs_.back().get();
    end_ = next_ + size_ * objects_per_slab;
  }
  void* place = next_;
  next_ += size_;
  return place;
}

void Pool::give(void* place) {
  if (sanitized) return ::operator delete(place);
  std::lock_guard lock(mutex_);
  if (--in_use_ == 0) {
    slabs_.clear();
    next_ = end_ = nullptr;
    free_ = nullptr;
    return;
  }
  free_ = new (place) Free{free_};
}

}  // namespace pomona
