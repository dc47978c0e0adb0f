#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/threads.h"
#include "compress/rounding_grid.h"
#include "compress/rounding_kernels.h"

namespace pomona::compress {
namespace {

// Columns whose errors are passed on together.
constexpr std::size_t panel = 64;

// The weight as [rows, columns], whichever axis comes first.
std::vector<float> rows_of(const Tensor& tensor, const Grid& grid) {
  Tensor floats = tensor.converted(DType::fp32);
  std::span<const float> all = floats.view<float>();
  std::vector<float> rows(all.size());
  for (std::size_t r = 0; r < grid.rows(); ++r)
    for (std::size_t c = 0; c < grid.columns(); ++c) rows[r * grid.columns() + c] = all[grid.element(r, c)];
  return rows;
}

// Columns in order; what rounding one costs is taken back from those that follow.
class Rounder {
 public:
  Rounder(Grid& grid, std::span<const float> wanted, const std::uint8_t* kept, const Factor& factor)
      : grid_(grid), wanted_(wanted), kept_(kept), factor_(factor) {}

  void run() {
    parallel_for(grid_.rows(), 4, [&](std::size_t begin, std::size_t end) {
      std::vector<float> row(grid_.columns()), passed(panel);
      for (std::size_t r = begin; r < end; ++r) round_row(r, row, passed);
    });
  }

 private:
  float rounded(std::size_t r, std::size_t c, float wanted) {
    if (kept_ && !kept_[grid_.element(r, c)]) return 0;
    return grid_.nearest(r, c, wanted, grid_.code(r, c));
  }

  void round_row(std::size_t r, std::vector<float>& row, std::vector<float>& passed) {
    std::size_t n = grid_.columns();
    const std::vector<std::size_t>& order = factor_.order;
    const std::vector<float>& upper = factor_.upper;
    for (std::size_t i = 0; i < n; ++i) row[i] = wanted_[r * n + order[i]];
    for (std::size_t first = 0; first < n; first += panel) {
      std::size_t last = std::min(n, first + panel);
      for (std::size_t i = first; i < last; ++i) {
        float pass = (row[i] - rounded(r, order[i], row[i])) / upper[i * n + i];
        passed[i - first] = pass;
        take_away(pass, upper.data() + i * n + i + 1, row.data() + i + 1, last - i - 1);
      }
      for (std::size_t i = first; i < last; ++i)
        take_away(passed[i - first], upper.data() + i * n + last, row.data() + last, n - last);
    }
  }

  Grid& grid_;
  std::span<const float> wanted_;
  const std::uint8_t* kept_;
  const Factor& factor_;
};

double squared_error(const Grid& grid, std::span<const float> wanted, const std::uint8_t* kept) {
  double error = 0;
  for (std::size_t r = 0; r < grid.rows(); ++r)
    for (std::size_t c = 0; c < grid.columns(); ++c) {
      float got = kept && !kept[grid.element(r, c)] ? 0 : grid.value(r, c, grid.code(r, c));
      double off = double(wanted[r * grid.columns() + c]) - double(got);
      error += off * off;
    }
  return error;
}

Result<double> choose_codes(Encoded& encoded, const Candidate& candidate, const Statistics& statistics,
                            const Rounding& options) {
  Grid grid = POM_TRY(Grid::of(encoded, candidate, statistics.columns));
  // Without an order of their own, columns stay where pruning looked at them.
  Rounding by = options;
  by.activation_order = by.activation_order && !candidate.kept;
  auto factor = POM_TRY(factor_of(statistics, by));
  std::vector<float> wanted = rows_of(candidate.tensor, grid);
  const std::uint8_t* kept = candidate.kept ? candidate.kept->data() : nullptr;
  Rounder(grid, wanted, kept, *factor).run();
  if (options.refine) refine(grid, wanted, kept, statistics, damping_of(statistics, options));
  grid.store(encoded);
  return squared_error(grid, wanted, kept);
}

}  // namespace

Status round_with_data(Encoded& encoded, const Candidate& candidate, const Statistics& statistics,
                       const Rounding& options) {
  encoded.rounded = true;
  auto note = [&](std::string_view text) {
    encoded.note += encoded.note.empty() ? "" : "; ";
    encoded.note += text;
  };
  if (statistics.matrix.empty() || !candidate.axes) {
    note("rounded to nearest");
    return {};
  }
  auto error = choose_codes(encoded, candidate, statistics, options);
  if (!error) {
    note("rounded to nearest: " + error.error().what);
    return {};
  }
  auto measured = std::make_shared<Measured>();
  measured->squared_error = *error;
  encoded.measured = measured;
  encoded.scheme += ", rounded with data";
  return {};
}

}  // namespace pomona::compress
