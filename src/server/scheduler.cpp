#include "server/scheduler.h"

#include <algorithm>

namespace pomona::server {
namespace {

std::size_t common_length(const std::vector<int>& a, const std::vector<int>& b) {
  return std::size_t(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

std::string Work::next(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [&] { return ended_ || !pending_.empty(); });
  return std::exchange(pending_, {});
}
std::vector<api::TokenChance> Work::next_chances() {
  std::lock_guard lock(mutex_);
  return std::exchange(pending_chances_, {});
}
void Work::give(const api::TokenChance& chance) {
  std::lock_guard lock(mutex_);
  pending_chances_.push_back(chance);
}
bool Work::done() {
  std::lock_guard lock(mutex_);
  return ended_ && pending_.empty();
}
Result<api::Generation> Work::outcome() {
  std::lock_guard lock(mutex_);
  return outcome_;
}
void Work::give(std::string_view piece) {
  std::lock_guard lock(mutex_);
  pending_ += piece;
  changed_.notify_all();
}
void Work::end(Result<api::Generation> outcome) {
  std::lock_guard lock(mutex_);
  outcome_ = std::move(outcome);
  ended_ = true;
  changed_.notify_all();
}

Scheduler::Scheduler(const api::Language& language, llm::Session session, SchedulerOptions options)
    : language_(language), session_(std::move(session)), options_(options), slots_(options.slots) {}

Result<std::unique_ptr<Scheduler>> Scheduler::open(const api::Language& language, SchedulerOptions options) {
  llm::Session session = POM_TRY(llm::Session::open(*language.program));
  std::unique_ptr<Scheduler> scheduler(new Scheduler(language, std::move(session), options));
  scheduler->thread_ = std::thread([s = scheduler.get()] { s->loop(); });
  return scheduler;
}

Scheduler::~Scheduler() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wanted_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Scheduler::submit(std::shared_ptr<Work> work) {
  std::lock_guard lock(mutex_);
  if (stopping_ || queue_.size() >= options_.queue) return false;
  queue_.push_back(std::move(work));
  counts_.queued = queue_.size();
  wanted_.notify_all();
  return true;
}

void Scheduler::loop() {
  while (admit())
    for (Slot& slot : slots_)
      if (slot.work) turn(slot);
  for (Slot& slot : slots_)
    if (slot.work) finish(slot, fail("the server ends"));
  for (auto& work : queue_) work->end(fail("the server ends"));
}

// Gives free slots to those who wait; waits itself when there is nothing to do. False: the end.
bool Scheduler::admit() {
  std::unique_lock lock(mutex_);
  std::size_t active = std::size_t(std::count_if(slots_.begin(), slots_.end(), [](const Slot& s) { return !!s.work; }));
  counts_.active = active;
  if (active == 0) wanted_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
  while (!stopping_ && active < slots_.size() && !queue_.empty()) {
    auto work = std::move(queue_.front());
    queue_.pop_front();
    begin(std::move(work));
    active = std::size_t(std::count_if(slots_.begin(), slots_.end(), [](const Slot& s) { return !!s.work; }));
  }
  counts_.queued = queue_.size();
  counts_.active = active;
  return !stopping_;
}

void Scheduler::begin(std::shared_ptr<Work> work) {
  auto answer = api::Answer::begin(language_, work->prompt, work->flags);
  if (!answer) {
    ++counts_.failed;
    return work->end(std::move(answer).error());
  }
  Slot* best = nullptr;
  std::size_t most = 0;
  for (Slot& slot : slots_) {
    if (slot.work) continue;
    std::size_t common = common_length(slot.past.text, work->prompt);
    // Of equal ones the one with the least to lose.
    bool better = !best || common > most || (common == most && slot.past.text.size() < best->past.text.size());
    if (better) best = &slot, most = common;
  }
  best->answer = std::make_unique<api::Answer>(std::move(*answer));
  if (work->chances) best->answer->note_chances(*work->chances);
  best->cached = std::min(most, work->prompt.size() - 1);
  best->prompt_read = false;
  best->work = std::move(work);
}

// One step of one answer.
void Scheduler::turn(Slot& slot) {
  if (slot.work->cancelled_) {
    ++counts_.cancelled;
    return finish(slot, fail("cancelled"));
  }
  session_.swap(slot.past);
  Result<bool> more = step(slot);
  session_.swap(slot.past);
  if (!more) {
    ++counts_.failed;
    return finish(slot, std::move(more).error());
  }
  if (*more) return;
  api::Generation generation = slot.answer->so_far();
  generation.cached = slot.cached;
  ++counts_.answers;
  finish(slot, std::move(generation));
}

Result<bool> Scheduler::step(Slot& slot) {
  const std::vector<int>& prompt = slot.work->prompt;
  if (slot.prompt_read) {
    std::size_t before = slot.answer->so_far().ids.size();
    bool more = POM_TRY(slot.answer->advance(session_, [&](std::string_view piece) {
      slot.work->give(piece);
      return true;
    }));
    counts_.generated_tokens += slot.answer->so_far().ids.size() - before;
    for (std::size_t i = before; i < slot.answer->so_far().chances.size(); ++i)
      slot.work->give(slot.answer->so_far().chances[i]);
    return more;
  }
  std::size_t common = common_length(session_.text(), prompt);
  std::size_t batch = std::size_t(std::max<std::int64_t>(language_.model.prefill, 1));
  std::size_t end = std::min(prompt.size(), common + batch);
  POM_TRY(session_.become(std::span(prompt).first(end)));
  slot.prompt_read = end == prompt.size();
  if (slot.prompt_read) {
    counts_.prompt_tokens += prompt.size();
    counts_.cached_tokens += slot.cached;
  }
  return true;
}

void Scheduler::finish(Slot& slot, Result<api::Generation> outcome) {
  slot.work->end(std::move(outcome));
  slot.work.reset();
  slot.answer.reset();
}

}  // namespace pomona::server
