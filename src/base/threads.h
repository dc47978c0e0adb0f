// A pool of worker threads and one way to use it: a loop whose iterations are independent.
//
//   parallel_for(rows, 16, [&](std::size_t begin, std::size_t end) { ... });
//
// Every thread has a part of its own, in chunks of at most `grain` consecutive iterations, and helps with the others'
// parts when it is through, so a busy core delays nobody.
// Which thread runs which chunk is not fixed; callers write disjoint results, so answers do not depend on it.
// Nested calls run on the calling thread. The body may not throw.
#pragma once
#include <cstddef>
#include <memory>
#include <type_traits>

namespace pomona {

// Processors this process may use.
unsigned usable_processors();
// Threads that parallel_for uses, the caller included; default usable_processors(). Not to be called from a body.
void set_thread_count(unsigned count);
unsigned thread_count();

void parallel_for_erased(std::size_t count, std::size_t grain, void (*body)(void*, std::size_t, std::size_t),
                         void* state);

template <class Body>
void parallel_for(std::size_t count, std::size_t grain, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  parallel_for_erased(
      count, grain, [](void* state, std::size_t begin, std::size_t end) { (*static_cast<Plain*>(state))(begin, end); },
      const_cast<std::remove_const_t<Plain>*>(std::addressof(body)));
}

}  // namespace pomona
