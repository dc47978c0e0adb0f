#include "ops/constexpr.h"

#include <algorithm>
#include <bit>

#include "base/bits.h"
#include "base/half.h"
#include "base/threads.h"
#include "ops/axes.h"
#include "ops/catalogue.h"
#include "ops/shape_rules.h"

namespace pomona::mil {
namespace {

constexpr std::size_t chunk_elements = 4096;  // a multiple of 8, so that packed chunks begin at a byte

double rounded(DType dtype, double value) {
  return dtype == DType::fp16 ? half_to_float(double_to_half(value)) : double(float(value));
}

// Calls f with a value of the unsigned type that is as large as an element of the dtype.
template <class F>
void by_element_size(DType dtype, F f) {
  switch (element_size_bytes(dtype)) {
    case 1:
      return f(std::uint8_t());
    case 2:
      return f(std::uint16_t());
    default:
      return f(std::uint32_t());
  }
}

// A tensor read row by row along its last axis, with another tensor that has one element per block of it.
struct Blocks {
  std::size_t rows, length;
  std::vector<std::size_t> first;  // per row: the position of its first block
  std::size_t block;               // elements of the last axis per block

  Blocks(const Sizes& sizes, std::span<const std::int64_t> blocks) {
    length = sizes.empty() ? 1 : std::size_t(sizes.back());
    rows = 1;
    first = {0};
    for (std::size_t d = 0; d + 1 < sizes.size(); ++d) {
      std::vector<std::size_t> finer;
      std::size_t size = std::size_t(sizes[d]), count = std::size_t(blocks[d]);
      for (std::size_t before : first)
        for (std::size_t i = 0; i < size; ++i) finer.push_back(before * count + i / (size / count));
      first = std::move(finer);
    }
    rows = first.size();
    std::size_t last_count = sizes.empty() ? 1 : std::size_t(blocks.back());
    block = last_count ? length / last_count : 1;
    for (std::size_t& position : first) position *= last_count;
  }
};

// Whether every size is a multiple of the number of blocks in its dimension.
Status check_blocks(const Shape& data, std::span<const Dim> blocks, const char* what) {
  for (std::size_t d = 0; d < data.size(); ++d) {
    Dim size = data[d], count = blocks[d];
    if (!size.known() || !count.known()) continue;
    bool fits = count.value() > 0 ? size.value() % count.value() == 0 : size == 0 && count == 0;
    POM_REQUIRE(fits, "dimension {} of the data is {}, which {} of size {} does not divide", d, size.value(), what,
                count.value());
  }
  return {};
}

Status check_shift_scale(const Shape& data, DType data_dtype, const InputField& scale, const InputField& offset) {
  POM_REQUIRE(scale.rank() == data.size(), "scale has rank {}, but the data has rank {}", scale.rank(), data.size());
  POM_TRY(check_blocks(data, scale.shape(), "a scale"));
  if (!offset) return {};
  bool same = offset.rank() == scale.rank();
  for (std::size_t d = 0; same && d < scale.rank(); ++d) same = may_equal(offset.shape()[d], scale.shape()[d]);
  POM_REQUIRE(same, "offset has shape {}, but scale has {}", to_string(offset.shape()), to_string(scale.shape()));
  POM_REQUIRE(is_float(offset.dtype()) || offset.dtype() == data_dtype, "offset is {}, neither floating nor {} as data",
              name(offset.dtype()), name(data_dtype));
  return {};
}

// scale * (data - offset) in the dtype of scale; `offset` may be null.
Tensor shift_scale(const Tensor& data, const Tensor& scale, const Tensor* offset) {
  DType dtype = scale.dtype();
  Tensor out(dtype, data.sizes());
  if (out.count() == 0) return out;
  Blocks blocks(data.sizes(), scale.sizes());
  // Differences of 8-bit integers need no rounding even in fp16.
  bool exact = !is_float(data.dtype()) && !(offset && is_float(offset->dtype()));
  parallel_for(blocks.rows, 1 + chunk_elements / blocks.length, [&](std::size_t begin, std::size_t end) {
    std::vector<double> row(blocks.length);
    for (std::size_t r = begin; r < end; ++r) {
      data.read_numbers(r * blocks.length, row);
      for (std::size_t i = 0; i < row.size();) {
        std::size_t position = blocks.first[r] + i / blocks.block;
        double factor = scale.number(position), zero = offset ? rounded(dtype, offset->number(position)) : 0;
        for (std::size_t stop = i + blocks.block; i < stop; ++i)
          row[i] = (exact ? row[i] - zero : rounded(dtype, rounded(dtype, row[i]) - zero)) * factor;
      }
      out.write_numbers(r * blocks.length, row);
    }
  });
  return out;
}

std::int64_t vector_size(const Shape& lut) { return lut.back().known() ? lut.back().value() : 0; }

Result<Shape> infer_look_up(const Type& indices, const Type& lut, const std::optional<int>& vector_axis) {
  std::size_t rank = indices.rank();
  POM_REQUIRE(lut.rank() == rank + 2, "lut has rank {}, but indices of rank {} need {}", lut.rank(), rank, rank + 2);
  POM_TRY(check_blocks(indices.shape, std::span(lut.shape).first(rank), "a group of tables"));
  std::int64_t entries = std::int64_t(1) << info(indices.dtype).bits;
  POM_REQUIRE(may_equal(lut.shape[rank], entries), "lut has {} entries per table, but {} indices need {}",
              lut.shape[rank].text(), name(indices.dtype), entries);
  Dim vector = lut.shape[rank + 1];
  POM_REQUIRE(!vector.known() || vector.value() >= 1, "lut's vectors have {} elements", vector.text());
  if (vector == 1) return indices.shape;
  POM_REQUIRE(vector_axis, "vector_axis is missing, but lut has vectors of {} elements", vector.text());
  auto axis = normal_axis(*vector_axis, rank);
  POM_REQUIRE(axis, "vector_axis {} is outside indices of rank {}", *vector_axis, rank);
  Shape shape = indices.shape;
  shape[*axis] = shape[*axis] * vector;
  POM_TRY(check_sizes(shape));
  return shape;
}

// Each index replaced by its table's entry; entries of V elements follow each other along `axis`.
Tensor look_up(const Tensor& indices, const Tensor& lut, std::size_t axis) {
  std::size_t rank = indices.rank(), last = rank ? rank - 1 : 0;
  std::size_t entries = std::size_t(lut.sizes()[rank]), vector = std::size_t(lut.sizes()[rank + 1]);
  Sizes sizes = indices.sizes();
  if (vector > 1) sizes[axis] *= std::int64_t(vector);
  Tensor out(lut.dtype(), sizes);
  if (out.count() == 0) return out;
  Blocks blocks(indices.sizes(), std::span(lut.sizes()).first(rank));
  Sizes strides = strides_of(sizes);
  std::size_t apart = rank ? std::size_t(strides[axis]) : 1;                        // between the elements of a vector
  std::size_t step = vector > 1 && rank && axis == last ? vector : 1;               // between neighbours of a row
  std::size_t inner = rank && axis != last ? apart / std::size_t(sizes[last]) : 1;  // rows between them, else 1
  const std::uint8_t* index = indices.data();
  by_element_size(lut.dtype(), [&](auto element) {
    using Element = decltype(element);
    const Element* tables = reinterpret_cast<const Element*>(lut.data());
    Element* result = reinterpret_cast<Element*>(out.mutable_data());
    parallel_for(blocks.rows, 1 + chunk_elements / blocks.length, [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) {
        // Rows of the result: those before `axis` count V times when vectors lie across rows.
        std::size_t row = step > 1 || vector == 1 ? r : r / inner * inner * vector + r % inner;
        Element* to = result + row * blocks.length * step;
        for (std::size_t i = 0; i < blocks.length; ++i) {
          std::size_t table = blocks.first[r] + i / blocks.block, entry = index[r * blocks.length + i] & (entries - 1);
          const Element* from = tables + (table * entries + entry) * vector;
          for (std::size_t v = 0; v < vector; ++v) to[i * step + v * apart] = from[v];
        }
      }
    });
  });
  return out;
}

std::size_t count_ones(const Tensor& mask) {
  return mask.count() - std::size_t(std::count(mask.data(), mask.data() + mask.count(), std::uint8_t(0)));
}

Status check_ones(std::size_t ones, std::size_t values) {
  POM_REQUIRE(ones == values, "the mask has {} ones, but there are {} non-zero values", ones, values);
  return {};
}

// The values where is_one(i), zeros elsewhere.
template <class IsOne>
Tensor spread(const Tensor& values, const Sizes& sizes, IsOne is_one) {
  Tensor out(values.dtype(), sizes);
  by_element_size(values.dtype(), [&](auto element) {
    using Element = decltype(element);
    const Element* from = reinterpret_cast<const Element*>(values.data());
    Element* to = reinterpret_cast<Element*>(out.mutable_data());
    std::size_t count = out.count();
    for (std::size_t i = 0; i < count; ++i)
      if (is_one(i)) to[i] = *from++;
  });
  return out;
}

Result<Tensor> dense_of(const Tensor& values, const Tensor& mask) {
  POM_TRY(check_ones(count_ones(mask), values.count()));
  const std::uint8_t* ones = mask.data();
  return spread(values, mask.sizes(), [ones](std::size_t i) { return ones[i] != 0; });
}

// The elements where the mask is one, in a row.
Tensor sparse_of(const Tensor& dense, const Tensor& mask) {
  Tensor out(dense.dtype(), {std::int64_t(count_ones(mask))});
  by_element_size(dense.dtype(), [&](auto element) {
    using Element = decltype(element);
    const Element* from = reinterpret_cast<const Element*>(dense.data());
    Element* to = reinterpret_cast<Element*>(out.mutable_data());
    for (std::size_t i = 0; i < mask.count(); ++i)
      if (mask.data()[i]) *to++ = from[i];
  });
  return out;
}

Status check_sparse(const InputField& values, const InputField& mask) {
  POM_REQUIRE(values.rank() == 1, "the non-zero values have rank {}, not 1", values.rank());
  Dim count = element_count(mask.shape());
  POM_REQUIRE(!count.known() || !values.shape()[0].known() || values.shape()[0].value() <= count.value(),
              "{} non-zero values do not fit a mask of shape {}", values.shape()[0].text(), to_string(mask.shape()));
  return {};
}

// The shape of an iOS16 class, whose packed data must have exactly the bytes that `bits` per element need.
Result<Shape> packed_shape(const Ints& shape, const InputField& packed, unsigned bits, const char* what) {
  Shape result = to_shape(shape);
  POM_TRY(check_sizes(result));
  POM_REQUIRE(packed.rank() == 1, "{} has rank {}, not 1", what, packed.rank());
  std::size_t needed = packed_size_bytes(std::size_t(element_count(shape)), bits);
  POM_REQUIRE(may_equal(packed.shape()[0], std::int64_t(needed)), "{} has {} bytes, but shape {} needs {}", what,
              packed.shape()[0].text(), to_string(shape), needed);
  return result;
}

Status check_parameter(const InputField& parameter, const char* parameter_name, const InputField& data, int axis) {
  POM_REQUIRE(parameter.rank() <= 1, "{} has rank {}, not 0 or 1", parameter_name, parameter.rank());
  if (parameter.rank() == 0) return {};
  auto along = normal_axis(axis, data.rank());
  POM_REQUIRE(along, "axis {} is outside data of rank {}", axis, data.rank());
  POM_REQUIRE(may_equal(parameter.shape()[0], data.shape()[*along]),
              "{} has {} elements, but the data has {} at axis {}", parameter_name, parameter.shape()[0].text(),
              data.shape()[*along].text(), axis);
  return {};
}

}  // namespace

Result<Types> constexpr_affine_dequantize::infer(const At&) const {
  POM_TRY(check_parameter(scale, "scale", quantized_data, axis));
  POM_TRY(check_parameter(zero_point, "zero_point", quantized_data, axis));
  return Types{tensor_type(scale.dtype(), quantized_data.shape())};
}
Result<Tensors> constexpr_affine_dequantize::eval(const At& at) const {
  POM_TRY(infer(at));
  const Tensor& data = quantized_data.tensor();
  std::vector<double> factors = scale.tensor().numbers(), zeros = zero_point.tensor().numbers();
  std::size_t along = normal_axis(axis, data.rank()).value_or(0);
  std::size_t size = data.rank() ? std::size_t(data.sizes()[along]) : 1;
  std::size_t inner = data.rank() ? std::size_t(strides_of(data.sizes())[along]) : 1;
  Tensor out(scale.dtype(), data.sizes());
  if (out.count() == 0) return Tensors{out};
  parallel_for(data.count() / inner, 1 + chunk_elements / inner, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      double factor = factors[factors.size() == 1 ? 0 : row % size], zero = zeros[zeros.size() == 1 ? 0 : row % size];
      for (std::size_t i = row * inner; i < (row + 1) * inner; ++i)
        // In fp32 even when the scale is fp16: a zero point of fp32 is not rounded to fp16 first.
        out.set_number(i, double(float(data.number(i) - zero)) * factor);
    }
  });
  return Tensors{out};
}

Result<Types> constexpr_cast::infer(const At&) const {
  POM_REQUIRE(*output_dtype == "fp32", "output_dtype is '{}', not fp32", *output_dtype);
  return Types{tensor_type(DType::fp32, source_val.shape())};
}
Result<Tensors> constexpr_cast::eval(const At& at) const {
  POM_TRY(infer(at));
  return Tensors{source_val.tensor().converted(DType::fp32)};
}

Result<Types> constexpr_lut_to_dense_iOS16::infer(const At&) const {
  POM_REQUIRE(lut.rank() == 1, "lut has rank {}, not 1", lut.rank());
  unsigned bits = 8;
  if (Dim entries = lut.shape()[0]; entries.known()) {
    std::int64_t n = entries.value();
    POM_REQUIRE(n == 2 || n == 4 || n == 16 || n == 64 || n == 256, "lut has {} entries, not 2, 4, 16, 64 or 256", n);
    bits = unsigned(std::countr_zero(std::uint64_t(n)));
  }
  return Types{tensor_type(lut.dtype(), POM_TRY(packed_shape(shape, indices, bits, "indices")))};
}
Result<Tensors> constexpr_lut_to_dense_iOS16::eval(const At& at) const {
  Shape result = POM_TRY(infer(at))[0].shape;
  const Tensor& table = lut.tensor();
  unsigned bits = unsigned(std::countr_zero(table.count()));
  Tensor out = POM_TRY(make_tensor(table.dtype(), result));
  std::span<const std::uint8_t> packed(indices.tensor().data(), indices.tensor().count());
  by_element_size(table.dtype(), [&](auto element) {
    using Element = decltype(element);
    const Element* entries = reinterpret_cast<const Element*>(table.data());
    Element* to = reinterpret_cast<Element*>(out.mutable_data());
    std::size_t count = out.count();
    parallel_for((count + chunk_elements - 1) / chunk_elements, 1, [&](std::size_t first, std::size_t last) {
      std::uint8_t unpacked[chunk_elements];
      for (std::size_t chunk = first; chunk < last; ++chunk) {
        std::size_t begin = chunk * chunk_elements, length = std::min(chunk_elements, count - begin);
        unpack_bits(packed.subspan(begin / 8 * bits), bits, std::span(unpacked, length));
        for (std::size_t i = 0; i < length; ++i) to[begin + i] = entries[unpacked[i]];
      }
    });
  });
  return Tensors{out};
}

Result<Types> constexpr_lut_to_dense::infer(const At&) const {
  return Types{tensor_type(lut.dtype(), POM_TRY(infer_look_up(indices.type(), lut.type(), vector_axis)))};
}
Result<Tensors> constexpr_lut_to_dense::eval(const At& at) const {
  POM_TRY(infer(at));
  std::size_t axis = normal_axis(vector_axis->value_or(0), indices.rank()).value_or(0);
  return Tensors{look_up(indices.tensor(), lut.tensor(), axis)};
}

Result<Types> constexpr_sparse_to_dense_iOS16::infer(const At&) const {
  POM_REQUIRE(nonzero_data.rank() == 1, "nonzero_data has rank {}, not 1", nonzero_data.rank());
  return Types{tensor_type(nonzero_data.dtype(), POM_TRY(packed_shape(shape, mask, 1, "mask")))};
}
Result<Tensors> constexpr_sparse_to_dense_iOS16::eval(const At& at) const {
  POM_TRY(infer(at));
  std::size_t count = std::size_t(element_count(*shape)), ones = 0;
  const std::uint8_t* bits = mask.tensor().data();
  auto is_one = [bits](std::size_t i) { return (bits[i / 8] >> (i % 8) & 1) != 0; };
  for (std::size_t i = 0; i < count; ++i) ones += is_one(i);
  POM_TRY(check_ones(ones, nonzero_data.tensor().count()));
  return Tensors{spread(nonzero_data.tensor(), *shape, is_one)};
}

Result<Types> constexpr_sparse_to_dense::infer(const At&) const {
  POM_TRY(check_sparse(nonzero_data, mask));
  return Types{tensor_type(nonzero_data.dtype(), mask.shape())};
}
Result<Tensors> constexpr_sparse_to_dense::eval(const At& at) const {
  POM_TRY(infer(at));
  return Tensors{POM_TRY(dense_of(nonzero_data.tensor(), mask.tensor()))};
}

Result<Types> constexpr_blockwise_shift_scale::infer(const At&) const {
  POM_TRY(check_shift_scale(data.shape(), data.dtype(), scale, offset));
  return Types{tensor_type(scale.dtype(), data.shape())};
}
Result<Tensors> constexpr_blockwise_shift_scale::eval(const At& at) const {
  POM_TRY(infer(at));
  return Tensors{shift_scale(data.tensor(), scale.tensor(), offset ? &offset.tensor() : nullptr)};
}

Result<Types> constexpr_lut_to_sparse::infer(const At&) const {
  POM_TRY(check_sparse(indices_nonzero_data, indices_mask));
  Type dense = tensor_type(indices_nonzero_data.dtype(), indices_mask.shape());
  Shape mask = POM_TRY(infer_look_up(dense, lut.type(), vector_axis));
  Dim count = indices_nonzero_data.shape()[0] * lut.shape().back();
  return Types{tensor_type(indices_mask.dtype(), std::move(mask)), tensor_type(lut.dtype(), {count})};
}
Result<Tensors> constexpr_lut_to_sparse::eval(const At& at) const {
  POM_TRY(infer(at));
  std::size_t rank = indices_mask.rank(), axis = normal_axis(vector_axis->value_or(0), rank).value_or(0);
  const Tensor& mask = indices_mask.tensor();
  Tensor dense = look_up(POM_TRY(dense_of(indices_nonzero_data.tensor(), mask)), lut.tensor(), axis);
  // The mask with each element V times along the axis: a lookup in the table of V zeros and V ones.
  std::int64_t vector = vector_size(lut.shape());
  Sizes table_sizes(rank, 1);
  table_sizes.insert(table_sizes.end(), {2, vector});
  Tensor table(DType::uint1, table_sizes);
  std::fill_n(table.mutable_data() + vector, vector, std::uint8_t(1));
  Tensor repeated = look_up(mask, table, axis);
  Tensor values = sparse_of(dense, repeated);
  return Tensors{std::move(repeated), std::move(values)};
}

Result<Types> constexpr_sparse_blockwise_shift_scale::infer(const At&) const {
  POM_TRY(check_sparse(nonzero_data, data_mask));
  POM_TRY(check_shift_scale(data_mask.shape(), nonzero_data.dtype(), scale, offset));
  return Types{data_mask.type(), tensor_type(scale.dtype(), nonzero_data.shape())};
}
Result<Tensors> constexpr_sparse_blockwise_shift_scale::eval(const At& at) const {
  POM_TRY(infer(at));
  const Tensor& mask = data_mask.tensor();
  Tensor dense = POM_TRY(dense_of(nonzero_data.tensor(), mask));
  Tensor decoded = shift_scale(dense, scale.tensor(), offset ? &offset.tensor() : nullptr);
  return Tensors{mask, sparse_of(decoded, mask)};
}

std::vector<const OpDef*> constexpr_chapter() {
  return op_list<constexpr_affine_dequantize, constexpr_cast, constexpr_lut_to_dense_iOS16, constexpr_lut_to_dense,
                 constexpr_sparse_to_dense_iOS16, constexpr_sparse_to_dense, constexpr_blockwise_shift_scale,
                 constexpr_lut_to_sparse, constexpr_sparse_blockwise_shift_scale>();
}

}  // namespace pomona::mil
