// Loops by several threads: every iteration is run once, whatever the counts are.
#include "base/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace pomona {
namespace {

TEST(ParallelFor, RunsEveryIterationOnce) {
  for (unsigned threads : {1u, 2u, 3u, 8u, 40u}) {
    set_thread_count(threads);
    for (std::size_t count : {0, 1, 2, 3, 31, 32, 33, 257, 5000})
      for (std::size_t grain : {0, 1, 2, 7, 64, 10000}) {
        std::vector<std::atomic<int>> runs(count);
        parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
          ASSERT_LT(begin, end);
          ASSERT_LE(end, count);
          for (std::size_t i = begin; i < end; ++i) ++runs[i];
        });
        for (std::size_t i = 0; i < count; ++i)
          ASSERT_EQ(runs[i], 1) << i << " of " << count << " by " << grain << ", " << threads << " threads";
      }
  }
  set_thread_count(usable_processors());
}

TEST(ParallelFor, RunsNestedLoopsToo) {
  set_thread_count(3);
  std::vector<std::atomic<int>> runs(100);
  parallel_for(10, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t outer = begin; outer < end; ++outer)
      parallel_for(10, 2, [&](std::size_t first, std::size_t last) {
        for (std::size_t i = first; i < last; ++i) ++runs[outer * 10 + i];
      });
  });
  for (const std::atomic<int>& n : runs) EXPECT_EQ(n, 1);
  set_thread_count(usable_processors());
}

}  // namespace
}  // namespace pomona
