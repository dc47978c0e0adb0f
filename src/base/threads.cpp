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

// Every thread starts with a part of the loop that is its own, so that it reads one stream of memory from end to end
// (what two threads take in turns, neither's prefetcher foresees); then it helps with the others' parts.
struct Job {
  static constexpr std::size_t most_parts = 32;
  struct alignas(64) Part {
    std::atomic<std::size_t> next;
    std::size_t end;
  };
  std::size_t grain;
  void (*body)(void*, std::size_t, std::size_t);
  void* state;
  std::size_t count_of_parts;
  Part parts[most_parts];

  Job(std::size_t count, std::size_t grain, void (*body)(void*, std::size_t, std::size_t), void* state,
      std::size_t threads)
      : grain(grain), body(body), state(state) {
    const std::size_t chunks = (count + grain - 1) / grain;
    count_of_parts = std::min({chunks, threads, most_parts});
    for (std::size_t i = 0; i < count_of_parts; ++i) {
      parts[i].next.store(chunks * i / count_of_parts * grain, std::memory_order_relaxed);
      parts[i].end = std::min(chunks * (i + 1) / count_of_parts * grain, count);
    }
  }
  void work(std::size_t thread) {
    for (std::size_t i = 0; i < count_of_parts; ++i) {
      Part& part = parts[(thread + i) % count_of_parts];
      for (std::size_t begin; (begin = part.next.fetch_add(grain)) < part.end;)
        body(state, begin, std::min(begin + grain, part.end));
    }
  }
};

thread_local bool inside_job = false;

// The time between two loops of a running program is a few microseconds, much less than what waking a thread takes; so
// threads look for work a while before they sleep.
constexpr int looks_before_sleep = 4000, looks_before_yield = 20000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Workers join a job while its gate is open. The caller closes it when no chunk is left, and waits for those inside
// only: a worker that is late, because another process has its core, is not waited for.
class Pool {
 public:
  explicit Pool(unsigned workers) {
    for (unsigned i = 0; i < workers; ++i) threads_.emplace_back([this, i] { serve(i + 1); });
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
    job_.store(&job, std::memory_order_relaxed);
    gate_ = ((gate_ >> generation_shift) + 1) << generation_shift | open;
    if (sleeping_ > 0) {
      {
        std::lock_guard lock(mutex_);
      }
      wake_.notify_all();
    }
    inside_job = true;
    job.work(0);
    inside_job = false;
    gate_ &= ~open;
    for (int looks = 0; gate_.load(std::memory_order_acquire) & inside; ++looks)
      looks < looks_before_yield ? pause() : std::this_thread::yield();
  }
  std::size_t workers() const { return threads_.size(); }

 private:
  // The gate: which job it is (bits from 17 up), whether it may be joined (bit 16), how many workers are inside.
  static constexpr std::uint64_t inside = 0xFFFF, open = 0x10000;
  static constexpr int generation_shift = 17;

  void serve(std::size_t thread) {
    inside_job = true;
    std::uint64_t seen = 0;
    for (int looks = 0; !stopping_; ++looks) {
      std::uint64_t gate = gate_.load(std::memory_order_acquire);
      if (gate >> generation_shift == seen) {
        looks < looks_before_sleep ? pause() : sleep(seen);
        continue;
      }
      looks = 0;
      if (!(gate & open)) {
        seen = gate >> generation_shift;
      } else if (gate_.compare_exchange_weak(gate, gate + 1)) {
        seen = gate >> generation_shift;
        job_.load(std::memory_order_relaxed)->work(thread);
        gate_.fetch_sub(1, std::memory_order_release);
      }
    }
  }
  void sleep(std::uint64_t seen) {
    std::unique_lock lock(mutex_);
    ++sleeping_;
    wake_.wait(lock, [&] { return stopping_ || gate_ >> generation_shift != seen; });
    --sleeping_;
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
  std::atomic<Job*> job_{nullptr};
  std::atomic<std::uint64_t> gate_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stopping_{false};
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
  Job job(count, grain, body, state, threads);
  pool->run(job);
}

}  // namespace pomona
