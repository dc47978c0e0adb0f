// Stopping long work from outside: places of a program that are safe to leave ask now and then.
//
//   InterruptCheck asking([] { return stop_was_wanted(); });   // for this thread, while it lives
//   ...
//   POM_TRY(check_interrupt());                                // in the work, between two steps
//
// The question is put to its owner 50 times a second at most, however often the work asks. Threads that have no such
// question, among them the workers of parallel_for, are never stopped.
#pragma once
#include "base/error.h"

namespace pomona {

class InterruptCheck {
 public:
  explicit InterruptCheck(bool (*wanted)());
  InterruptCheck(const InterruptCheck&) = delete;
  InterruptCheck& operator=(const InterruptCheck&) = delete;
  ~InterruptCheck();

 private:
  bool (*outer_)();
};

namespace interrupt_detail {
inline thread_local bool (*wanted)() = nullptr;
Status ask();
}  // namespace interrupt_detail

// An error when the work is to stop.
inline Status check_interrupt() { return interrupt_detail::wanted ? interrupt_detail::ask() : Status(); }

}  // namespace pomona
