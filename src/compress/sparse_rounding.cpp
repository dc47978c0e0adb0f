// Which weights become zeros, and what that costs taken back from the others: the ones that cost the outputs least,
// some columns at a time (E. Frantar and D. Alistarh, "SparseGPT", 2023).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/threads.h"
#include "compress/rounding_grid.h"
#include "compress/rounding_kernels.h"

namespace pomona::compress {
namespace {

constexpr std::size_t panel = 128;

class Sparsifier {
 public:
  Sparsifier(const Candidate& candidate, std::size_t columns, const Factor& factor, const Zeros& zeros)
      : factor_(factor), zeros_(zeros), columns_(columns), rows_(candidate.weight.count() / columns) {
    transposed_ = candidate.axes->input < candidate.axes->output;
    Tensor floats = candidate.tensor.converted(DType::fp32);
    std::span<const float> all = floats.view<float>();
    weights_.resize(all.size());
    kept_.assign(all.size(), 1);
    for (std::size_t r = 0; r < rows_; ++r)
      for (std::size_t c = 0; c < columns_; ++c) weights_[r * columns_ + c] = all[element(r, c)];
  }

  void run() {
    std::size_t step = zeros_.every ? panel / zeros_.every * zeros_.every : panel;
    step = std::max(step, zeros_.every);
    for (std::size_t first = 0; first < columns_; first += step) {
      std::size_t last = std::min(columns_, first + step);
      if (!zeros_.every) choose(first, last);
      parallel_for(rows_, 4, [&](std::size_t begin, std::size_t end) {
        for (std::size_t r = begin; r < end; ++r) pass_on(r, first, last);
      });
    }
  }

  Tensor weights(const Tensor& like) const {
    Tensor floats(DType::fp32, like.sizes());
    std::span<float> to = floats.mutable_view<float>();
    for (std::size_t r = 0; r < rows_; ++r)
      for (std::size_t c = 0; c < columns_; ++c)
        to[element(r, c)] = kept_[r * columns_ + c] ? weights_[r * columns_ + c] : 0;
    return floats.converted(like.dtype());
  }

 private:
  std::size_t element(std::size_t row, std::size_t column) const {
    return transposed_ ? column * rows_ + row : row * columns_ + column;
  }
  // What making it a zero would cost.
  float cost(std::size_t r, std::size_t c) const {
    float part = weights_[r * columns_ + c] / factor_.upper[c * columns_ + c];
    return part * part;
  }

  // So many zeros as belong to these columns, wherever they cost least; or the same in each row.
  void choose(std::size_t first, std::size_t last) {
    auto until = [&](std::size_t column, std::size_t all) {
      return std::size_t(std::llround(double(all) * double(column) / double(columns_)));
    };
    std::size_t width = last - first;
    std::size_t in_row = zeros_.count / rows_;
    std::size_t groups = zeros_.per_row ? rows_ : 1, in_group = zeros_.per_row ? 1 : rows_;
    std::size_t all = zeros_.per_row ? in_row : zeros_.count;
    std::size_t wanted = std::min(until(last, all) - until(first, all), in_group * width);
    parallel_for(groups, 16, [&](std::size_t begin, std::size_t end) {
      std::vector<std::pair<float, std::size_t>> costs;
      for (std::size_t g = begin; g < end; ++g) {
        costs.clear();
        for (std::size_t r = g * in_group; r < (g + 1) * in_group; ++r)
          for (std::size_t c = first; c < last; ++c) costs.emplace_back(cost(r, c), r * columns_ + c);
        auto middle = costs.begin() + std::ptrdiff_t(wanted);
        std::nth_element(costs.begin(), middle, costs.end());
        for (auto at = costs.begin(); at != middle; ++at) kept_[at->second] = 0;
      }
    });
  }

  // n of the m columns from c on, by what they have become so far.
  void choose_some(std::size_t r, std::size_t c) {
    std::size_t there = std::min(zeros_.every, columns_ - c);
    std::vector<std::pair<float, std::size_t>> costs;
    for (std::size_t k = 0; k < there; ++k) costs.emplace_back(cost(r, c + k), c + k);
    std::ranges::sort(costs);
    // Positions behind the end count as zeros.
    std::size_t padding = zeros_.every - there;
    for (std::size_t k = 0; k + padding < zeros_.of_every && k < there; ++k) kept_[r * columns_ + costs[k].second] = 0;
  }

  void pass_on(std::size_t r, std::size_t first, std::size_t last) {
    float* row = weights_.data() + r * columns_;
    const std::vector<float>& upper = factor_.upper;
    std::vector<float> passed(last - first);
    for (std::size_t c = first; c < last; ++c) {
      if (zeros_.every && (c - first) % zeros_.every == 0) choose_some(r, c);
      if (kept_[r * columns_ + c]) continue;
      passed[c - first] = row[c] / upper[c * columns_ + c];
      take_away(passed[c - first], upper.data() + c * columns_ + c + 1, row + c + 1, last - c - 1);
    }
    for (std::size_t c = first; c < last; ++c)
      if (passed[c - first] != 0)
        take_away(passed[c - first], upper.data() + c * columns_ + last, row + last, columns_ - last);
  }

  const Factor& factor_;
  const Zeros& zeros_;
  std::size_t columns_, rows_;
  bool transposed_ = false;
  std::vector<float> weights_;
  std::vector<std::uint8_t> kept_;
};

}  // namespace

Status prune_with_data(Candidate& candidate, const Statistics& statistics, const Rounding& options,
                       const Zeros& zeros) {
  POM_REQUIRE(!statistics.matrix.empty() && candidate.axes, "the data say too little of its inputs");
  Rounding in_order = options;
  in_order.activation_order = false;
  auto factor = POM_TRY(factor_of(statistics, in_order));
  Sparsifier work(candidate, statistics.columns, *factor, zeros);
  work.run();
  Tensor pruned = work.weights(candidate.tensor);
  auto kept = std::make_shared<std::vector<std::uint8_t>>(pruned.count());
  std::vector<double> after = pruned.numbers(), before = candidate.tensor.numbers();
  for (std::size_t i = 0; i < after.size(); ++i) {
    (*kept)[i] = after[i] != 0;
    candidate.lost += (after[i] - before[i]) * (after[i] - before[i]);
  }
  candidate.kept = std::move(kept);
  candidate.tensor = pruned;
  candidate.weight = Weight(pruned);
  candidate.summary = summarise(pruned);
  POM_REQUIRE(!candidate.summary.not_finite, "its weights leave the range of their type");
  return {};
}

}  // namespace pomona::compress
