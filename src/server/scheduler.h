// Several answers of one language model at once, token by token in turns.
//
//   auto scheduler = POM_TRY(Scheduler::open(language, {.slots = 4, .queue = 64}));
//   auto work = std::make_shared<Work>(prompt, flags);
//   if (!scheduler->submit(work)) ...                     // the queue is full
//   while (auto piece = work->next(100ms)) send(*piece);  // until work->done()
//
// One thread computes. Each answer that is under way has a slot: a text and its caches, which the one session takes in
// turns. A prompt is read in batches, so that a long one delays the others by a batch and not by its length. A slot
// keeps its text, and the next prompt gets the slot that begins like it: a conversation is read once.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "api/language.h"

namespace pomona::server {

class Work {
 public:
  Work(std::vector<int> prompt, api::SamplingFlags flags, std::optional<std::size_t> chances = {})
      : prompt(std::move(prompt)), flags(std::move(flags)), chances(chances) {}

  // Text that has come since the last call; waits that long for some, or for the end.
  std::string next(std::chrono::milliseconds patience);
  // Chances of tokens that have come since the last call, where they are wanted.
  std::vector<api::TokenChance> next_chances();
  // Whether next() has given everything.
  bool done();
  // Nobody waits for it any more.
  void cancel() { cancelled_ = true; }
  // When it is done: what came of it.
  Result<api::Generation> outcome();

  const std::vector<int> prompt;
  const api::SamplingFlags flags;
  const std::optional<std::size_t> chances;

 private:
  friend class Scheduler;
  void give(std::string_view piece);
  void give(const api::TokenChance& chance);
  void end(Result<api::Generation> outcome);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string pending_;
  std::vector<api::TokenChance> pending_chances_;
  bool ended_ = false;
  Result<api::Generation> outcome_ = fail("it has not ended");
  std::atomic<bool> cancelled_ = false;
};

struct SchedulerOptions {
  std::size_t slots = 4, queue = 64;
};
struct SchedulerCounts {
  std::atomic<std::uint64_t> active = 0, queued = 0, answers = 0, cancelled = 0, failed = 0;
  std::atomic<std::uint64_t> prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
};

class Scheduler {
 public:
  // `language` must stay.
  static Result<std::unique_ptr<Scheduler>> open(const api::Language& language, SchedulerOptions options);
  // Ends what is under way, as if cancelled.
  ~Scheduler();
  bool submit(std::shared_ptr<Work> work);
  const SchedulerCounts& counts() const { return counts_; }

 private:
  struct Slot {
    llm::Past past;
    std::shared_ptr<Work> work;
    std::unique_ptr<api::Answer> answer;
    std::size_t cached = 0;
    bool prompt_read = false;
  };
  Scheduler(const api::Language& language, llm::Session session, SchedulerOptions options);
  void loop();
  bool admit();
  void begin(std::shared_ptr<Work> work);
  void turn(Slot& slot);
  Result<bool> step(Slot& slot);
  void finish(Slot& slot, Result<api::Generation> outcome);

  const api::Language& language_;
  llm::Session session_;
  SchedulerOptions options_;
  SchedulerCounts counts_;
  std::vector<Slot> slots_;
  std::mutex mutex_;
  std::condition_variable wanted_;
  std::deque<std::shared_ptr<Work>> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace pomona::server
