// The blocks that transformers are made of, written as the chosen engine likes them.
//
//   Blocks b(function, weights, {.engine = Engine::gpu, .dtype = DType::fp16});
//   Value h = b.norm(x, "layers.0.input_layernorm", {NormKind::rms, 1e-6});
//   Value y = b.linear(h, "layers.0.mlp.up_proj");
//
// Engine::gpu: activations are [1, T, channels], projections are `linear`. Engine::ane: [1, channels, 1, T], and
// projections are convolutions with a kernel of one place. Heads are [1, T, heads, d] and [1, heads, T, d].
// Weights are asked for by the names of their tensors; errors stick in the builder `g`.
#pragma once
#include "ir/builder.h"
#include "llm/decoder.h"
#include "llm/language_model.h"
#include "llm/weights.h"

namespace pomona::llm {

struct NormForm {
  NormKind kind = NormKind::rms;
  double epsilon = 1e-6;
  bool adds_one = false;
  bool plain = false;  // without weights
};

class Blocks {
 public:
  Blocks(Function& function, Weights& weights, Engine engine, DType dtype)
      : g(function), engine(engine), dtype(dtype), weights_(weights) {}

  Builder g;
  Engine engine;
  DType dtype;  // of activations

  // NAME.weight of [out, in] (or [in, out]), and NAME.bias where there is one.
  Value linear(Value x, const std::string& name, bool transposed = false);
  // The same with some of the rows only; on plain activations [1, T, in] whatever the engine.
  Value linear_part(Value x, const std::string& name, std::int64_t begin, std::int64_t end);
  // A matrix as linear and gather take it: one value however often it is asked for.
  Value matrix(const std::string& name);
  // A vector or matrix that is not quantised, decoded to the dtype of activations.
  Value plain(const std::string& name);
  Value table(const std::string& name, Value indices);

  // Over channels, or over the last axis of heads.
  Value norm(Value x, const std::string& name, const NormForm& form) {
    return norm_over(x, name, form, channel_axis());
  }
  Value head_norm(Value x, const std::string& name, const NormForm& form) { return norm_over(x, name, form, -1); }
  Value activation(Value x, const std::string& name);
  // cap * tanh(x / cap)
  Value capped(Value x, double cap);
  Value scaled(Value x, double factor);

  // Turns the first elements of heads: cosines and signed sines broadcast to them.
  Value turned(Value heads, Value cosines, Value sines);

  // Between [1, T, channels] and the engine's layout.
  Value from_rows(Value rows);
  Value to_rows(Value x);
  // Channels cut into pieces of these sizes; channels of n heads as heads.
  Values split_channels(Value x, const Ints& sizes);
  Value heads(Value x, std::int64_t count, std::int64_t width);

  Value reshape(Value x, const Ints& shape);
  Value transpose(Value x, const Ints& order);
  Value concat(const Values& values, int axis);
  // Describes the value as an output of the function. A node of its own, should it be an input or another output.
  Value add_output(Value value, const std::string& name);
  std::int64_t channel_axis() const { return engine == Engine::ane ? 1 : -1; }

  Weights& weights() { return weights_; }
  // The experts' projections side by side, [experts, out, in].
  Value experts(const std::string& pattern, std::int64_t layer, std::int64_t count);

 private:
  Value norm_over(Value x, const std::string& name, const NormForm& form, std::int64_t axis);
  Value rms(Value x, double epsilon, std::int64_t axis);
  Value norm_weight(const std::string& name, bool adds_one, std::int64_t axis);
  Value bias_of(const std::string& name);

  Weights& weights_;
  std::map<std::string, Value> made_;
};

// "layers.{}.mlp" with the number in its place, and experts' names with both.
std::string numbered(const std::string& pattern, std::int64_t layer);
std::string numbered(const std::string& pattern, std::int64_t layer, std::int64_t expert);

}  // namespace pomona::llm
