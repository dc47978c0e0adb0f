#include "silicon/order.h"

#include <functional>
#include <queue>

namespace pomona::silicon {

std::vector<std::size_t> grouped_order(const std::vector<std::vector<std::size_t>>& after,
                                       const std::vector<int>& kind) {
  constexpr int kinds = 3;
  using Ready = std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>>;
  Ready ready[kinds + 1];  // the last: of any kind
  std::vector<std::vector<std::size_t>> users(after.size());
  std::vector<std::size_t> missing(after.size()), order;
  auto queue_of = [&](std::size_t i) -> Ready& { return ready[kind[i] < 0 ? kinds : kind[i]]; };
  for (std::size_t i = 0; i < after.size(); ++i) {
    missing[i] = after[i].size();
    for (std::size_t needed : after[i]) users[needed].push_back(i);
    if (!missing[i]) queue_of(i).push(i);
  }
  int now = kinds - 1;
  while (order.size() < after.size()) {
    int from = !ready[kinds].empty() ? kinds : now;
    if (ready[from].empty()) {
      // The kind whose turn comes first in the program.
      for (int k = 0; k < kinds; ++k)
        if (!ready[k].empty() && (ready[from].empty() || ready[k].top() < ready[from].top())) from = k;
      if (ready[from].empty()) break;  // a circle, which no program has
      now = from;
    }
    std::size_t next = ready[from].top();
    ready[from].pop();
    order.push_back(next);
    for (std::size_t user : users[next])
      if (--missing[user] == 0) queue_of(user).push(user);
  }
  return order;
}

}  // namespace pomona::silicon
