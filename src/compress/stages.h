// The constexpr nodes that are to stand for a weight, before they are nodes: a stage per op, each reading weights or
// results of stages before it.
//
//   Encoded e;
//   auto codes = e.add(stage<mil::constexpr_lut_to_dense>({{"indices", indices}, {"lut", lut}}));
//   e.add(stage<mil::constexpr_blockwise_shift_scale>({{"data", codes}, {"scale", scales}}));     // the last one is it
//
// It encodes nothing: operands are recipes.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ir/op.h"

namespace pomona::compress {

// A weight, or a result of an earlier stage.
struct Part {
  Weight weight;
  std::size_t stage = 0, output = 0;  // when there is no weight

  Part(Weight given) : weight(std::move(given)) {}
  Part(std::size_t of_stage, std::size_t of_output) : stage(of_stage), output(of_output) {}
};

struct Stage {
  const OpDef* op = nullptr;
  std::vector<Attribute> attributes;                // one per attribute field of the op
  std::vector<std::pair<std::string, Part>> parts;  // by input field
  const Part* part(std::string_view field) const;
};
Stage make_stage(const OpDef& op, std::vector<std::pair<std::string, Part>> parts,
                 const std::vector<std::pair<std::string, Attribute>>& attributes = {});
template <class Op>
Stage stage(std::vector<std::pair<std::string, Part>> parts,
            const std::vector<std::pair<std::string, Attribute>>& attributes = {}) {
  return make_stage(def<Op>(), std::move(parts), attributes);
}

// The squared error of a weight, known once it has been encoded; negative before.
struct Measured {
  std::atomic<double> squared_error{-1};
};

struct Encoded {
  std::vector<Stage> stages;  // the last result of the last one is the weight
  std::string scheme;         // in words: "int4 per block of 32"
  std::string note;           // where this is not exactly what was asked for
  std::shared_ptr<const Measured> measured;
  double error_before = 0;  // squared error of what was done to the weight before it was encoded
  bool rounded = false;     // codes have been chosen with data, or cannot be

  // The stage's first result.
  Part add(Stage made) {
    stages.push_back(std::move(made));
    return {stages.size() - 1, 0};
  }
};

// Nodes before `node` that decode the weight; the value has the name and the type that `node` gave it.
Result<Value> build(const Encoded& encoded, Node& node);

// What the stages decode to.
Result<Tensor> decode(const Encoded& encoded, Target opset);

// Keeps only the elements where the mask is one: stages that decode a dense weight become those that decode a sparse
// one. `mask` is uint1 of the weight's sizes with `ones` ones. An error when there is no sparse form.
Status make_sparse(Encoded& encoded, const Weight& mask, std::int64_t ones);

}  // namespace pomona::compress
