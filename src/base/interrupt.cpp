#include "base/interrupt.h"

#include <chrono>

namespace pomona {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds between_questions(20);
thread_local Clock::time_point next_question;

}  // namespace

InterruptCheck::InterruptCheck(bool (*wanted)()) : outer_(interrupt_detail::wanted) {
  interrupt_detail::wanted = wanted;
  next_question = Clock::now() + between_questions;
}
InterruptCheck::~InterruptCheck() { interrupt_detail::wanted = outer_; }

Status interrupt_detail::ask() {
  Clock::time_point now = Clock::now();
  if (now < next_question) return {};
  next_question = now + between_questions;
  POM_REQUIRE(!wanted(), "interrupted");
  return {};
}

}  // namespace pomona
