// How the readers of quantised layouts go through a checkpoint's tensors: module by module, each tensor taken out once
// and its sizes checked before anything relies on them.
#pragma once
#include "llm/checkpoints/sources.h"

namespace pomona::llm {

class Taken {
 public:
  explicit Taken(RawTensors& raw) : raw_(raw) {}

  // The modules "X" that have a tensor "X<suffix>".
  std::vector<std::string> modules(const std::string& suffix) const;
  bool has(const std::string& name) const { return raw_.contains(name); }
  // Takes a tensor; its sizes must be these, where -1 stands for any. Adds its bytes to `bytes`.
  Result<Weight> take(const std::string& name, const Sizes& sizes);
  Result<Weight> take(const std::string& name, const Sizes& sizes, DType dtype);
  void drop(const std::string& name) { raw_.erase(name); }
  const Sizes& sizes(const std::string& name) const { return raw_.at(name).weight.sizes(); }

  std::uint64_t bytes = 0;

 private:
  RawTensors& raw_;
};

// Columns that share a scale, of a matrix that has so many scales along a row: as many as is `stated`, where that fits
// (then the last group may be shorter), else they divide the columns. Errors: they do not.
Result<std::int64_t> group_of(std::int64_t columns, std::int64_t groups, std::int64_t stated = 0);

// Some quantisers go through the columns by importance, so that those of a group are not neighbours: the order that
// brings them together, from the group of each column; empty when they are neighbours already.
Result<std::vector<std::size_t>> column_order(const Weight& group_index, std::int64_t groups, std::int64_t group);
// The tensor of a matrix that is `quantised` with its column i being column columns[i]; as it is, if that is empty.
CheckpointTensor tensor_in_order(const Quantised& quantised, const std::vector<std::size_t>& columns,
                                 std::uint64_t bytes);

// fp16, bf16 or fp32 as float.
float number_of(const Tensor& tensor, std::size_t index);

}  // namespace pomona::llm
