// A weight is a recipe until it is written: where its bytes are, and what is to be done to them.
//
// A Weight is a leaf (a tensor in memory, or a range of a mapped file) or a step applied to other weights. Nothing is
// computed before materialise(); the result is not kept, so converting a model needs memory for the tensor in hand
// only. Weights are values: copying one is cheap, and copies have the same identity().
//
//   Weight w = Weight::stored(file_range, DType::fp32, {768, 768});
//   Weight h = Weight::derived({.what = "cast to fp16", .dtype = DType::fp16, .sizes = w.sizes(), .inputs = {w},
//                               .apply = [](std::span<const Tensor> in) -> Result<Tensor> { return
//                               in[0].converted(...); }});
//   Tensor t = POM_TRY(h.materialise());
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ir/tensor.h"

namespace pomona {

class Weight {
 public:
  struct Step {
    std::string what;  // names the step and everything that changes its result; part of the identity
    DType dtype;
    Sizes sizes;
    std::vector<Weight> inputs;
    std::function<Result<Tensor>(std::span<const Tensor>)> apply;
  };

  Weight() = default;
  Weight(Tensor tensor);
  // Elements as a file stores them: little endian, sub-byte types packed. Errors: too few bytes for the sizes.
  static Result<Weight> stored(Bytes bytes, DType dtype, Sizes sizes);
  static Weight derived(Step step);
  // `weight` with its elements converted; itself when the dtype is that already.
  static Weight cast(const Weight& weight, DType dtype);

  explicit operator bool() const { return bool(recipe_); }
  DType dtype() const;
  const Sizes& sizes() const;
  std::size_t count() const { return std::size_t(element_count(sizes())); }
  Type type() const { return tensor_type(dtype(), to_shape(sizes())); }
  std::uint64_t stored_size() const { return stored_size_bytes(dtype(), count()); }

  // Computes the tensor. Leaves share their memory with the result.
  Result<Tensor> materialise() const;
  // The tensor when it is a leaf in memory, else null.
  const Tensor* in_memory() const;
  // The bytes as a file stores them, when this is a leaf whose stored form needs no work; else empty.
  const Bytes* stored_bytes() const;
  // The step, when this is one, else null.
  const Step* step() const;
  // Equal identities mean equal contents: the same leaf, or equal steps on weights of equal identity.
  const std::string& identity() const;

 private:
  struct Recipe;
  std::shared_ptr<const Recipe> recipe_;
};

// Elements as a file stores them: sub-byte dtypes packed, everything else as in memory.
Bytes stored_form(const Tensor& tensor);

}  // namespace pomona
