// The tensors of a checkpoint as a program will hold them: quantised ones kept where that is wanted and possible.
//
//   Weights w(checkpoint, {.prefixes = {"model."}, .keep = {...}});
//   EncodedWeight q = POM_TRY(w.matrix("layers.0.self_attn.q_proj.weight"));
//   POM_TRY(w.check());      // tensors that were asked for and are not there, or were never asked for: all named
//
// Names are those within the model; what the file puts before them ("model.", "transformer.") is found out once.
// Asking twice gives the same weight, so that functions of a program share their bytes. Nothing is decoded here.
#pragma once
#include <map>
#include <set>

#include "llm/language_model.h"

namespace pomona::llm {

struct WeightsOptions {
  std::vector<std::string> prefixes;  // what may stand before names, the longest first
  std::vector<std::string> ignored;   // endings, or with '*' at the end beginnings, of tensors that hold no parameters
  KeepOptions keep;
  bool keep_quantised = true;  // false: everything is decoded
};

class Weights {
 public:
  Weights(const Checkpoint& checkpoint, WeightsOptions options);

  bool has(const std::string& name) const { return find(name) != nullptr; }
  const Sizes& sizes(const std::string& name) const { return find(name)->sizes; }
  // [out, in], kept in its quantised form or decoded. Errors: there is no such tensor (noted for check(), too).
  Result<EncodedWeight> matrix(const std::string& name);
  // Decoded to `dtype`.
  Result<Weight> plain(const std::string& name, DType dtype);
  // Not needed, but known: output projections that repeat the embedding.
  void pass_over(const std::string& name);
  // Errors: the checkpoint has tensors that nobody asked for. Those that are ignored get lines that say so.
  Status check();
  const std::vector<MatrixLine>& lines() const { return lines_; }

 private:
  const CheckpointTensor* find(const std::string& name) const;
  void note(const std::string& name, const std::string& scheme, const std::string& words, std::uint64_t bytes);
  std::string full_name(const std::string& name) const;

  const Checkpoint& checkpoint_;
  WeightsOptions options_;
  std::map<std::string, EncodedWeight> kept_;
  std::set<std::string> used_;
  std::vector<MatrixLine> lines_;
};

// Rows [begin, end) of a matrix, which begin where a block of rows does.
EncodedWeight rows_of(const EncodedWeight& weight, std::int64_t begin, std::int64_t end);
// Matrices of one encoding one behind the other along a new axis 0; empty when their encodings differ.
std::optional<EncodedWeight> stacked(const std::vector<EncodedWeight>& weights);
EncodedWeight plain_weight(Weight weight, std::string scheme = {});
Weight reshaped(const Weight& weight, Sizes sizes);
Weight transposed(const Weight& matrix);

}  // namespace pomona::llm
