// Matrix products: linear, matmul and einsum, all as batches of products of strided matrices.
#include "ops/linear.h"

#include <algorithm>

#include "base/threads.h"
#include "cpu/encoded_constant.h"
#include "cpu/gemm.h"
#include "cpu/kernels/encoded_linear.h"
#include "cpu/kernels/kernels.h"

namespace pomona::cpu {
namespace {

// Where the matrices of one product of the batch begin, in elements.
struct Offsets {
  std::int64_t a, b, c;
};
struct Batch {
  std::vector<Offsets> products;
  std::size_t rows, depth, columns;
  std::int64_t a_row, a_depth, b_depth, b_column, c_row;  // strides
  bool half = false;                                      // see RowBlock
};

std::size_t rounded_up(std::size_t value, std::size_t step) { return (value + step - 1) / step * step; }

// The products' memory at run time.
struct Buffers {
  const float *a, *b;
  const float* bias;
  float *c, *scratch;
};

class BatchProduct {
 public:
  // `packed`: B when it is constant (one matrix for all products).
  BatchProduct(Batch batch, std::shared_ptr<const PackedMatrix> packed, Finish finish)
      : batch_(std::move(batch)), packed_(std::move(packed)), finish_(std::move(finish)) {
    // Each distinct B is packed once, each distinct A transposed once.
    for (const Offsets& o : batch_.products) {
      a_index_.push_back(number_of(a_starts_, o.a));
      b_index_.push_back(number_of(b_starts_, o.b));
    }
    b_elements_ = rounded_up(packed_elements(batch_.depth, batch_.columns), 16);
    a_elements_ = rounded_up(batch_.rows * batch_.depth, 16);
  }

  std::size_t scratch_bytes() const {
    return 4 * ((packed_ ? 0 : b_elements_ * b_starts_.size()) + (transposed() ? a_elements_ * a_starts_.size() : 0));
  }

  void operator()(const Frame& f, const Buffers& buffers) const {
    if (!packed_) pack(buffers);
    if (transposed()) transpose(buffers);
    std::size_t row_tasks = (batch_.rows + rows_per_task() - 1) / rows_per_task();
    std::size_t panels = panel_count(batch_.columns), per_task = panels_per_task();
    std::size_t column_tasks = (panels + per_task - 1) / per_task;
    std::size_t tasks = row_tasks * column_tasks;
    parallel_for(batch_.products.size() * tasks, 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i)
        run_task(f, buffers, i / tasks, i % tasks / column_tasks, i % column_tasks);
    });
  }

 private:
  static std::size_t number_of(std::vector<std::int64_t>& starts, std::int64_t start) {
    auto at = std::find(starts.begin(), starts.end(), start);
    if (at == starts.end()) at = starts.insert(at, start);
    return std::size_t(at - starts.begin());
  }
  bool transposed() const { return batch_.a_depth != 1; }
  const float* packed_b(const Buffers& buffers, std::size_t index) const {
    return packed_ ? packed_->elements.data() : buffers.scratch + index * b_elements_;
  }
  float* transposed_a(const Buffers& buffers, std::size_t index) const {
    return buffers.scratch + (packed_ ? 0 : b_elements_ * b_starts_.size()) + index * a_elements_;
  }

  void pack(const Buffers& buffers) const {
    std::size_t panels = panel_count(batch_.columns);
    parallel_for(b_starts_.size() * panels, 1 + 4096 / std::max<std::size_t>(batch_.depth, 1),
                 [&](std::size_t first, std::size_t last) {
                   for (std::size_t i = first; i < last; ++i) {
                     Matrix b{buffers.b + b_starts_[i / panels], batch_.depth, batch_.columns, batch_.b_depth,
                              batch_.b_column};
                     pack_panels(b, i % panels, i % panels + 1, buffers.scratch + i / panels * b_elements_);
                   }
                 });
  }
  void transpose(const Buffers& buffers) const {
    parallel_for(a_starts_.size() * batch_.rows, 64, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        std::size_t row = i % batch_.rows;
        const float* from = buffers.a + a_starts_[i / batch_.rows] + std::int64_t(row) * batch_.a_row;
        float* to = transposed_a(buffers, i / batch_.rows) + row * batch_.depth;
        for (std::size_t k = 0; k < batch_.depth; ++k) to[k] = from[std::int64_t(k) * batch_.a_depth];
      }
    });
  }

  // So many that the results are still in the second-level cache when they are finished. How the work is cut depends
  // on the number of threads, the results do not.
  std::size_t rows_per_task() const {
    std::size_t fitting = 131072 / std::max<std::size_t>(batch_.columns, 1), threads = thread_count();
    if (threads > 1) fitting = std::min(fitting, batch_.rows / (2 * threads) + 1);
    return std::clamp<std::size_t>(rounded_up(fitting, most_block_rows), 4 * most_block_rows, 4096);
  }
  std::size_t panels_per_task() const {
    std::size_t panels = panel_count(batch_.columns), threads = thread_count();
    if (threads == 1 || batch_.rows * batch_.products.size() > 2 * most_block_rows)
      return std::max<std::size_t>(panels, 1);
    return panels / (2 * threads) + 1;
  }

  void run_task(const Frame& f, const Buffers& buffers, std::size_t index, std::size_t row_task,
                std::size_t column_task) const {
    const Offsets& o = batch_.products[index];
    std::size_t first_row = row_task * rows_per_task(), rows = std::min(rows_per_task(), batch_.rows - first_row);
    std::size_t panels = panel_count(batch_.columns), first = column_task * panels_per_task(),
                last = std::min(first + panels_per_task(), panels);
    Product p{};
    p.a_stride = transposed() ? std::int64_t(batch_.depth) : batch_.a_row;
    p.a = (transposed() ? transposed_a(buffers, a_index_[index]) : buffers.a + o.a) +
          std::int64_t(first_row) * p.a_stride;
    p.b = {packed_b(buffers, b_index_[index]), batch_.depth, batch_.columns};
    p.bias = buffers.bias;
    p.c_stride = batch_.c_row;
    p.c = buffers.c + o.c + std::int64_t(first_row) * batch_.c_row;
    p.rows = rows;
    p.half = batch_.half;
    multiply(p, first, last);
    if (!finish_) return;
    std::size_t begin = std::size_t(o.c) + first_row * std::size_t(batch_.c_row), column = first * panel_columns();
    std::size_t columns = std::min(last * panel_columns(), batch_.columns) - column;
    if (columns == std::size_t(batch_.c_row)) return finish_(f, begin, rows * columns);
    for (std::size_t r = 0; r < rows; ++r) finish_(f, begin + r * std::size_t(batch_.c_row) + column, columns);
  }

  Batch batch_;
  std::shared_ptr<const PackedMatrix> packed_;
  Finish finish_;
  std::vector<std::int64_t> a_starts_, b_starts_;
  std::vector<std::size_t> a_index_, b_index_;
  std::size_t a_elements_ = 0, b_elements_ = 0;
};

// B of a constant operand, packed once for the model; null when it cannot be decoded.
std::shared_ptr<const PackedMatrix> packed_constant(const InputField& weight, const Batch& batch, PlanContext& at) {
  std::string key =
      fmt::format("product {} {} {}", static_cast<const void*>(&Value(weight).info()), batch.b_depth, batch.b_column);
  auto make = [&]() -> std::shared_ptr<const void> {
    const Tensor* tensor = at.constant(weight);
    if (!tensor) return nullptr;
    Tensor floats = tensor->converted(DType::fp32);
    Matrix b{floats.view<float>().data(), batch.depth, batch.columns, batch.b_depth, batch.b_column};
    return std::make_shared<const PackedMatrix>(pack_matrix(b));
  };
  return std::static_pointer_cast<const PackedMatrix>(at.shared(key, make));
}

struct ProductSlots {
  SlotNumber a, b, bias, c;
};
Kernel product_kernel(Batch batch, const ProductSlots& slots, std::shared_ptr<const PackedMatrix> packed,
                      const PlanContext& at, std::string_view name) {
  batch.half = at.accumulate_half;
  if (batch.rows * batch.columns * batch.products.size() == 0) return {};
  auto product = std::make_shared<const BatchProduct>(std::move(batch), std::move(packed), at.finish);
  return {.run =
              [product, slots](const Frame& f) {
                (*product)(f, {f.read<float>(slots.a), slots.b == no_slot ? nullptr : f.read<float>(slots.b),
                               slots.bias == no_slot ? nullptr : f.read<float>(slots.bias), f.write<float>(slots.c),
                               reinterpret_cast<float*>(f.scratch())});
              },
          .scratch_bytes = product->scratch_bytes(),
          .name = name};
}

Kernel plan_linear(const mil::linear& op, PlanContext& at) {
  if (!is_float(op.x.dtype()) || !at.is_constant(op.weight)) return {};
  Sizes x = known_sizes(op.x.shape()), w = known_sizes(op.weight.shape());
  std::size_t depth = std::size_t(w[1]), columns = std::size_t(w[0]);
  std::size_t rows = std::size_t(element_count(at.result_sizes())) / std::max<std::size_t>(columns, 1);
  SlotNumber bias = op.bias ? at.source(op.bias) : no_slot;
  if (auto matrix = encoded_constant(op.weight, {0, 1}, at))
    return encoded_linear_kernel(matrix, {at.source(op.x), bias, at.result()}, rows, at.finish);
  Batch batch{{{0, 0, 0}}, rows, depth, columns, w[1], 1, 1, w[1], w[0]};
  auto packed = packed_constant(op.weight, batch, at);
  if (!packed) return {};
  return product_kernel(std::move(batch), {at.source(op.x), no_slot, bias, at.result()}, packed, at, "linear");
}

// The offsets of every matrix of a batch that is broadcast.
std::vector<std::int64_t> batch_offsets(const Sizes& batch, const Sizes& own, std::int64_t matrix) {
  std::vector<std::int64_t> offsets{0};
  Sizes strides = strides_of(own);
  for (std::size_t d = 0; d < batch.size(); ++d) {
    std::vector<std::int64_t> next;
    std::int64_t stride = 0;
    std::size_t skipped = batch.size() - own.size();
    if (d >= skipped && own[d - skipped] != 1) stride = strides[d - skipped] * matrix;
    for (std::int64_t offset : offsets)
      for (std::int64_t i = 0; i < batch[d]; ++i) next.push_back(offset + i * stride);
    offsets = std::move(next);
  }
  return offsets;
}

Kernel plan_matmul(const mil::matmul& op, PlanContext& at) {
  if (!is_float(op.x.dtype()) || !is_float(op.y.dtype())) return {};
  Sizes x = known_sizes(op.x.shape()), y = known_sizes(op.y.shape()), result = at.result_sizes();
  if (x.size() == 1) x.insert(x.begin(), 1);
  if (y.size() == 1) y.push_back(1);
  std::int64_t x1 = x[x.size() - 2], x2 = x.back(), y1 = y[y.size() - 2], y2 = y.back();
  bool tx = op.transpose_x, ty = op.transpose_y;
  std::int64_t rows = tx ? x2 : x1, depth = tx ? x1 : x2, columns = ty ? y1 : y2;
  Batch batch{{},          std::size_t(rows), std::size_t(depth), std::size_t(columns),
              tx ? 1 : x2, tx ? x2 : 1,       ty ? 1 : y2,        ty ? y2 : 1,
              columns};
  Sizes batch_sizes(result.begin(), result.end() - (op.x.rank() > 1) - (op.y.rank() > 1));
  auto a = batch_offsets(batch_sizes, Sizes(x.begin(), x.end() - 2), x1 * x2);
  auto b = batch_offsets(batch_sizes, Sizes(y.begin(), y.end() - 2), y1 * y2);
  bool one_b = std::all_of(b.begin(), b.end(), [](std::int64_t offset) { return offset == 0; });
  if (one_b && !tx && element_count(Sizes(x.begin(), x.end() - 2)) == std::int64_t(a.size())) {
    batch.rows *= a.size();  // one tall matrix
    a.resize(a.empty() ? 0 : 1);
  }
  for (std::size_t i = 0; i < a.size(); ++i) batch.products.push_back({a[i], b[i], std::int64_t(i) * rows * columns});
  std::shared_ptr<const PackedMatrix> packed;
  if (at.is_constant(op.y) && one_b) {
    bool plain = op.y.rank() == 2 && batch.products.size() == 1 && batch.a_depth == 1;
    MatrixAxes axes = ty ? MatrixAxes{0, 1} : MatrixAxes{1, 0};
    if (auto matrix = plain ? encoded_constant(op.y, axes, at) : nullptr)
      return encoded_linear_kernel(matrix, {at.source(op.x), no_slot, at.result()}, batch.rows, at.finish);
    packed = packed_constant(op.y, batch, at);
  }
  SlotNumber own_b = packed ? no_slot : at.source(op.y);
  return product_kernel(std::move(batch), {at.source(op.x), own_b, no_slot, at.result()}, packed, at, "matmul");
}

// out[n, c, h, u] = sum over w of x[n, c, h, w] * y[n, w, h, u]; rank 3 is without n.
Kernel plan_einsum(const mil::einsum& op, PlanContext& at) {
  if (!is_float(op.values.type(0).dtype)) return {};
  Sizes x = known_sizes(op.values.shape(0)), y = known_sizes(op.values.shape(1)), out = at.result_sizes();
  for (Sizes* s : {&x, &y, &out})
    if (s->size() == 3) s->insert(s->begin(), 1);
  std::int64_t c = x[1], w = x[3], u = y[3], h = out[2];
  Batch batch{{}, std::size_t(c), std::size_t(w), std::size_t(u), x[2] * w, 1, y[2] * u, 1, h * u};
  for (std::int64_t n = 0; n < out[0]; ++n)
    for (std::int64_t i = 0; i < h; ++i)
      batch.products.push_back({(x[0] == 1 ? 0 : n) * c * x[2] * w + (x[2] == 1 ? 0 : i) * w,
                                (y[0] == 1 ? 0 : n) * w * y[2] * u + (y[2] == 1 ? 0 : i) * u, n * c * h * u + i * u});
  return product_kernel(std::move(batch), {at.sources[0][0], at.sources[0][1], no_slot, at.result()}, nullptr, at,
                        "einsum");
}

}  // namespace

std::vector<KernelRule> linear_kernels() {
  return {
      kernel<mil::linear, plan_linear>({.finishes = true, .constants_on_demand = true}),
      kernel<mil::matmul, plan_matmul>({.finishes = true, .constants_on_demand = true}),
      kernel<mil::einsum, plan_einsum>({.finishes = true}),
  };
}

}  // namespace pomona::cpu
