// Ending early, and cleanly: what is half made is removed, what was there stays.
//
//   end_cleanly_when_interrupted();      // once, before any work
//
// The exit status is the shell's for a signal: 130 for an interrupt, 143 for a termination. A signal that was ignored
// when the program began, as `nohup` does, stays ignored.
#pragma once
#include <functional>

namespace pomona::cli {

void end_cleanly_when_interrupted();
// From now on the first signal calls this instead, on a thread of its own; a second one ends the program at once.
void when_interrupted(std::function<void()> action);

}  // namespace pomona::cli
