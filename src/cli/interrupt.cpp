#include "cli/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <mutex>
#include <thread>

#include "base/unfinished.h"

namespace pomona::cli {
namespace {

int signals_in[2] = {-1, -1};  // a pipe: the handler may only write to it, a thread of its own does the rest
volatile std::sig_atomic_t seen = 0;

std::mutex action_mutex;
std::function<void()> action;

void take_signal(int signal) {
  // Whoever asks twice does not want to wait.
  if (seen) _exit(128 + signal);
  seen = 1;
  int before = errno;
  auto number = static_cast<unsigned char>(signal);
  if (write(signals_in[1], &number, 1) != 1) _exit(128 + signal);
  errno = before;
}

void wait_and_end() {
  unsigned char signal = 0;
  while (read(signals_in[0], &signal, 1) != 1)
    if (errno != EINTR) return;
  if (std::lock_guard lock(action_mutex); action) return action();
  remove_unfinished();
  constexpr std::string_view words = "\ninterrupted: what was half done is removed\n";
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, words.data(), words.size());
  _exit(128 + signal);
}

}  // namespace

void end_cleanly_when_interrupted() {
  if (pipe(signals_in) != 0) return;
  for (int end : signals_in) fcntl(end, F_SETFD, FD_CLOEXEC);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction taking{};
    if (sigaction(signal, nullptr, &taking) == 0 && taking.sa_handler == SIG_IGN) continue;
    taking = {};
    taking.sa_handler = take_signal;
    taking.sa_flags = SA_RESTART;
    sigaction(signal, &taking, nullptr);
  }
  std::thread(wait_and_end).detach();
}

void when_interrupted(std::function<void()> wanted) {
  std::lock_guard lock(action_mutex);
  action = std::move(wanted);
}

}  // namespace pomona::cli
