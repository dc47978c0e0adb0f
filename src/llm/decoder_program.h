// One function of a decoder's program: from tokens through its layers to logits, with its caches.
//
//   DecoderFunction f(decoder, weights, options, plans, program.add_function("decode", target), 1);
//   POM_TRY(f.build());
//
// How it is called is said in language_model.h.
#pragma once
#include "llm/blocks.h"

namespace pomona::llm {

// Where a layer keeps its keys and values.
struct CachePlan {
  std::int64_t places = 0;
  bool rotating = false;
  std::string suffix;              // of the names
  std::int64_t row = 0, rows = 1;  // of the state, which has so many layers
  std::string keys() const { return "key_cache" + suffix; }
  std::string values() const { return "value_cache" + suffix; }
};

struct DecoderPlan {
  BuildOptions options;  // context and cache as they were settled
  std::vector<CachePlan> caches;
  std::int64_t context() const { return options.context; }
};

class DecoderFunction {
 public:
  // `tokens` is T; 0 leaves it open, from 1 to the plan's `prefill` (or context, without a cache).
  DecoderFunction(const Decoder& decoder, Weights& weights, const DecoderPlan& plan, Function& function,
                  std::int64_t tokens);
  Status build();

 private:
  void add_inputs();
  void add_input(const std::string& name, DType dtype, Shape shape);
  void add_caches();
  Value cache_input(const std::string& name, const CachePlan& cache);
  void make_positions();
  Status make_ropes();
  bool one_token() const { return tokens_ == Dim(1); }

  Value embedded();
  Value layer(Value x, std::int64_t number);
  Value attention(Value x, std::int64_t number);
  Value mlp(Value x, std::int64_t number);
  Value mixture(Value x, std::int64_t number);
  Value logits(Value x);

  struct Projected {
    Value query, key, value;  // heads
  };
  Projected projected(Value x, std::int64_t number);
  // [1, kv_heads, T * group, d] of query heads, and back to channels.
  Value folded(Value query);
  Value unfolded(Value attended);
  Value kv_rows(Value heads);  // [1, kv_heads, T, d]

  struct Past {
    Values keys, values;  // one, or the cache's and the new ones apart
  };
  Past with_past(Value keys, Value values, std::int64_t number);
  Value updated(Value state, Value rows, const CachePlan& cache);
  Value read_cache(Value state, const CachePlan& cache);
  Value row_of(Value states, const CachePlan& cache);
  // Written over from `begin` to `end`, and along the axes marked 1 from end to end.
  Value with_row(Value states, Value row, Value begin, Value end, const Ints& whole_axes);
  // Which columns a row sees, as bool, of [1, 1, rows, columns].
  Value open(std::int64_t window, const CachePlan& cache);
  Value added_mask(Value open);
  Value column_positions(const CachePlan& cache);
  Value attend(Value query, const Past& past, std::int64_t number);
  Value attend_explicitly(Value query, const Past& past, std::int64_t number, Value mask);

  NormForm norm_form() const { return {d_.norm, d_.epsilon, d_.norm_adds_one, d_.norm_is_plain}; }
  Value int_add(Value a, Value b);
  Value int_mod(Value a, std::int64_t n);
  Value iota(Value count);

  const Decoder& d_;
  const DecoderPlan& plan_;
  Function& function_;
  Blocks b_;
  Builder& g_;
  Dim tokens_;
  std::int64_t most_tokens_;
  Value ids_, position_, last_, count_, positions_, rows_;
  std::vector<Value> keys_, values_, results_;
  std::vector<std::pair<Value, Value>> turns_;  // per rope: cosines and sines
  std::map<std::string, Value> shared_;         // masks and places, made once
};

}  // namespace pomona::llm
