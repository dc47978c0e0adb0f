// Caches and attention over them.
//
// Every column of a cache holds the key of some position in the text, or nothing yet. Which one is computed from where
// the text has got to; a row then sees the columns whose position is not after its own, and not before its window.
// What a prefill's rows beyond the text have left lies after every row's position, so it is never seen.
#include <fmt/format.h>

#include <cmath>

#include "llm/decoder_program.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/shape.h"
#include "ops/state.h"
#include "ops/tensor_operation.h"

namespace pomona::llm {
namespace {

// Added to scores that are not to count: far below any real one, and within the range of fp16.
constexpr double closed_score = -1e4;
// The position of a column that holds nothing: after all others.
constexpr double no_position = 1 << 30;

Ints numbers_up_to(std::int64_t count) {
  Ints numbers;
  for (std::int64_t i = 0; i < count; ++i) numbers.push_back(i);
  return numbers;
}

}  // namespace

Value DecoderFunction::read_cache(Value state, const CachePlan& cache) {
  Value now = row_of(g_.add(mil::read_state{.input = state}), cache);
  if (!now || now.dtype() == b_.dtype) return now;
  return g_.add(mil::cast{.x = now, .dtype = std::string(name(b_.dtype))});
}

// A layer's part of what several share.
Value DecoderFunction::row_of(Value states, const CachePlan& cache) {
  if (cache.rows == 1 || !states) return states;
  return g_.add(mil::slice_by_index{.x = states,
                                    .begin = g_.ints({cache.row, 0, 0, 0}),
                                    .end = g_.ints({cache.row + 1, 0, 0, 0}),
                                    .begin_mask = Ints{0, 1, 1, 1},
                                    .end_mask = Ints{0, 1, 1, 1}});
}

// The new rows in their places, in the order Core ML looks for: read, update, write, read.
Value DecoderFunction::updated(Value state, Value rows, const CachePlan& cache) {
  if (!state || !rows) return {};
  if (rows.dtype() != state.dtype()) rows = g_.add(mil::cast{.x = rows, .dtype = std::string(name(state.dtype()))});
  Value before = g_.add(mil::read_state{.input = state}), after;
  auto place = [&](const char* what, auto make) {
    auto [at, fresh] = shared_.try_emplace(fmt::format("{} {} {}", what, cache.row, cache.rotating ? cache.places : 0));
    if (fresh) at->second = make();
    return at->second;
  };
  if (cache.rotating && !one_token()) {
    // The rows may go round the end, which a slice cannot.
    Value places = place("places", [&] { return int_mod(positions_, cache.places); });
    after = g_.add(
        mil::scatter{.data = row_of(before, cache), .indices = places, .updates = rows, .axis = 2, .mode = "update"});
    if (cache.rows > 1)
      after = with_row(before, after, g_.ints({cache.row, 0, 0, 0}), g_.ints({cache.row + 1, 0, 0, 0}), {0, 1, 1, 1});
  } else {
    Value begin = place("begin", [&] {
      Value start = cache.rotating ? int_mod(position_, cache.places) : position_;
      return b_.concat({g_.ints({cache.row, 0}), start, g_.ints({0})}, 0);
    });
    Value end = place("end", [&] {
      Value count = b_.reshape(count_, {1});
      return int_add(begin, b_.concat({g_.ints({1, 0}), count, g_.ints({0})}, 0));
    });
    after = with_row(before, rows, begin, end, {cache.rows == 1, 1, 0, 1});
  }
  g_.add_all(mil::write_state{.input = state, .data = after});
  return read_cache(state, cache);
}

Value DecoderFunction::with_row(Value states, Value row, Value begin, Value end, const Ints& whole_axes) {
  return g_.add(mil::slice_update{
      .x = states, .update = row, .begin = begin, .end = end, .begin_mask = whole_axes, .end_mask = whole_axes});
}

DecoderFunction::Past DecoderFunction::with_past(Value keys, Value values, std::int64_t number) {
  std::size_t i = std::size_t(number);
  switch (plan_.options.cache) {
    case Cache::none:
      return {{keys}, {values}};
    case Cache::state: {
      Value k = updated(keys_[i], keys, plan_.caches[i]), v = updated(values_[i], values, plan_.caches[i]);
      return {{k}, {v}};
    }
    case Cache::io:
      break;
  }
  results_.push_back(b_.add_output(keys, fmt::format("new_keys_{}", i)));
  results_.push_back(b_.add_output(values, fmt::format("new_values_{}", i)));
  if (plan_.options.engine == Engine::ane) return {{keys_[i], keys}, {values_[i], values}};
  return {{b_.concat({keys_[i], keys}, 2)}, {b_.concat({values_[i], values}, 2)}};
}

// Positions of columns, [1, 1, 1, columns].
Value DecoderFunction::column_positions(const CachePlan& cache) {
  auto [at, fresh] = shared_.try_emplace(fmt::format("columns {} {}", cache.places, cache.rotating));
  if (!fresh) return at->second;
  auto as_row = [&](Value v) { return b_.reshape(v, {1, 1, 1, -1}); };
  if (plan_.options.cache == Cache::none) return at->second = as_row(positions_);
  Value places = g_.constant(Tensor::ints(numbers_up_to(cache.places)).reshaped({1, 1, 1, cache.places}));
  bool io = plan_.options.cache == Cache::io;
  Value held = places;
  if (cache.rotating) {
    // The newest position written, and how far behind it each place is.
    Value newest = io ? int_add(position_, g_.scalar(DType::int32, -1))
                      : int_add(position_, int_add(count_, g_.scalar(DType::int32, -1)));
    newest = b_.reshape(newest, {1, 1, 1, 1});
    Value behind = int_mod(g_.add(mil::sub{.x = newest, .y = places}), cache.places);
    held = g_.add(mil::sub{.x = newest, .y = behind});
    Value none = g_.add(mil::less{.x = held, .y = g_.scalar(DType::int32, 0)});
    held = g_.add(mil::select{.cond = none, .a = g_.scalar(DType::int32, no_position), .b = held});
  } else if (io) {
    Value past = g_.add(mil::less{.x = places, .y = b_.reshape(position_, {1, 1, 1, 1})});
    held = g_.add(mil::select{.cond = past, .a = places, .b = g_.scalar(DType::int32, no_position)});
  }
  if (io) held = b_.concat({held, as_row(positions_)}, 3);
  return at->second = held;
}

Value DecoderFunction::open(std::int64_t window, const CachePlan& cache) {
  auto [at, fresh] = shared_.try_emplace(fmt::format("open {} {} {}", window, cache.places, cache.rotating));
  if (!fresh) return at->second;
  Value columns = column_positions(cache);
  Value open = g_.add(mil::less_equal{.x = columns, .y = rows_});
  if (window > 0) {
    Value first = int_add(rows_, g_.scalar(DType::int32, double(-window)));
    open = g_.add(mil::logical_and{.x = open, .y = g_.add(mil::greater{.x = columns, .y = first})});
  }
  return at->second = open;
}

Value DecoderFunction::added_mask(Value open) {
  if (!open) return {};
  auto [at, fresh] = shared_.try_emplace(fmt::format("mask {}", static_cast<const void*>(&open.info())));
  if (fresh)
    at->second = g_.add(mil::select{.cond = open, .a = g_.scalar(b_.dtype, 0), .b = g_.scalar(b_.dtype, closed_score)});
  return at->second;
}

Value DecoderFunction::attend(Value query, const Past& past, std::int64_t number) {
  const Layer& layer = d_.layers[std::size_t(number)];
  std::int64_t window = layer.window < plan_.context() ? layer.window : 0;
  Value mask = open(window, plan_.caches[std::size_t(number)]);
  bool fused = plan_.options.engine == Engine::gpu && d_.score_cap == 0 && plan_.options.target >= Target::iOS18;
  if (!fused) return attend_explicitly(query, past, number, mask);
  // The op has a scale of its own.
  query = b_.scaled(query, layer.score_scale * std::sqrt(double(d_.head_dim)));
  return g_.add(mil::scaled_dot_product_attention{
      .query = query, .key = past.keys[0], .value = past.values[0], .attn_mask = mask});
}

Value DecoderFunction::attend_explicitly(Value query, const Past& past, std::int64_t number, Value mask) {
  const Layer& layer = d_.layers[std::size_t(number)];
  query = b_.scaled(query, layer.score_scale);
  Values scores;
  for (Value keys : past.keys) scores.push_back(g_.add(mil::matmul{.x = query, .y = keys, .transpose_y = true}));
  Value all = scores.size() == 1 ? scores[0] : b_.concat(scores, 3);
  if (d_.score_cap > 0) all = b_.capped(all, d_.score_cap);
  all = g_.add(mil::add{.x = all, .y = added_mask(mask)});
  Value shares = g_.add(mil::softmax{.x = all, .axis = -1});
  if (past.values.size() == 1) return g_.add(mil::matmul{.x = shares, .y = past.values[0]});
  // The cache is not copied to stand beside the new rows: each part has its own product.
  std::int64_t places = plan_.caches[std::size_t(number)].places;
  Value before = g_.add(mil::slice_by_index{.x = shares,
                                            .begin = g_.ints({0, 0, 0, 0}),
                                            .end = g_.ints({0, 0, 0, places}),
                                            .begin_mask = Ints{1, 1, 1, 1},
                                            .end_mask = Ints{1, 1, 1, 0}});
  Value now = g_.add(mil::slice_by_index{.x = shares,
                                         .begin = g_.ints({0, 0, 0, places}),
                                         .end = g_.ints({0, 0, 0, 0}),
                                         .begin_mask = Ints{1, 1, 1, 0},
                                         .end_mask = Ints{1, 1, 1, 1}});
  return g_.add(mil::add{.x = g_.add(mil::matmul{.x = before, .y = past.values[0]}),
                         .y = g_.add(mil::matmul{.x = now, .y = past.values[1]})});
}

}  // namespace pomona::llm
