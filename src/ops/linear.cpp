#include "ops/linear.h"

#include <algorithm>

#include "base/threads.h"
#include "ops/axes.h"
#include "ops/catalogue.h"
#include "ops/elementwise_unary.h"

namespace pomona::mil {
namespace {

// Matrices are read in doubles, or modulo 2^64 when all operands are integers.
template <class N>
std::vector<N> elements_of(const Tensor& tensor) {
  if constexpr (std::is_same_v<N, double>) {
    return tensor.numbers();
  } else {
    std::vector<std::int64_t> integers = tensor.integers();
    return {integers.begin(), integers.end()};
  }
}
double as_double(double total) { return total; }
double as_double(std::uint64_t total) { return double(wrapped_to_int32(total)); }

struct Matrix {
  std::size_t rows, columns, row_stride, column_stride;
};
// result[r, c] = sum of a[r, i] * b[i, c], plus bias[c] when there is one.
template <class N>
void multiply(const N* a, const Matrix& left, const N* b, const Matrix& right, const N* bias, double* result) {
  parallel_for(left.rows, 1 + 16384 / (left.columns * right.columns + 1), [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r)
      for (std::size_t c = 0; c < right.columns; ++c) {
        N total = bias ? bias[c] : N(0);
        for (std::size_t i = 0; i < left.columns; ++i)
          total += a[r * left.row_stride + i * left.column_stride] * b[i * right.row_stride + c * right.column_stride];
        result[r * right.columns + c] = as_double(total);
      }
  });
}
bool all_integers(std::initializer_list<DType> dtypes) {
  return std::none_of(dtypes.begin(), dtypes.end(), [](DType d) { return is_float(d); });
}

template <class N>
std::vector<double> linear_product(const linear& op) {
  std::size_t in = std::size_t(op.weight.sizes()[1]), out = std::size_t(op.weight.sizes()[0]);
  std::size_t rows = 1;
  for (std::size_t i = 0; i + 1 < op.x.rank(); ++i) rows *= std::size_t(op.x.sizes()[i]);
  std::vector<N> x = elements_of<N>(op.x.tensor()), weight = elements_of<N>(op.weight.tensor()), bias;
  if (op.bias) bias = elements_of<N>(op.bias.tensor());
  std::vector<double> result(rows * out);
  multiply(x.data(), {rows, in, in, 1}, weight.data(), {in, out, 1, in}, op.bias ? bias.data() : nullptr,
           result.data());
  return result;
}

// A matmul operand's last two axes after transposition, and the axes before them.
struct Factor {
  Dim rows, columns;
  Shape batch;
};
Factor left_factor(const Shape& shape, bool transpose) {
  if (shape.size() == 1) return {1, shape[0], {}};
  Dim rows = shape[shape.size() - 2], columns = shape.back();
  if (transpose) std::swap(rows, columns);
  return {rows, columns, Shape(shape.begin(), shape.end() - 2)};
}
Factor right_factor(const Shape& shape, bool transpose) {
  if (shape.size() == 1) return {shape[0], 1, {}};
  return left_factor(shape, transpose);
}
Matrix matrix_of(const Factor& factor, bool transposed) {
  std::size_t rows = std::size_t(factor.rows.value()), columns = std::size_t(factor.columns.value());
  return transposed ? Matrix{rows, columns, 1, rows} : Matrix{rows, columns, columns, 1};
}

// Which of an operand's matrices, counted row-major over its own batch axes, goes into each matrix of the result.
std::vector<std::size_t> batch_order(const Shape& own, const Sizes& result) {
  Sizes sizes = known_sizes(own);
  Sizes strides = strides_of(sizes);
  std::vector<std::size_t> order{0};
  std::size_t offset = result.size() - sizes.size();
  for (std::size_t axis = 0; axis < result.size(); ++axis) {
    std::int64_t stride = axis < offset || sizes[axis - offset] == 1 ? 0 : strides[axis - offset];
    std::vector<std::size_t> next;
    for (std::size_t o : order)
      for (std::int64_t i = 0; i < result[axis]; ++i) next.push_back(o + std::size_t(i * stride));
    order = std::move(next);
  }
  return order;
}

template <class N>
Result<std::vector<double>> matmul_product(const matmul& op) {
  Factor left = left_factor(op.x.tensor().shape(), op.transpose_x);
  Factor right = right_factor(op.y.tensor().shape(), op.transpose_y);
  Sizes batch = known_sizes(POM_TRY(broadcast(left.batch, right.batch)));
  std::vector<std::size_t> from_x = batch_order(left.batch, batch), from_y = batch_order(right.batch, batch);
  Matrix a = matrix_of(left, op.transpose_x), b = matrix_of(right, op.transpose_y);
  std::vector<N> x = elements_of<N>(op.x.tensor()), y = elements_of<N>(op.y.tensor());
  std::vector<double> result(from_x.size() * a.rows * b.columns);
  for (std::size_t i = 0; i < from_x.size(); ++i)
    multiply(x.data() + from_x[i] * a.rows * a.columns, a, y.data() + from_y[i] * b.rows * b.columns, b,
             static_cast<const N*>(nullptr), result.data() + i * a.rows * b.columns);
  return result;
}

// From iOS17 on, a constant operand takes part in the dtype of the other one.
Result<DType> matmul_dtype(const matmul& op) {
  if (op.x.dtype() == op.y.dtype()) return op.x.dtype();
  Value x = op.x, y = op.y;
  bool x_constant = x && x.is_weight(), y_constant = y && y.is_weight();
  if (x && y)
    POM_REQUIRE(x_constant != y_constant,
                "x is {} and y is {}; dtypes may differ only when exactly one operand is constant", name(op.x.dtype()),
                name(op.y.dtype()));
  return x_constant ? op.y.dtype() : op.x.dtype();
}

// An equation "x,y->result" of the one form there is: (n)chw,(n)whu->(n)chu.
Status check_equation(const std::string& equation, std::size_t rank) {
  std::string text;
  std::copy_if(equation.begin(), equation.end(), std::back_inserter(text), [](char c) { return c != ' '; });
  std::size_t comma = text.find(','), arrow = text.find("->");
  bool three_terms = comma == rank && arrow == 2 * rank + 1 && text.size() == 3 * rank + 3;
  if (three_terms) {
    std::string x = text.substr(0, rank), y = text.substr(comma + 1, rank), result = text.substr(arrow + 2);
    std::string batch = x.substr(0, rank - 3);
    char c = x[rank - 3], h = x[rank - 2], w = x[rank - 1], u = y[rank - 1];
    std::string letters = batch + c + h + w + u;
    std::sort(letters.begin(), letters.end());
    bool distinct = std::adjacent_find(letters.begin(), letters.end()) == letters.end();
    if (distinct && y == batch + w + h + u && result == batch + c + h + u) return {};
  }
  return fail("the equation is '{}', but for operands of rank {} only '{}' is known", equation, rank,
              rank == 4 ? "nchw,nwhu->nchu" : "chw,whr->chr");
}

template <class N>
std::vector<double> einsum_product(const Tensor& x, const Tensor& y, const Sizes& result_sizes) {
  auto pad_to_four = [](Sizes sizes) {
    if (sizes.size() == 3) sizes.insert(sizes.begin(), 1);
    return sizes;
  };
  Sizes xs = pad_to_four(x.sizes()), ys = pad_to_four(y.sizes()), rs = pad_to_four(result_sizes);
  std::vector<N> a = elements_of<N>(x), b = elements_of<N>(y);
  auto at = [](const Sizes& sizes, std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
    n = sizes[0] == 1 ? 0 : n;
    return std::size_t(((n * sizes[1] + c) * sizes[2] + h) * sizes[3] + w);
  };
  std::vector<double> result;
  result.reserve(std::size_t(element_count(rs)));
  for (std::int64_t n = 0; n < rs[0]; ++n)
    for (std::int64_t c = 0; c < rs[1]; ++c)
      for (std::int64_t h = 0; h < rs[2]; ++h)
        for (std::int64_t u = 0; u < rs[3]; ++u) {
          N total{};
          for (std::int64_t w = 0; w < xs[3]; ++w)
            total += a[at(xs, n, c, xs[2] == 1 ? 0 : h, w)] * b[at(ys, n, w, ys[2] == 1 ? 0 : h, u)];
          result.push_back(as_double(total));
        }
  return result;
}

}  // namespace

// Documented for rank 1 to 3 only; Core ML models with more exist.
Result<Types> linear::infer(const At&) const {
  POM_REQUIRE(x.rank() >= 1, "x has rank 0, but at least 1 is needed");
  POM_REQUIRE(weight.rank() == 2, "weight has rank {}, not 2", weight.rank());
  Dim in = weight.shape()[1], out = weight.shape()[0];
  POM_REQUIRE(may_equal(x.shape().back(), in), "x has {} elements per row, but weight is {}", x.shape().back().text(),
              to_string(weight.shape()));
  if (bias) {
    POM_REQUIRE(bias.rank() == 1, "bias has rank {}, not 1", bias.rank());
    POM_REQUIRE(may_equal(bias.shape()[0], out), "bias has {} elements, but weight is {}", bias.shape()[0].text(),
                to_string(weight.shape()));
  }
  Shape shape = x.shape();
  shape.back() = out;
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> linear::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  bool integers = all_integers({x.dtype(), weight.dtype(), bias ? bias.dtype() : x.dtype()});
  std::vector<double> result = integers ? linear_product<std::uint64_t>(*this) : linear_product<double>(*this);
  return Tensors{Tensor::from_numbers(type.dtype, known_sizes(type.shape), result)};
}

Result<Types> matmul::infer(const At&) const {
  POM_REQUIRE(x.rank() >= 1 && y.rank() >= 1, "x is {} and y is {}; a number cannot be multiplied as a matrix",
              to_string(x.shape()), to_string(y.shape()));
  POM_REQUIRE(x.rank() > 1 || !transpose_x, "x is a vector, which cannot be transposed");
  POM_REQUIRE(y.rank() > 1 || !transpose_y, "y is a vector, which cannot be transposed");
  Factor left = left_factor(x.shape(), transpose_x), right = right_factor(y.shape(), transpose_y);
  POM_REQUIRE(may_equal(left.columns, right.rows), "x {}{} and y {}{} do not fit: rows have {} elements, columns {}",
              to_string(x.shape()), transpose_x ? " (transposed)" : "", to_string(y.shape()),
              transpose_y ? " (transposed)" : "", left.columns.text(), right.rows.text());
  Shape shape = POM_TRY(broadcast(left.batch, right.batch));
  if (x.rank() > 1) shape.push_back(left.rows);
  if (y.rank() > 1) shape.push_back(right.columns);
  return Types{tensor_type(POM_TRY(matmul_dtype(*this)), std::move(shape))};
}
Result<Tensors> matmul::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  std::vector<double> result = all_integers({x.dtype(), y.dtype()}) ? POM_TRY(matmul_product<std::uint64_t>(*this))
                                                                    : POM_TRY(matmul_product<double>(*this));
  return Tensors{Tensor::from_numbers(type.dtype, known_sizes(type.shape), result)};
}

Result<Types> einsum::infer(const At&) const {
  POM_REQUIRE(values.size() == 2, "there are {} operands, not 2", values.size());
  std::size_t rank = values.shape(0).size();
  POM_REQUIRE(rank == values.shape(1).size() && (rank == 3 || rank == 4),
              "the operands are {} and {}; both must have rank 3, or both rank 4", to_string(values.shape(0)),
              to_string(values.shape(1)));
  POM_TRY(check_equation(equation, rank));
  const Shape &x = values.shape(0), &y = values.shape(1);
  POM_REQUIRE(may_equal(x[rank - 1], y[rank - 3]), "{} and {} do not fit '{}': {} is not {}", to_string(x),
              to_string(y), *equation, x[rank - 1].text(), y[rank - 3].text());
  Shape batch = POM_TRY(broadcast(Shape(x.begin(), x.end() - 3), Shape(y.begin(), y.end() - 3)));
  Shape height = POM_TRY(broadcast({x[rank - 2]}, {y[rank - 2]}));
  Shape shape = std::move(batch);
  shape.insert(shape.end(), {x[rank - 3], height[0], y[rank - 1]});
  return Types{tensor_type(values.type(0).dtype, std::move(shape))};
}
Result<Tensors> einsum::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Sizes sizes = known_sizes(type.shape);
  const Tensor &x = values.tensor(0), &y = values.tensor(1);
  std::vector<double> result = all_integers({x.dtype(), y.dtype()}) ? einsum_product<std::uint64_t>(x, y, sizes)
                                                                    : einsum_product<double>(x, y, sizes);
  return Tensors{Tensor::from_numbers(type.dtype, sizes, result)};
}

std::vector<const OpDef*> linear_chapter() { return op_list<linear, matmul, einsum>(); }

}  // namespace pomona::mil
