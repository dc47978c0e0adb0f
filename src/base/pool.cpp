#include "base/pool.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POMONA_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define POMONA_SANITIZED 1
#endif

namespace pomona {

#ifdef POMONA_SANITIZED

void* Pool::take() { return ::operator new(size_); }
void Pool::give(void* place) { ::operator delete(place); }

#else

void* Pool::take() {
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
  std::lock_guard lock(mutex_);
  if (--in_use_ == 0) {
    slabs_.clear();
    next_ = end_ = nullptr;
    free_ = nullptr;
    return;
  }
  free_ = new (place) Free{free_};
}

#endif

}  // namespace pomona
