#include "cpu/kernels/encoded_linear.h"

#include <algorithm>

#include "base/threads.h"
#include "cpu/encoded_product.h"

namespace pomona::cpu {
namespace {

class EncodedLinear {
 public:
  EncodedLinear(SharedMatrix matrix, const EncodedLinearSlots& slots, std::size_t vectors, Finish finish)
      : matrix_(std::move(matrix)),
        slots_(slots),
        vectors_(vectors),
        finish_(std::move(finish)),
        activation_bytes_(pomona::cpu::activation_bytes(*matrix_)) {}

  std::size_t scratch_bytes() const { return activation_bytes_ * vectors_ + 64; }

  void operator()(const Frame& f) const {
    EncodedProduct p{matrix_.get(), f.read<float>(slots_.x), matrix_->depth, vectors_};
    p.activations = f.scratch() + (64 - reinterpret_cast<std::uintptr_t>(f.scratch()) % 64) % 64;
    p.bias = slots_.bias == no_slot ? nullptr : f.read<float>(slots_.bias);
    p.y = f.write<float>(slots_.y);
    p.y_stride = matrix_->rows;
    if (activation_bytes_) {
      std::size_t grain = 1 + 16384 / matrix_->depth;
      parallel_for(vectors_, grain,
                   [&](std::size_t first, std::size_t last) { usable_products().front()->quantise(p, first, last); });
    }
    std::size_t blocks = (vectors_ + vectors_per_task - 1) / vectors_per_task, tiles = matrix_->tiles(),
                per_task = tiles_per_task(), tasks = (tiles + per_task - 1) / per_task;
    parallel_for(blocks * tasks, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) run_task(f, p, i / tasks, i % tasks * per_task);
    });
  }

 private:
  // A block's integers stay in the second-level cache while the matrix passes by.
  static constexpr std::size_t vectors_per_task = 96;

  // Few vectors: what is read in a few microseconds, so that a busy core delays nobody for long. Many: a few tiles,
  // which stay in the first-level cache.
  std::size_t tiles_per_task() const {
    return vectors_ >= 8 ? 4 : std::max<std::size_t>(65536 / matrix_->tile_bytes(), 1);
  }

  void run_task(const Frame& f, const EncodedProduct& p, std::size_t block, std::size_t first_tile) const {
    std::size_t first = block * vectors_per_task, last = std::min(first + vectors_per_task, vectors_);
    std::size_t last_tile = std::min(first_tile + tiles_per_task(), matrix_->tiles());
    auto multiply = matrix_->code == EncodedMatrix::Code::halves    ? multiply_halves
                    : matrix_->code == EncodedMatrix::Code::indices ? multiply_indices
                                                                    : usable_products().front()->multiply;
    multiply(p, first_tile, last_tile, first, last);
    if (!finish_) return;
    std::size_t row = first_tile * tile_rows, count = std::min(last_tile * tile_rows, matrix_->rows) - row;
    for (std::size_t v = first; v < last; ++v) finish_(f, v * matrix_->rows + row, count);
  }

  SharedMatrix matrix_;
  EncodedLinearSlots slots_;
  std::size_t vectors_;
  Finish finish_;
  std::size_t activation_bytes_;
};

}  // namespace

Kernel encoded_linear_kernel(SharedMatrix matrix, const EncodedLinearSlots& slots, std::size_t vectors,
                             const Finish& finish) {
  if (vectors == 0) return {};
  auto linear = std::make_shared<const EncodedLinear>(std::move(matrix), slots, vectors, finish);
  return {.run = [linear](const Frame& f) { (*linear)(f); },
          .scratch_bytes = linear->scratch_bytes(),
          .name = "encoded_linear"};
}

}  // namespace pomona::cpu
