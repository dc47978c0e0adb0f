// After the codes have been chosen once, from the first column to the last, each of them is looked at again with all
// others as they are, and the scales and tables are fitted to the codes: neither step can lose on the outputs
// (coordinate descent, after K. Behdin et al., "QuantEase", 2023).
#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "compress/rounding_grid.h"
#include "compress/rounding_kernels.h"
#include "cpu/gemm.h"

namespace pomona::compress {
namespace {

constexpr int rounds = 3;

class Refiner {
 public:
  Refiner(Grid& grid, std::span<const float> wanted, const std::uint8_t* kept, const Statistics& statistics,
          double damping)
      : grid_(grid), wanted_(wanted), kept_(kept), rows_(grid.rows()), columns_(grid.columns()) {
    matrix_ = statistics.matrix;
    for (std::size_t i = 0; i < columns_; ++i) matrix_[i * columns_ + i] += float(damping);
    packed_.emplace(cpu::pack_matrix({matrix_.data(), columns_, columns_, std::ptrdiff_t(columns_), 1}));
  }

  void run() {
    // Rows that share a table are one piece of work.
    std::vector<std::size_t> starts{0};
    bool together = grid_.is_table() && grid_.can_refit();
    for (std::size_t r = 1; r < rows_; ++r)
      if (!together || grid_.block(r, 0) != grid_.block(r - 1, 0)) starts.push_back(r);
    starts.push_back(rows_);
    if (starts.size() == 2 && rows_ > most_rows_at_once) together = false, starts = even_starts();
    parallel_for(starts.size() - 1, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t s = begin; s < end; ++s) piece(starts[s], starts[s + 1], together);
    });
  }

 private:
  static constexpr std::size_t most_rows_at_once = 512;

  std::vector<std::size_t> even_starts() const {
    std::vector<std::size_t> starts;
    for (std::size_t r = 0; r < rows_; r += 16) starts.push_back(r);
    starts.push_back(rows_);
    return starts;
  }

  // How much the outputs want each weight of the rows to grow: (wanted - rounded) times the matrix.
  struct Pull {
    std::size_t first, last;
    std::vector<float> off, pull;
  };

  float value(std::size_t r, std::size_t c) const {
    if (kept_ && !kept_[grid_.element(r, c)]) return 0;
    return grid_.value(r, c, grid_.code(r, c));
  }

  Pull pull_of(std::size_t first, std::size_t last) const {
    Pull p{first, last, std::vector<float>((last - first) * columns_), std::vector<float>((last - first) * columns_)};
    for (std::size_t r = first; r < last; ++r)
      for (std::size_t c = 0; c < columns_; ++c)
        p.off[(r - first) * columns_ + c] = wanted_[r * columns_ + c] - value(r, c);
    auto stride = std::ptrdiff_t(columns_);
    cpu::multiply({p.off.data(), stride, packed_->view(), nullptr, p.pull.data(), stride, last - first}, 0,
                  cpu::panel_count(columns_));
    return p;
  }
  static double loss(const Pull& p) {
    double sum = 0;
    for (std::size_t i = 0; i < p.off.size(); ++i) sum += double(p.off[i]) * double(p.pull[i]);
    return sum;
  }

  void piece(std::size_t first, std::size_t last, bool together) {
    for (int round = 0; round < rounds; ++round) {
      Pull p = pull_of(first, last);
      if (grid_.can_refit()) {
        if (together)
          fit_table(p);
        else if (!grid_.is_table())
          for (std::size_t r = first; r < last; ++r) fit_scales(r);
        p = pull_of(first, last);
      }
      bool changed = false;
      for (std::size_t r = first; r < last; ++r) changed = choose_again(r, p) || changed;
      if (!changed) break;
    }
  }

  bool choose_again(std::size_t r, Pull& p) {
    bool changed = false;
    float* pull = p.pull.data() + (r - p.first) * columns_;
    for (std::size_t c = 0; c < columns_; ++c) {
      if (kept_ && !kept_[grid_.element(r, c)]) continue;
      float now = value(r, c), steep = matrix_[c * columns_ + c];
      std::uint8_t code = 0;
      float next = grid_.nearest(r, c, now + pull[c] / steep, code);
      if (next == now) continue;
      float by = next - now;
      // Only where it gains: rounding of the numbers can put the nearest one on the wrong side.
      if (by * (2 * pull[c] - by * steep) <= 0) continue;
      grid_.code(r, c) = code;
      take_away(by, matrix_.data() + c * columns_, pull, columns_);
      changed = true;
    }
    return changed;
  }

  // Each scale of a row in turn, by least squares.
  void fit_scales(std::size_t r) {
    std::vector<float> off(columns_), levels(columns_), image(columns_);
    for (std::size_t begin = 0, end = 0; begin < columns_; begin = end) {
      while (end < columns_ && grid_.block(r, end) == grid_.block(r, begin)) ++end;
      for (std::size_t c = 0; c < columns_; ++c) off[c] = wanted_[r * columns_ + c] - value(r, c);
      std::fill(image.begin(), image.end(), 0.0f);
      for (std::size_t c = begin; c < end; ++c) {
        levels[c] = kept_ && !kept_[grid_.element(r, c)] ? 0 : grid_.level(r, c);
        if (levels[c] != 0) take_away(-levels[c], matrix_.data() + c * columns_, image.data(), columns_);
      }
      double gain = 0, steep = 0;
      for (std::size_t c = 0; c < columns_; ++c) gain += double(off[c]) * double(image[c]);
      for (std::size_t c = begin; c < end; ++c) steep += double(levels[c]) * double(image[c]);
      std::size_t block = grid_.block(r, begin);
      double scale = double(grid_.scale(block)) + (steep > 0 ? gain / steep : 0);
      if (scale > 0) grid_.set_scale(block, float(scale));
    }
  }

  // The entries of a table that several rows share, by least squares; kept only where that gains.
  void fit_table(const Pull& p) {
    std::size_t entries = grid_.entries(), block = grid_.block(p.first, 0);
    std::vector<double> normal(entries * entries), right(entries);
    std::vector<float> sums(entries * columns_);
    for (std::size_t r = p.first; r < p.last; ++r) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (std::size_t c = 0; c < columns_; ++c) {
        if (kept_ && !kept_[grid_.element(r, c)]) continue;
        std::size_t k = grid_.code(r, c);
        right[k] += double(p.pull[(r - p.first) * columns_ + c]);
        take_away(-1.0f, matrix_.data() + c * columns_, sums.data() + k * columns_, columns_);
      }
      for (std::size_t c = 0; c < columns_; ++c) {
        if (kept_ && !kept_[grid_.element(r, c)]) continue;
        std::size_t l = grid_.code(r, c);
        for (std::size_t k = 0; k < entries; ++k) normal[k * entries + l] += double(sums[k * columns_ + c]);
      }
    }
    std::vector<double> step = solved(std::move(normal), std::move(right), entries);
    if (step.empty()) return;
    std::vector<float> before(grid_.table(block).begin(), grid_.table(block).end()), after = before;
    for (std::size_t k = 0; k < entries; ++k) after[k] += float(step[k]);
    double was = loss(p);
    grid_.set_table(block, after);
    if (!(loss(pull_of(p.first, p.last)) < was)) grid_.set_table(block, before);
  }

  // Empty where the equations have no solution. Entries that nothing uses stay.
  static std::vector<double> solved(std::vector<double> a, std::vector<double> b, std::size_t n) {
    double trace = 0;
    for (std::size_t i = 0; i < n; ++i) trace += a[i * n + i] / double(n);
    for (std::size_t i = 0; i < n; ++i) a[i * n + i] += 1e-6 * trace + (a[i * n + i] == 0 ? trace : 0);
    for (std::size_t j = 0; j < n; ++j) {
      double diagonal = a[j * n + j] - dot(&a[j * n], &a[j * n], j);
      if (!(diagonal > 0)) return {};
      a[j * n + j] = std::sqrt(diagonal);
      for (std::size_t i = j + 1; i < n; ++i)
        a[i * n + j] = (a[i * n + j] - dot(&a[i * n], &a[j * n], j)) / a[j * n + j];
    }
    for (std::size_t i = 0; i < n; ++i) b[i] = (b[i] - dot(&a[i * n], b.data(), i)) / a[i * n + i];
    for (std::size_t i = n; i-- > 0;) {
      for (std::size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
      b[i] /= a[i * n + i];
    }
    return b;
  }

  Grid& grid_;
  std::span<const float> wanted_;
  const std::uint8_t* kept_;
  std::size_t rows_, columns_;
  std::vector<float> matrix_;
  std::optional<cpu::PackedMatrix> packed_;
};

}  // namespace

void refine(Grid& grid, std::span<const float> wanted, const std::uint8_t* kept, const Statistics& statistics,
            double damping) {
  Refiner(grid, wanted, kept, statistics, damping).run();
}

}  // namespace pomona::compress
