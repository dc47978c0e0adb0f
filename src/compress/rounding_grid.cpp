#include "compress/rounding_grid.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/bits.h"
#include "base/half.h"
#include "base/threads.h"
#include "compress/rounding_kernels.h"
#include "ops/constexpr.h"

namespace pomona::compress {
namespace {

std::vector<float> floats_of(const Tensor& tensor) {
  std::vector<double> numbers = tensor.numbers();
  return {numbers.begin(), numbers.end()};
}

Weight stored(const Tensor& tensor) {
  auto made = Weight::stored(stored_form(tensor), tensor.dtype(), tensor.sizes());
  return made ? *std::move(made) : Weight(tensor);
}

Tensor tensor_of(DType dtype, const Sizes& sizes, const std::vector<std::uint8_t>& codes) {
  Tensor tensor(dtype, sizes);
  std::copy(codes.begin(), codes.end(), tensor.mutable_data());
  return tensor;
}

Tensor tensor_of(DType dtype, const Sizes& sizes, const std::vector<float>& floats) {
  return Tensor::from_numbers(dtype, sizes, std::vector<double>(floats.begin(), floats.end()));
}

// Sizes of one dimension each, as a vector of scales along an axis has them.
Sizes along(std::size_t rank, std::size_t axis, std::int64_t size) {
  Sizes sizes(rank, 1);
  sizes[axis] = size;
  return sizes;
}

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

}  // namespace

double damping_of(const Statistics& statistics, const Rounding& options) {
  std::size_t n = statistics.columns;
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) mean += double(statistics.matrix[i * n + i]) / double(n);
  return mean * (options.damping + statistics.unseen);
}

Result<std::shared_ptr<const Factor>> factor_of(const Statistics& statistics, const Rounding& options) {
  auto& known = statistics.factor;
  if (known && known->damping == options.damping && known->activation_order == options.activation_order) return known;
  std::size_t n = statistics.columns;
  auto made = std::make_shared<Factor>(Factor{options.damping, options.activation_order, {}, {}});
  std::vector<std::size_t>& order = made->order;
  order.resize(n);
  std::iota(order.begin(), order.end(), std::size_t(0));
  if (options.activation_order)
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
      return statistics.second_moments[a] > statistics.second_moments[b];
    });
  double added = damping_of(statistics, options);
  std::vector<double> h(n * n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j)
      h[i * n + j] = double(statistics.matrix[order[i] * n + order[j]]) + (i == j ? added : 0);
  made->upper = POM_TRY(inverse_factor(std::move(h), n));
  known = made;
  return known;
}

float Grid::rounded(float value) const { return dtype_ == DType::fp16 ? half_to_float(float_to_half(value)) : value; }

void Grid::find_blocks(const Sizes& sizes, const Sizes& of_blocks, std::vector<std::size_t>& by_row,
                       std::vector<std::size_t>& by_column) const {
  Sizes strides = strides_of(sizes);
  auto index = [&](std::size_t at) {
    std::size_t found = 0;
    for (std::size_t d = 0; d < sizes.size(); ++d) {
      auto place = at / std::size_t(strides[d]) % std::size_t(sizes[d]);
      found = found * std::size_t(of_blocks[d]) + place / std::size_t(sizes[d] / of_blocks[d]);
    }
    return found;
  };
  // Blocks are cut axis by axis, so that an element's is the sum of its row's and its column's.
  for (std::size_t r = 0; r < rows_; ++r) by_row.push_back(index(element(r, 0)));
  for (std::size_t c = 0; c < columns_; ++c) by_column.push_back(index(element(0, c)));
}

Status Grid::read_linear(const Encoded& encoded) {
  const Stage& stage = encoded.stages[0];
  bool old_form = stage.op == &def<mil::constexpr_affine_dequantize>();
  code_field_ = old_form ? "quantized_data" : "data";
  number_field_ = "scale";
  const std::string offset_field = old_form ? "zero_point" : "offset";
  Tensor codes = POM_TRY(stage.part(code_field_)->weight.materialise()),
         scale = POM_TRY(stage.part("scale")->weight.materialise());
  scales_ = floats_of(scale);
  if (const Part* offset = stage.part(offset_field)) {
    Tensor zeros = POM_TRY(offset->weight.materialise());
    offsets_ = floats_of(zeros);
    if (offsets_.size() == 1 && offsets_.size() != scales_.size()) offsets_.assign(scales_.size(), offsets_[0]);
    others_.push_back({{0, offset_field}, zeros});
  }
  code_dtype_ = codes.dtype();
  code_sizes_ = codes.sizes();
  codes_.assign(codes.data(), codes.data() + codes.count());
  // The codes in use are found from the ones that were chosen.
  std::vector<double> chosen = codes.numbers();
  auto [least, most] = std::ranges::minmax_element(chosen);
  double reach = std::max(std::fabs(*least), std::fabs(*most));
  bool symmetric = std::ranges::all_of(offsets_, [](float zero) { return zero == 0; }) && lowest_value(code_dtype_) < 0;
  lowest_ = float(symmetric ? -reach : *least);
  highest_ = float(symmetric ? reach : *most);
  if (symmetric && *least < -*most && *least == lowest_value(code_dtype_)) highest_ = float(reach - 1);
  Sizes of_blocks = scale.sizes();
  if (old_form)
    of_blocks = along(code_sizes_.size(), std::size_t(std::get<std::int64_t>(stage.attributes[0])),
                      std::int64_t(scales_.size()));
  find_blocks(code_sizes_, of_blocks, row_blocks_, column_blocks_);
  // A scale that rows share would have to be fitted to all of them at once.
  std::size_t rows_apart = 0;
  for (std::size_t r = 1; r < rows_; ++r) rows_apart += row_blocks_[r] != row_blocks_[r - 1];
  can_refit_ = rows_apart + 1 == rows_;
  return {};
}

Status Grid::read_table(const Encoded& encoded, std::size_t at) {
  const Stage& stage = encoded.stages[at];
  code_field_ = "indices";
  number_field_ = "lut";
  Tensor codes = POM_TRY(stage.part("indices")->weight.materialise()), table;
  if (stage.part("lut")->weight) {
    table = POM_TRY(stage.part("lut")->weight.materialise());
  } else {
    Encoded first;
    first.stages = {encoded.stages[0]};
    table = POM_TRY(decode(first, iOS18));
    can_refit_ = false;
    for (const auto& [field, part] : encoded.stages[0].parts)
      others_.push_back({{0, field}, POM_TRY(part.weight.materialise())});
  }
  values_ = floats_of(table);
  code_dtype_ = codes.dtype();
  code_sizes_ = codes.sizes();
  Sizes sizes = code_sizes_, of_blocks(sizes.size(), 1);
  packed_ = stage.op == &def<mil::constexpr_lut_to_dense_iOS16>();
  if (packed_) {
    sizes = std::get<Ints>(stage.attributes[0]);
    of_blocks.assign(sizes.size(), 1);
    entries_ = values_.size();
    while ((std::size_t(1) << (packed_bits_ - 1)) >= entries_ && packed_bits_ > 1) --packed_bits_;
    codes_.resize(std::size_t(element_count(sizes)));
    unpack_bits({codes.data(), codes.count()}, packed_bits_, codes_);
  } else {
    POM_REQUIRE(table.sizes().back() == 1, "tables of vectors are not rounded with data");
    entries_ = std::size_t(table.sizes()[sizes.size()]);
    for (std::size_t d = 0; d < sizes.size(); ++d) of_blocks[d] = table.sizes()[d];
    codes_.assign(codes.data(), codes.data() + codes.count());
  }
  find_blocks(sizes, of_blocks, row_blocks_, column_blocks_);
  order_.resize(values_.size());
  for (std::size_t b = 0; b < blocks(); ++b) sort_table(b);
  if (at + 1 == encoded.stages.size()) return {};
  const Stage& last = encoded.stages[at + 1];
  POM_REQUIRE(at + 2 == encoded.stages.size() && last.op == &def<mil::constexpr_blockwise_shift_scale>() &&
                  !last.part("offset"),
              "its form has no grid");
  Tensor outer = POM_TRY(last.part("scale")->weight.materialise());
  outer_ = floats_of(outer);
  others_.push_back({{at + 1, "scale"}, outer});
  find_blocks(sizes, outer.sizes(), row_outer_, column_outer_);
  can_refit_ = false;
  return {};
}

Result<Grid> Grid::of(const Encoded& encoded, const Candidate& candidate, std::size_t columns) {
  POM_REQUIRE(candidate.axes && !encoded.stages.empty(), "its form has no grid");
  Grid grid;
  grid.dtype_ = candidate.weight.dtype();
  grid.columns_ = columns;
  grid.rows_ = candidate.weight.count() / columns;
  grid.transposed_ = candidate.axes->input < candidate.axes->output;
  const OpDef* first = encoded.stages[0].op;
  auto is_table = [](const OpDef* op) {
    return op == &def<mil::constexpr_lut_to_dense>() || op == &def<mil::constexpr_lut_to_dense_iOS16>();
  };
  bool is_linear =
      first == &def<mil::constexpr_blockwise_shift_scale>() || first == &def<mil::constexpr_affine_dequantize>();
  if (is_linear && encoded.stages.size() == 1) {
    POM_TRY(grid.read_linear(encoded));
    return grid;
  }
  std::size_t at = is_linear ? 1 : 0;
  POM_REQUIRE(at < encoded.stages.size() && is_table(encoded.stages[at].op), "its form has no grid");
  grid.code_stage_ = at;
  POM_TRY(grid.read_table(encoded, at));
  return grid;
}

void Grid::sort_table(std::size_t block) {
  auto first = order_.begin() + std::ptrdiff_t(block * entries_);
  std::iota(first, first + std::ptrdiff_t(entries_), std::uint8_t(0));
  std::span<const float> entries = table(block);
  std::stable_sort(first, first + std::ptrdiff_t(entries_),
                   [&](std::uint8_t a, std::uint8_t b) { return entries[a] < entries[b]; });
}

float Grid::value(std::size_t row, std::size_t column, std::uint8_t code) const {
  std::size_t at = block(row, column);
  if (!is_table()) {
    // Codes are two's complement where their type is signed.
    float whole = lowest_ < 0 ? float(std::int8_t(code)) : float(code);
    float zero = offsets_.empty() ? 0 : offsets_[at];
    return rounded((whole - zero) * scales_[at]);
  }
  float entry = values_[at * entries_ + code];
  return outer_.empty() ? entry : rounded(entry * outer_[row_outer_[row] + column_outer_[column]]);
}

float Grid::nearest(std::size_t row, std::size_t column, float wanted, std::uint8_t& code) const {
  std::size_t at = block(row, column);
  if (!is_table()) {
    float zero = offsets_.empty() ? 0 : offsets_[at];
    float whole = std::clamp(std::nearbyint(wanted / scales_[at]) + zero, lowest_, highest_);
    code = std::uint8_t(int(whole) & 255);
    return rounded((whole - zero) * scales_[at]);
  }
  if (!outer_.empty()) wanted /= outer_[row_outer_[row] + column_outer_[column]];
  std::span<const float> entries = table(at);
  const std::uint8_t* order = order_.data() + at * entries_;
  const std::uint8_t* above =
      std::lower_bound(order, order + entries_, wanted, [&](std::uint8_t k, float w) { return entries[k] < w; });
  bool below = above == order + entries_ || (above != order && wanted - entries[above[-1]] <= entries[*above] - wanted);
  code = below ? above[-1] : *above;
  return value(row, column, code);
}

float Grid::level(std::size_t row, std::size_t column) const {
  std::uint8_t chosen = code(row, column);
  float whole = lowest_ < 0 ? float(std::int8_t(chosen)) : float(chosen);
  return offsets_.empty() ? whole : whole - offsets_[block(row, column)];
}

void Grid::set_table(std::size_t block, std::span<const float> entries) {
  for (std::size_t k = 0; k < entries_; ++k) values_[block * entries_ + k] = rounded(entries[k]);
  sort_table(block);
}

void Grid::set_scale(std::size_t block, float scale) { scales_[block] = rounded(scale); }

void Grid::store(Encoded& encoded) const {
  Stage& stage = encoded.stages[code_stage_];
  for (auto& [field, part] : stage.parts) {
    if (field == code_field_)
      part = packed_ ? Weight(tensor_of(code_dtype_, code_sizes_, pack_bits(codes_, packed_bits_)))
                     : stored(tensor_of(code_dtype_, code_sizes_, codes_));
    if (field == number_field_ && part.weight)
      part = Weight(tensor_of(part.weight.dtype(), part.weight.sizes(), is_table() ? values_ : scales_));
  }
  for (const auto& [place, tensor] : others_)
    for (auto& [field, part] : encoded.stages[place.first].parts)
      if (field == place.second) part = stored(tensor);
}

}  // namespace pomona::compress
