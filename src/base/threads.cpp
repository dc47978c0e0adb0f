#include "base/threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace pomona {
namespace {

struct Job {
  std::size_t count, grain;
  void (*body)(void*, std::size_t, std::size_t);
  void* state;
  std::atomic<std::size_t> next{0};
  void work() {
    for (std::size_t begin; (begin = next.fetch_add(grain)) < count;)
      body(state, begin, std::min(begin + grain, count));
  }
};

thread_local bool inside_job = false;

class Pool {
 public:
  explicit Pool(unsigned workers) {
    for (unsigned i = 0; i < workers; ++i) threads_.emplace_back([this] { serve(); });
  }
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  void run(Job& job) {
    {
      std::lock_guard lock(mutex_);
      job_ = &job;
      ++generation_;
      busy_ = threads_.size();
    }
    wake_.notify_all();
    inside_job = true;
    job.work();
    inside_job = false;
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return busy_ == 0; });
    job_ = nullptr;
  }
  std::size_t workers() const { return threads_.size(); }

 private:
  void serve() {
    inside_job = true;
    for (std::uint64_t seen = 0;;) {
      Job* job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
        if (stopping_) return;
        seen = generation_;
        job = job_;
      }
      job->work();
      std::lock_guard lock(mutex_);
      if (--busy_ == 0) idle_.notify_one();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::vector<std::thread> threads_;
  Job* job_ = nullptr;
  std::uint64_t generation_ = 0;
  std::size_t busy_ = 0;
  bool stopping_ = false;
};

std::mutex pool_mutex;  // one job at a time; other callers run theirs alone
std::unique_ptr<Pool> pool;
std::atomic<unsigned> wanted{0};

}  // namespace

unsigned usable_processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return unsigned(std::max(1, CPU_COUNT(&set)));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

void set_thread_count(unsigned count) { wanted = std::max(1u, count); }
unsigned thread_count() {
  unsigned count = wanted;
  return count ? count : usable_processors();
}

void parallel_for_erased(std::size_t count, std::size_t grain, void (*body)(void*, std::size_t, std::size_t),
                         void* state) {
  grain = std::max<std::size_t>(grain, 1);
  unsigned threads = thread_count();
  std::unique_lock lock(pool_mutex, std::defer_lock);
  if (count == 0) return;
  if (inside_job || threads == 1 || count <= grain || !lock.try_lock()) return body(state, 0, count);
  if (!pool || pool->workers() != threads - 1) {
    pool.reset();
    pool = std::make_unique<Pool>(threads - 1);
  }
  Job job{count, grain, body, state};
  pool->run(job);
}

}  // namespace pomona
