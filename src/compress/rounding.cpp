#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/bits.h"
#include "base/half.h"
#include "base/threads.h"
#include "compress/calibration.h"
#include "compress/rounding_kernels.h"
#include "ops/constexpr.h"

namespace pomona::compress {
namespace {

// Columns whose errors are passed on together.
constexpr std::size_t panel = 64;

// The numbers a weight may become, per row and column, with their codes.
struct Grid {
  Tensor codes, scale, offset, table;
  std::vector<float> scales, offsets, values;  // the three last ones' numbers
  bool is_table = false;
  std::size_t entries = 0;
  float lowest = 0, highest = 0;
  Sizes blocks;  // elements per block along each axis
  DType dtype = DType::fp16;

  std::size_t block_of(std::size_t element, const Sizes& strides, const Sizes& sizes) const {
    std::size_t index = 0;
    for (std::size_t d = 0; d < sizes.size(); ++d) {
      auto at = element / std::size_t(strides[d]) % std::size_t(sizes[d]);
      index = index * std::size_t(sizes[d] / blocks[d]) + at / std::size_t(blocks[d]);
    }
    return index;
  }
};

// Upper factor U of the inverse of the damped matrix, inverse = U^T U, by two Cholesky factorisations in double.
Result<std::vector<float>> inverse_factor(std::vector<double> h, std::size_t n) {
  auto cholesky = [n](std::vector<double>& a) {  // lower, in place
    for (std::size_t j = 0; j < n; ++j) {
      const double* y = a.data() + j * n;
      double diagonal = a[j * n + j] - dot(y, y, j);
      if (!(diagonal > 0)) return false;
      double root = std::sqrt(diagonal);
      a[j * n + j] = root;
      parallel_for(n - j - 1, 64, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = j + 1 + begin; i < j + 1 + end; ++i)
          a[i * n + j] = (a[i * n + j] - dot(a.data() + i * n, y, j)) / root;
      });
    }
    return true;
  };
  POM_REQUIRE(cholesky(h), "the inputs' matrix has no factor");
  // Columns of the inverse: L y = e, L^T x = y.
  std::vector<double> inverse(n * n);
  parallel_for(n, 4, [&](std::size_t begin, std::size_t end) {
    std::vector<double> y(n);
    for (std::size_t c = begin; c < end; ++c) {
      std::fill(y.begin(), y.end(), 0.0);
      for (std::size_t i = c; i < n; ++i) {
        double sum = (i == c ? 1 : 0) - dot(h.data() + i * n + c, y.data() + c, i - c);
        y[i] = sum / h[i * n + i];
      }
      for (std::size_t i = n; i-- > 0;) {
        double x = y[i] / h[i * n + i];
        inverse[c * n + i] = x;
        take_away(x, h.data() + i * n, y.data(), i);
      }
    }
  });
  POM_REQUIRE(cholesky(inverse), "the inverse of the inputs' matrix has no factor");
  // inverse = L L^T = U^T U with U = L^T.
  std::vector<float> upper(n * n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = i; j < n; ++j) upper[i * n + j] = float(inverse[j * n + i]);
  return upper;
}

class Rounder {
 public:
  Rounder(const Candidate& candidate, Grid& grid, const Statistics& statistics, const Rounding& options)
      : grid_(grid), statistics_(statistics), options_(options), sizes_(candidate.weight.sizes()) {
    const ChannelAxes axes = *candidate.axes;
    strides_ = strides_of(sizes_);
    columns_ = statistics.columns;
    rows_ = candidate.weight.count() / columns_;
    // The weight's elements as [rows, columns], whichever axis comes first.
    transposed_ = axes.input < axes.output;
    weights_ = candidate.tensor.converted(DType::fp32);
  }

  Result<double> run() {
    std::size_t n = columns_;
    auto known = statistics_.factor;
    if (!known || known->damping != options_.damping || known->activation_order != options_.activation_order)
      known = statistics_.factor = POM_TRY(factor());
    const std::vector<std::size_t>& order = known->order;
    const std::vector<float>& upper = known->upper;
    std::vector<double> errors(rows_);
    std::uint8_t* codes = grid_.codes.mutable_data();
    parallel_for(rows_, 4, [&](std::size_t begin, std::size_t end) {
      std::vector<float> row(n), passed(panel);
      for (std::size_t r = begin; r < end; ++r) errors[r] = round_row(r, order, upper, row, passed, codes);
    });
    return std::accumulate(errors.begin(), errors.end(), 0.0);
  }

 private:
  Result<std::shared_ptr<const Factor>> factor() const {
    std::size_t n = columns_;
    auto made = std::make_shared<Factor>(Factor{options_.damping, options_.activation_order, {}, {}});
    std::vector<std::size_t>& order = made->order;
    order.resize(n);
    std::iota(order.begin(), order.end(), std::size_t(0));
    if (options_.activation_order)
      std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
        return statistics_.second_moments[a] > statistics_.second_moments[b];
      });
    double mean = 0;
    for (std::size_t i = 0; i < n; ++i) mean += double(statistics_.matrix[i * n + i]) / double(n);
    double added = mean * (options_.damping + statistics_.unseen);
    std::vector<double> h(n * n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        h[i * n + j] = double(statistics_.matrix[order[i] * n + order[j]]) + (i == j ? added : 0);
    made->upper = POM_TRY(inverse_factor(std::move(h), n));
    return std::shared_ptr<const Factor>(std::move(made));
  }

  std::size_t element(std::size_t row, std::size_t column) const {
    return transposed_ ? column * rows_ + row : row * columns_ + column;
  }

  float nearest(std::size_t at, float value, std::uint8_t& code) const {
    std::size_t block = grid_.block_of(at, strides_, sizes_);
    if (grid_.is_table) {
      const float* entries = grid_.values.data() + block * grid_.entries;
      std::size_t best = 0;
      float least = std::numeric_limits<float>::infinity();
      for (std::size_t k = 0; k < grid_.entries; ++k) {
        float off = std::fabs(entries[k] - value);
        if (off < least) least = off, best = k;
      }
      code = std::uint8_t(best);
      return entries[best];
    }
    float scale = grid_.scales[block], zero = grid_.offsets.empty() ? 0 : grid_.offsets[block];
    float whole = std::clamp(std::nearbyint(value / scale) + zero, grid_.lowest, grid_.highest);
    code = std::uint8_t(int(whole) & 255);
    float result = (whole - zero) * scale;
    return grid_.dtype == DType::fp16 ? half_to_float(float_to_half(result)) : result;
  }

  double round_row(std::size_t r, std::span<const std::size_t> order, const std::vector<float>& upper,
                   std::vector<float>& row, std::vector<float>& passed, std::uint8_t* codes) const {
    std::size_t n = columns_;
    std::span<const float> weights = weights_.view<float>();
    for (std::size_t i = 0; i < n; ++i) row[i] = weights[element(r, order[i])];
    double error = 0;
    for (std::size_t first = 0; first < n; first += panel) {
      std::size_t last = std::min(n, first + panel);
      for (std::size_t i = first; i < last; ++i) {
        std::size_t at = element(r, order[i]);
        float rounded = nearest(at, row[i], codes[at]);
        double off = double(weights[at]) - double(rounded);
        error += off * off;
        float pass = (row[i] - rounded) / upper[i * n + i];
        passed[i - first] = pass;
        take_away(pass, upper.data() + i * n + i + 1, row.data() + i + 1, last - i - 1);
      }
      for (std::size_t i = first; i < last; ++i) {
        take_away(passed[i - first], upper.data() + i * n + last, row.data() + last, n - last);
      }
    }
    return error;
  }

  Grid& grid_;
  const Statistics& statistics_;
  const Rounding& options_;
  Sizes sizes_, strides_;
  std::size_t columns_ = 0, rows_ = 0;
  bool transposed_ = false;
  Tensor weights_;
};

std::vector<float> floats_of(const Tensor& tensor) {
  std::vector<double> numbers = tensor.numbers();
  return {numbers.begin(), numbers.end()};
}

Result<Grid> grid_of(const Stage& stage, const Candidate& candidate) {
  Grid grid;
  grid.dtype = candidate.weight.dtype();
  auto tensor = [&](std::string_view field) -> Result<Tensor> { return stage.part(field)->weight.materialise(); };
  const Sizes& sizes = candidate.weight.sizes();
  if (stage.op == &def<mil::constexpr_blockwise_shift_scale>()) {
    grid.codes = POM_TRY(tensor("data"));
    grid.scale = POM_TRY(tensor("scale"));
    grid.scales = floats_of(grid.scale);
    if (stage.part("offset")) {
      grid.offset = POM_TRY(tensor("offset"));
      grid.offsets = floats_of(grid.offset);
    }
    // The codes in use are found from the ones that were chosen.
    std::vector<double> codes = grid.codes.numbers();
    auto [least, most] = std::ranges::minmax_element(codes);
    double reach = std::max(std::fabs(*least), std::fabs(*most));
    bool symmetric = !stage.part("offset");
    grid.lowest = float(symmetric ? -reach : *least);
    grid.highest = float(symmetric ? reach : *most);
    if (symmetric && *least < -*most && *least == lowest_value(grid.codes.dtype())) grid.highest = float(reach - 1);
    for (std::size_t d = 0; d < sizes.size(); ++d) grid.blocks.push_back(sizes[d] / grid.scale.sizes()[d]);
    return grid;
  }
  POM_REQUIRE(stage.op == &def<mil::constexpr_lut_to_dense>() && stage.part("lut")->weight, "its form has no grid");
  grid.is_table = true;
  grid.codes = POM_TRY(tensor("indices"));
  grid.table = POM_TRY(tensor("lut"));
  grid.values = floats_of(grid.table);
  POM_REQUIRE(grid.table.sizes().back() == 1, "tables of vectors are not rounded with data");
  grid.entries = std::size_t(grid.table.sizes()[sizes.size()]);
  for (std::size_t d = 0; d < sizes.size(); ++d) grid.blocks.push_back(sizes[d] / grid.table.sizes()[d]);
  return grid;
}

Weight packed(const Tensor& tensor) {
  auto stored = Weight::stored(stored_form(tensor), tensor.dtype(), tensor.sizes());
  return stored ? *std::move(stored) : Weight(tensor);
}

}  // namespace

Status round_with_data(Encoded& encoded, const Candidate& candidate, const Statistics& statistics,
                       const Rounding& options) {
  auto note = [&](std::string_view text) {
    encoded.note += encoded.note.empty() ? "" : "; ";
    encoded.note += text;
  };
  if (encoded.stages.size() != 1 || statistics.matrix.empty() || !candidate.axes) {
    note("rounded to nearest");
    return {};
  }
  auto grid = grid_of(encoded.stages[0], candidate);
  if (!grid) {
    note("rounded to nearest");
    return {};
  }
  auto error = Rounder(candidate, *grid, statistics, options).run();
  if (!error) {
    note("rounded to nearest: " + error.error().what);
    return {};
  }
  Stage& stage = encoded.stages[0];
  for (auto& [field, part] : stage.parts) {
    if (field == (grid->is_table ? "indices" : "data")) part = packed(grid->codes);
    if (field == "scale") part = Weight(grid->scale);
    if (field == "offset") part = Weight(grid->offset);
    if (field == "lut") part = Weight(grid->table);
  }
  auto measured = std::make_shared<Measured>();
  measured->squared_error = *error;
  encoded.measured = measured;
  encoded.scheme += ", rounded with data";
  return {};
}

}  // namespace pomona::compress
