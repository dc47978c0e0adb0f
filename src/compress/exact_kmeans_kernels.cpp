#include "compress/exact_kmeans_kernels.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compress/exact_kmeans_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pomona::compress::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Rows of one block in relax_layer; also the widest vector used.
constexpr std::size_t block_rows = 8;
using Doubles = hn::CappedTag<double, block_rows>;
using Vector = hn::Vec<Doubles>;
constexpr double infinity = std::numeric_limits<double>::infinity();

std::size_t best_left_end_in_lanes(const Prefix& prefix, const double* before, std::size_t row, std::size_t low,
                                   std::size_t high, double* least) {
  const Doubles d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector row_weight = hn::Set(d, prefix.weight[row]);
  const Vector row_moment = hn::Set(d, prefix.moment[row]);
  const Vector step = hn::Set(d, static_cast<double>(lanes));
  const Vector last = hn::Set(d, static_cast<double>(high));
  Vector index = hn::Iota(d, static_cast<double>(low));
  Vector best = hn::Set(d, infinity);
  Vector best_index = hn::Set(d, static_cast<double>(low));
  for (std::size_t j = low; j <= high; j += lanes) {
    const Vector moment = hn::Sub(row_moment, hn::LoadU(d, prefix.moment + j));
    const Vector weight = hn::Sub(row_weight, hn::LoadU(d, prefix.weight + j));
    const Vector sum = hn::Sub(hn::LoadU(d, before + j), hn::Div(hn::Mul(moment, moment), weight));
    const auto better = hn::And(hn::Lt(sum, best), hn::Le(index, last));
    best = hn::IfThenElse(better, sum, best);
    best_index = hn::IfThenElse(better, index, best_index);
    index = hn::Add(index, step);
  }
  const Vector minimum = hn::MinOfLanes(d, best);
  *least = hn::GetLane(minimum);
  const Vector among = hn::IfThenElse(hn::Eq(best, minimum), best_index, hn::Set(d, infinity));
  return static_cast<std::size_t>(hn::GetLane(hn::MinOfLanes(d, among)));
}

// The rows first..first+7 at once: each of their candidates low..high is tried on all of them, lanes being rows. Left
// ends at or beyond a row give a weight <= 0 and are passed over.
HWY_INLINE void relax_block(const Prefix& prefix, const double* before, std::size_t first, std::size_t low,
                            std::size_t high, double* sums, double* ends) {
  const Doubles d;
  const Vector zero = hn::Zero(d);
  for (std::size_t lane = 0; lane < block_rows; lane += hn::Lanes(d)) {
    const Vector row_weight = hn::LoadU(d, prefix.weight + first + lane);
    const Vector row_moment = hn::LoadU(d, prefix.moment + first + lane);
    Vector best = hn::Set(d, infinity);
    Vector best_end = hn::Set(d, static_cast<double>(low));
    for (std::size_t j = low; j <= high; ++j) {
      const Vector moment = hn::Sub(row_moment, hn::Set(d, prefix.moment[j]));
      const Vector weight = hn::Sub(row_weight, hn::Set(d, prefix.weight[j]));
      const Vector sum = hn::Sub(hn::Set(d, before[j]), hn::Div(hn::Mul(moment, moment), weight));
      const auto better = hn::And(hn::Lt(sum, best), hn::Gt(weight, zero));
      best = hn::IfThenElse(better, sum, best);
      best_end = hn::IfThenElse(better, hn::Set(d, static_cast<double>(j)), best_end);
    }
    hn::StoreU(best, d, sums + lane);
    hn::StoreU(best_end, d, ends + lane);
  }
}

// Rows at odd multiples of halving strides, each searched between the choices of its two neighbours; the rows between
// multiples of 8, whose ranges are short, go in blocks with one row per lane.
void relax_layer_in_lanes(const Prefix& prefix, const double* before, double* after, const std::uint16_t* lower,
                          std::uint16_t* choice, std::size_t clusters) {
  const std::size_t count = prefix.count;
  const std::size_t least_end = clusters - 1;
  for (std::size_t row = 0; row < clusters && row <= count; ++row) {
    after[row] = infinity;
    choice[row] = static_cast<std::uint16_t>(least_end);
  }
  std::size_t stride = block_rows;
  while (stride * 2 <= count) stride *= 2;
  for (; stride >= block_rows; stride /= 2) {
    for (std::size_t row = stride; row <= count; row += 2 * stride) {
      if (row < clusters) continue;
      const std::size_t left = row > stride ? choice[row - stride] : least_end;
      const std::size_t right = row + stride <= count ? choice[row + stride] : count - 1;
      const std::size_t high = std::min(right, row - 1);
      const std::size_t low = std::min(std::max<std::size_t>({left, lower[row], least_end}), high);
      choice[row] = static_cast<std::uint16_t>(best_left_end_in_lanes(prefix, before, row, low, high, after + row));
    }
  }
  double sums[block_rows];
  double ends[block_rows];
  for (std::size_t base = 0; base < count; base += block_rows) {
    const std::size_t last_row = std::min(base + block_rows - 1, count);
    if (last_row < clusters || last_row == base) continue;
    const std::size_t left = base == 0 ? least_end : choice[base];
    const std::size_t right = base + block_rows <= count ? choice[base + block_rows] : count - 1;
    const std::size_t high = std::min(right, last_row - 1);
    const std::size_t low = std::min(std::max<std::size_t>({left, lower[base + 1], least_end}), high);
    relax_block(prefix, before, base + 1, low, high, sums, ends);
    for (std::size_t row = std::max(base + 1, clusters); row <= last_row; ++row) {
      after[row] = sums[row - base - 1];
      choice[row] = static_cast<std::uint16_t>(ends[row - base - 1]);
    }
  }
}

// A pair of left ends, the later one against the earlier one. With m, w the moments and weights of their clusters, the
// later wins at a row when value_b - m_b^2/w_b < value_a - m_a^2/w_a; multiplied by w_a * w_b this needs no division.
struct Contest {
  double earlier_moment, earlier_weight, later_moment, later_weight, difference;
};

HWY_INLINE bool later_wins(const Prefix& prefix, const Contest& contest, std::size_t row) {
  const double a = prefix.moment[row] - contest.earlier_moment;
  const double b = prefix.moment[row] - contest.later_moment;
  const double u = prefix.weight[row] - contest.earlier_weight;
  const double v = prefix.weight[row] - contest.later_weight;
  return contest.difference * (u * v) < b * b * u - a * a * v;
}

// The first row of first..first+lanes-1 at which the later end wins; first + lanes if there is none.
HWY_INLINE std::size_t first_win_in_vector(const Prefix& prefix, const Contest& contest, std::size_t first) {
  const Doubles d;
  // Two lanes gain nothing over two scalars, and clang 19 with -fsanitize=undefined gets the vector form wrong for
  // SSE4.
  if (hn::Lanes(d) <= 2) {
    std::size_t row = first;
    while (row < first + hn::Lanes(d) && !later_wins(prefix, contest, row)) ++row;
    return row;
  }
  const Vector moment = hn::LoadU(d, prefix.moment + first);
  const Vector weight = hn::LoadU(d, prefix.weight + first);
  const Vector a = hn::Sub(moment, hn::Set(d, contest.earlier_moment));
  const Vector b = hn::Sub(moment, hn::Set(d, contest.later_moment));
  const Vector u = hn::Sub(weight, hn::Set(d, contest.earlier_weight));
  const Vector v = hn::Sub(weight, hn::Set(d, contest.later_weight));
  const Vector left = hn::Mul(hn::Set(d, contest.difference), hn::Mul(u, v));
  const Vector right = hn::Sub(hn::Mul(hn::Mul(b, b), u), hn::Mul(hn::Mul(a, a), v));
  const auto found = hn::FindFirstTrue(d, hn::Lt(left, right));
  return first + (found < 0 ? hn::Lanes(d) : static_cast<std::size_t>(found));
}

// The first row of first..last at which the later end wins, last + 1 if there is none. It is mostly near `first`: look
// at one vector of rows, then gallop, then halve.
HWY_INLINE std::size_t first_win(const Prefix& prefix, const Contest& contest, std::size_t first, std::size_t last) {
  const std::size_t lanes = hn::Lanes(Doubles());
  const std::size_t near = first_win_in_vector(prefix, contest, first);
  if (near < first + lanes || near > last) return std::min(near, last + 1);
  std::size_t lost = near - 1;
  std::size_t step = 2 * lanes;
  while (lost + step <= last && !later_wins(prefix, contest, lost + step)) {
    lost += step;
    step *= 2;
  }
  std::size_t won = std::min(lost + step, last + 1);
  while (won - lost > lanes + 1) {
    const std::size_t middle = lost + (won - lost) / 2;
    if (later_wins(prefix, contest, middle)) {
      won = middle;
    } else {
      lost = middle;
    }
  }
  return std::min(first_win_in_vector(prefix, contest, lost + 1), won);
}

// The queue candidate[head..tail-1] holds the left ends that are still best for some row to come; candidate[q] is best
// from row start[q] to start[q+1] - 1. Each row takes its answer from the head and enters the queue at the tail.
void penalty_pass_in_lanes(const Prefix& prefix, double penalty, double* value, std::uint32_t* left_end,
                           std::uint32_t* candidate, std::uint32_t* start) {
  const std::size_t count = prefix.count;
  const double* weight = prefix.weight;
  const double* moment = prefix.moment;
  value[0] = 0;
  left_end[0] = 0;
  candidate[0] = 0;
  start[0] = 1;
  std::size_t head = 0;
  std::size_t tail = 1;
  for (std::size_t row = 1; row <= count; ++row) {
    if (head + 1 < tail && start[head + 1] <= row) ++head;
    const std::size_t end = candidate[head];
    const double m = moment[row] - moment[end];
    value[row] = value[end] + penalty - m * m / (weight[row] - weight[end]);
    left_end[row] = static_cast<std::uint32_t>(end);
    std::size_t last = count;
    while (true) {
      const std::size_t back = candidate[tail - 1];
      const std::size_t first = std::max<std::size_t>(start[tail - 1], row + 1);
      if (first > count) break;
      const Contest contest{moment[back], weight[back], moment[row], weight[row], value[row] - value[back]};
      const std::size_t won = first_win(prefix, contest, first, last);
      if (won == first && tail - 1 > head) {
        --tail;
        last = first;
        continue;
      }
      if (won == first) --tail;
      if (won <= count) {
        candidate[tail] = static_cast<std::uint32_t>(row);
        start[tail] = static_cast<std::uint32_t>(won);
        ++tail;
      }
      break;
    }
  }
}

}  // namespace pomona::compress::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pomona::compress {

HWY_EXPORT(relax_layer_in_lanes);
HWY_EXPORT(best_left_end_in_lanes);
HWY_EXPORT(penalty_pass_in_lanes);

void relax_layer(const Prefix& prefix, const double* before, double* after, const std::uint16_t* lower,
                 std::uint16_t* choice, std::size_t clusters) {
  HWY_DYNAMIC_DISPATCH(relax_layer_in_lanes)(prefix, before, after, lower, choice, clusters);
}

std::size_t best_left_end(const Prefix& prefix, const double* before, std::size_t row, std::size_t low,
                          std::size_t high, double* least) {
  return HWY_DYNAMIC_DISPATCH(best_left_end_in_lanes)(prefix, before, row, low, high, least);
}

void penalty_pass(const Prefix& prefix, double penalty, double* value, std::uint32_t* left_end,
                  std::uint32_t* candidate, std::uint32_t* start) {
  HWY_DYNAMIC_DISPATCH(penalty_pass_in_lanes)(prefix, penalty, value, left_end, candidate, start);
}

}  // namespace pomona::compress
#endif
