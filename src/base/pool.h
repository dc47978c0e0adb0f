// Memory for very many objects of one size, which lie beside each other in the order in which they are made: a walk
// over them then reads memory in a row. With one object per malloc, among the others of its time, each step waits for
// memory as soon as all of them together exceed the caches.
//
//   struct Thing {
//     static void* operator new(std::size_t) { return pool_of<Thing>().take(); }
//     static void operator delete(void* place) { pool_of<Thing>().give(place); }
//   };
//   std::list<int, PoolAllocator<int>> numbers;   // of a container that allocates one element at a time
//
// Memory goes back to the system when nothing of it is in use any more. Sanitized builds take each object from the
// usual allocator, which knows when one is used after its end.
#pragma once
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace pomona {

class Pool {
 public:
  explicit Pool(std::size_t object_size) : size_((object_size + alignment - 1) / alignment * alignment) {}
  void* take();
  void give(void* place);

 private:
  static constexpr std::size_t alignment = alignof(std::max_align_t), objects_per_slab = 256;
  struct Free {
    Free* next;
  };
  std::mutex mutex_;
  std::size_t size_, in_use_ = 0;
  std::vector<std::unique_ptr<std::byte[]>> slabs_;
  std::byte *next_ = nullptr, *end_ = nullptr;
  Free* free_ = nullptr;
};

// One for each type; never destroyed, as objects may outlive it otherwise.
template <class T>
Pool& pool_of() {
  static Pool& pool = *new Pool(sizeof(T));
  return pool;
}

template <class T>
struct PoolAllocator {
  using value_type = T;
  PoolAllocator() = default;
  template <class Other>
  PoolAllocator(const PoolAllocator<Other>&) {}
  T* allocate(std::size_t count) {
    return static_cast<T*>(count == 1 ? pool_of<T>().take() : ::operator new(count * sizeof(T)));
  }
  void deallocate(T* place, std::size_t count) { count == 1 ? pool_of<T>().give(place) : ::operator delete(place); }
  friend bool operator==(const PoolAllocator&, const PoolAllocator&) { return true; }
};

}  // namespace pomona
