#include "cpu/encoded_constant.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "base/bits.h"
#include "base/half.h"
#include "cpu/plan.h"
#include "ops/constexpr.h"

namespace pomona::cpu {
namespace {

class ConstantEncoder {
 public:
  ConstantEncoder(Value weight, const MatrixAxes& axes, bool exact, Constants& constants)
      : weight_(weight), axes_(axes), exact_(exact), constants_(constants) {}

  Result<SharedMatrix> run() {
    SharedMatrix matrix;
    const Node* node = weight_.producer();
    if (is<mil::constexpr_blockwise_shift_scale>(node) && !exact_)
      matrix = POM_TRY(blockwise(view<mil::constexpr_blockwise_shift_scale>(*node)));
    if (is<mil::constexpr_affine_dequantize>(node) && !exact_)
      matrix = POM_TRY(affine(view<mil::constexpr_affine_dequantize>(*node)));
    if (!matrix) matrix = POM_TRY(indices());
    if (!matrix) matrix = POM_TRY(halves());
    return matrix;
  }

 private:
  void set_data(const Tensor& data) {
    Sizes strides = strides_of(data.sizes());
    m_.codes = data.data();
    m_.rows = std::size_t(data.sizes()[axes_.row_axis]);
    m_.depth = std::size_t(data.sizes()[axes_.depth_axis]);
    m_.row_stride = strides[axes_.row_axis];
    m_.depth_stride = strides[axes_.depth_axis];
    m_.bits = info(data.dtype()).bits <= 4 ? 4 : 8;
    m_.is_signed = info(data.dtype()).is_signed;
  }
  static std::vector<float> floats(const Tensor& tensor) {
    Tensor converted = tensor.converted(DType::fp32);
    auto view = converted.view<float>();
    return {view.begin(), view.end()};
  }

  // int8 of at most 16 different values is as well held as indices of four bits (the grids of IQ and MX formats are).
  void narrow() {
    if (data_.dtype() != DType::int8 || data_.count() == 0) return;
    std::array<bool, 256> seen{};
    std::size_t different = 0;
    std::span<const std::uint8_t> codes(data_.data(), data_.count());
    for (std::uint8_t code : codes) {
      if (seen[code]) continue;
      seen[code] = true;
      if (++different > 16) return;
    }
    std::array<std::uint8_t, 256> index{};
    table_.clear();
    for (std::size_t code = 0; code < 256; ++code) {
      if (!seen[code]) continue;
      index[code] = std::uint8_t(table_.size());
      table_.push_back(std::int8_t(code));
    }
    table_.resize(16);
    Tensor indices(DType::uint8, data_.sizes());
    std::transform(codes.begin(), codes.end(), indices.mutable_data(), [&](std::uint8_t code) { return index[code]; });
    data_ = std::move(indices);
    set_data(data_);
    m_.table = table_.data();
    m_.bits = 4;
  }

  // Integers of 4 to 8 bits; or indices into one table of int8.
  Result<bool> take_codes(Value data) {
    const Node* node = data.producer();
    if (!is<mil::constexpr_lut_to_dense>(node)) {
      if (is_float(data.dtype())) return false;
      data_ = POM_TRY(constants_.decode(data));
      set_data(data_);
      narrow();
      return true;
    }
    auto op = view<mil::constexpr_lut_to_dense>(*node);
    if (is_float(op.lut.dtype())) return false;
    Tensor lut = POM_TRY(constants_.decode(op.lut));
    bool one = lut.count() == std::size_t(lut.sizes()[lut.rank() - 2]) && lut.dtype() == DType::int8;
    if (!one || lut.count() > 16) {  // as the integers that it stands for
      data_ = POM_TRY(constants_.decode(data));
      set_data(data_);
      return true;
    }
    data_ = POM_TRY(constants_.decode(op.indices));
    set_data(data_);
    table_.assign(16, 0);
    std::copy_n(lut.view<std::int8_t>().data(), lut.count(), table_.begin());
    m_.table = table_.data();
    m_.bits = 4;
    return true;
  }

  Result<SharedMatrix> blockwise(const mil::constexpr_blockwise_shift_scale& op) {
    if (!POM_TRY(take_codes(op.data))) return SharedMatrix();
    Tensor scale = POM_TRY(constants_.decode(op.scale));
    const Sizes &sizes = scale.sizes(), strides = strides_of(sizes);
    auto blocks = [&](std::size_t axis) { return std::size_t(data_.sizes()[axis] / sizes[axis]); };
    m_.row_block = blocks(axes_.row_axis);
    m_.depth_block = blocks(axes_.depth_axis);
    m_.scale_row_stride = strides[axes_.row_axis];
    m_.scale_depth_stride = strides[axes_.depth_axis];
    m_.scale = floats(scale);
    if (op.offset) m_.offset = floats(POM_TRY(constants_.decode(op.offset)));
    return encode_integers(m_);
  }

  Result<SharedMatrix> affine(const mil::constexpr_affine_dequantize& op) {
    Tensor scale = POM_TRY(constants_.decode(op.scale)), zero = POM_TRY(constants_.decode(op.zero_point));
    std::size_t axis = op.axis < 0 ? std::size_t(op.axis) + op.quantized_data.rank() : std::size_t(op.axis);
    bool several = scale.count() > 1 || zero.count() > 1;
    if (several && axis != axes_.row_axis) return SharedMatrix();
    if (!POM_TRY(take_codes(op.quantized_data))) return SharedMatrix();
    m_.row_block = several ? 1 : m_.rows;
    m_.depth_block = m_.depth;
    m_.scale_row_stride = 1;
    m_.scale_depth_stride = 0;
    std::size_t count = several ? m_.rows : 1;
    for (std::size_t i = 0; i < count; ++i) {
      m_.scale.push_back(float(scale.number(scale.count() == 1 ? 0 : i)));
      m_.offset.push_back(float(zero.number(zero.count() == 1 ? 0 : i)));
    }
    return encode_integers(m_);
  }

  // Up to four bits of index into tables of floats that are halves; with a scale on top of that for each group of rows.
  Result<SharedMatrix> indices() {
    const Node* node = weight_.producer();
    Tensor scale;
    if (is<mil::constexpr_blockwise_shift_scale>(node)) {
      auto op = view<mil::constexpr_blockwise_shift_scale>(*node);
      node = Value(op.data).producer();
      if (op.offset || !is_float(op.data.dtype())) return SharedMatrix();
      scale = POM_TRY(constants_.decode(op.scale));
    }
    Tensor lut;
    if (is<mil::constexpr_lut_to_dense>(node)) {
      auto op = view<mil::constexpr_lut_to_dense>(*node);
      lut = POM_TRY(constants_.decode(op.lut));
      if (lut.sizes().back() != 1 || lut.sizes()[lut.rank() - 2] > 16) return SharedMatrix();
      data_ = POM_TRY(constants_.decode(op.indices));
    } else if (is<mil::constexpr_lut_to_dense_iOS16>(node)) {
      auto op = view<mil::constexpr_lut_to_dense_iOS16>(*node);
      lut = POM_TRY(constants_.decode(op.lut));
      if (lut.count() > 16) return SharedMatrix();
      data_ = unpacked(POM_TRY(constants_.decode(op.indices)), unsigned(std::countr_zero(lut.count())));
      Sizes sizes(data_.rank(), 1);
      sizes.insert(sizes.end(), {std::int64_t(lut.count()), 1});
      lut = lut.reshaped(sizes);
    } else {
      return SharedMatrix();
    }
    return tables_of(lut, scale);
  }
  Tensor unpacked(const Tensor& packed, unsigned bits) const {
    Tensor out(DType::uint8, known_sizes(weight_.shape()));
    unpack_bits({packed.data(), packed.count()}, bits, {out.mutable_data(), out.count()});
    return out;
  }
  // The tables of a weight whose indices are `data_`, multiplied by the scales of their rows.
  Result<SharedMatrix> tables_of(const Tensor& lut, const Tensor& scale) {
    set_data(data_);
    Sizes groups(lut.sizes().begin(), lut.sizes().end() - 2), strides = strides_of(lut.sizes());
    std::size_t row_groups = std::size_t(groups[axes_.row_axis]), depth_groups = std::size_t(groups[axes_.depth_axis]);
    std::size_t entries = std::size_t(lut.sizes()[lut.rank() - 2]), scale_rows = 1;
    bool scaled = scale.data() != nullptr, half = weight_.dtype() == DType::fp16;
    if (scaled) {
      scale_rows = std::size_t(scale.sizes()[axes_.row_axis]);
      if (scale.count() != scale_rows) return SharedMatrix();
    }
    if (m_.rows % row_groups || m_.depth % depth_groups || m_.rows % scale_rows) return SharedMatrix();
    std::size_t table_rows = std::gcd(m_.rows / row_groups, m_.rows / scale_rows);
    IndexMatrix from{m_.codes, m_.rows, m_.depth,   m_.row_stride,          m_.depth_stride,
                     {},       entries, table_rows, m_.depth / depth_groups};
    std::vector<float> values = floats(lut), scales = scaled ? floats(scale) : std::vector<float>{1};
    for (std::size_t row = 0; row < m_.rows; row += table_rows)
      for (std::size_t d = 0; d < depth_groups; ++d) {
        const float* table = &values[row / (m_.rows / row_groups) * std::size_t(strides[axes_.row_axis]) +
                                     d * std::size_t(strides[axes_.depth_axis])];
        for (std::size_t i = 0; i < entries; ++i) {
          float value = table[i] * scales[row / (m_.rows / scale_rows)];
          from.tables.push_back(float_to_half(value));
          if (!half && half_to_float(from.tables.back()) != value) return SharedMatrix();
        }
      }
    return encode_indices(from);
  }

  // Every other constant whose elements are halves, even where the program wants them as floats.
  Result<SharedMatrix> halves() {
    Tensor tensor = POM_TRY(constants_.decode(weight_)), half = tensor.converted(DType::fp16);
    if (tensor.dtype() == DType::fp32 && !half.converted(DType::fp32).same_bits(tensor)) return SharedMatrix();
    Sizes strides = strides_of(half.sizes());
    return encode_halves(half.view<std::uint16_t>().data(), std::size_t(half.sizes()[axes_.row_axis]),
                         std::size_t(half.sizes()[axes_.depth_axis]), strides[axes_.row_axis],
                         strides[axes_.depth_axis]);
  }

  Value weight_;
  MatrixAxes axes_;
  bool exact_;
  Constants& constants_;
  IntegerMatrix m_{};
  Tensor data_;
  std::vector<std::int8_t> table_;
};

}  // namespace

namespace {

// Sums of integers are to be integers.
bool decodes_to_integers(Value weight) {
  const Node* node = weight.producer();
  if (!is<mil::constexpr_blockwise_shift_scale>(node) && !is<mil::constexpr_affine_dequantize>(node)) return false;
  return node->input("scale").number() == 1.0;
}

}  // namespace

SharedMatrix encoded_constant(const InputField& weight, const MatrixAxes& axes, PlanContext& at) {
  constexpr std::int64_t least_elements = 16384;
  Value value = weight;
  if (!value.is_weight() || !all_known(value.shape()) || at.accumulate_half || !is_float(value.dtype())) return nullptr;
  Sizes sizes = known_sizes(value.shape());
  if (element_count(sizes) < least_elements) return nullptr;
  for (std::size_t d = 0; d < sizes.size(); ++d)
    if (d != axes.row_axis && d != axes.depth_axis && sizes[d] != 1) return nullptr;
  bool exact = at.rounding == Rounding::strict || decodes_to_integers(value);
  std::string key = fmt::format("encoded {} {} {}", static_cast<const void*>(&value.info()), axes.row_axis, exact);
  auto make = [&]() -> std::shared_ptr<const void> {
    auto made = ConstantEncoder(value, axes, exact, *at.constants).run();
    if (made) return *made;
    at.constants->note_failure(std::move(made).error());
    return nullptr;
  };
  return std::static_pointer_cast<const EncodedMatrix>(at.shared(key, make));
}

}  // namespace pomona::cpu
