#include "llm/decoder_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "llm/rope.h"
#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::llm {
namespace {

Ints numbers_up_to(std::int64_t count) {
  Ints numbers;
  for (std::int64_t i = 0; i < count; ++i) numbers.push_back(i);
  return numbers;
}

}  // namespace

DecoderFunction::DecoderFunction(const Decoder& decoder, Weights& weights, const DecoderPlan& plan, Function& function,
                                 std::int64_t tokens)
    : d_(decoder),
      plan_(plan),
      function_(function),
      b_(function, weights, plan.options.engine, plan.options.dtype),
      g_(b_.g),
      tokens_(tokens ? Dim(tokens) : Dim::named("tokens")),
      most_tokens_(tokens                              ? tokens
                   : plan.options.cache == Cache::none ? plan.options.context
                                                       : plan.options.prefill) {}

Status DecoderFunction::build() {
  add_inputs();
  make_positions();
  POM_TRY(make_ropes());
  Value x = embedded();
  for (std::int64_t i = 0; i < std::int64_t(d_.layers.size()) && g_.status(); ++i) {
    g_.source = fmt::format("layer {}", i);
    x = layer(x, i);
  }
  g_.source.clear();
  Value y = logits(x);
  POM_TRY(Status(g_.status()));
  results_.insert(results_.begin(), b_.add_output(y, "logits"));
  POM_TRY(Status(g_.status()));
  // The logits first; features in the same order.
  std::rotate(function_.outputs.rbegin(), function_.outputs.rbegin() + 1, function_.outputs.rend());
  function_.body.set_results(results_);
  return {};
}

void DecoderFunction::add_input(const std::string& name, DType dtype, Shape shape) {
  Feature feature;
  feature.name = name;
  feature.dtype = dtype;
  for (const Dim& d : shape) {
    feature.shape.push_back(d.known() ? d.value() : 1);
    feature.ranges.push_back({feature.shape.back(), d.known() ? d.value() : most_tokens_});
  }
  if (all_known(shape)) feature.ranges.clear();
  function_.inputs.push_back(feature);
  function_.body.add_input(name, tensor_type(dtype, std::move(shape)));
}

void DecoderFunction::add_inputs() {
  add_input("input_ids", DType::int32, {1, tokens_});
  ids_ = function_.body.input("input_ids");
  if (plan_.options.cache != Cache::none) {
    add_input("position", DType::int32, {1});
    position_ = function_.body.input("position");
  }
  if (!one_token() && !plan_.options.all_logits) {
    add_input("last", DType::int32, {1});
    last_ = function_.body.input("last");
  }
  add_caches();
}

void DecoderFunction::add_caches() {
  if (plan_.options.cache == Cache::none) return;
  for (const CachePlan& cache : plan_.caches) {
    keys_.push_back(cache_input(cache.keys(), cache));
    values_.push_back(cache_input(cache.values(), cache));
  }
}

// Several layers may have rows of one.
Value DecoderFunction::cache_input(const std::string& name, const CachePlan& cache) {
  if (Value there = function_.body.input(name)) return there;
  bool state = plan_.options.cache == Cache::state;
  // What Core ML takes; here, in memory, anything goes.
  DType dtype = state && !plan_.options.in_memory ? DType::fp16 : plan_.options.dtype;
  Shape shape{cache.rows, d_.kv_heads, cache.places, d_.head_dim};
  if (!state) {
    add_input(name, dtype, shape);
    return function_.body.input(name);
  }
  Feature feature;
  feature.name = name;
  feature.dtype = dtype;
  feature.shape = known_sizes(shape);
  function_.states.push_back(feature);
  Type type = tensor_type(dtype, shape);
  type.kind = Type::Kind::state;
  return function_.body.add_input(name, type);
}

Value DecoderFunction::int_add(Value a, Value b) { return g_.add(mil::add{.x = a, .y = b}); }
Value DecoderFunction::int_mod(Value a, std::int64_t n) {
  return g_.add(mil::mod{.x = a, .y = g_.scalar(DType::int32, double(n))});
}
Value DecoderFunction::iota(Value count) {
  return g_.add(mil::range_1d{.end = count, .start = g_.scalar(DType::int32, 0), .step = g_.scalar(DType::int32, 1)});
}

void DecoderFunction::make_positions() {
  Value from_zero;
  if (tokens_.known()) {
    count_ = g_.scalar(DType::int32, double(tokens_.value()));
    from_zero = g_.ints(numbers_up_to(tokens_.value()));
  } else {
    Value sizes = g_.add(mil::shape{.x = ids_});
    count_ = g_.add(mil::gather{.x = sizes, .indices = g_.scalar(DType::int32, 1), .axis = 0});
    from_zero = iota(count_);
  }
  positions_ = !position_ ? from_zero : one_token() ? position_ : int_add(position_, from_zero);
  // One row per row of queries: `group` heads share keys, and are rows of one matrix.
  std::int64_t group = d_.heads / d_.kv_heads;
  rows_ = positions_;
  if (!one_token() && group > 1) {
    bool heads_first = b_.engine == Engine::ane;
    rows_ = b_.reshape(rows_, heads_first ? Ints{1, -1} : Ints{-1, 1});
    rows_ = g_.add(mil::tile{.x = rows_, .reps = g_.ints(heads_first ? Ints{group, 1} : Ints{1, group})});
  }
  rows_ = b_.reshape(rows_, {1, 1, -1, 1});
}

Status DecoderFunction::make_ropes() {
  for (std::size_t i = 0; i < d_.ropes.size(); ++i) {
    bool used = std::any_of(d_.layers.begin(), d_.layers.end(), [&](const Layer& l) { return l.rope == int(i); });
    turns_.emplace_back();
    if (!used) continue;
    // Rows of a prefill may lie beyond the context: they are looked up, though nobody looks at what comes of them.
    std::int64_t rows = plan_.context() + plan_.options.prefill;
    RopeTables tables = POM_TRY(rope_tables(d_.ropes[i], rows, plan_.context(), d_.positions));
    auto looked_up = [&](const Weight& table, const char* name) {
      Value all = g_.constant(Weight::cast(table, b_.dtype), fmt::format("{}_{}", name, i));
      Value here = g_.add(mil::gather{.x = all, .indices = positions_, .axis = 0, .validate_indices = false});
      return b_.reshape(here,
                        b_.engine == Engine::gpu ? Ints{1, -1, 1, table.sizes()[1]} : Ints{1, 1, -1, table.sizes()[1]});
    };
    turns_.back() = {looked_up(tables.cosines, "cosines"), looked_up(tables.sines, "sines")};
  }
  return {};
}

Value DecoderFunction::embedded() {
  Value x = b_.table(d_.embedding + ".weight", ids_);
  if (!d_.project_in.empty()) {
    Value weight = b_.matrix(d_.project_in + ".weight");
    x = g_.add(mil::linear{.x = x, .weight = weight});
  }
  x = b_.scaled(x, d_.embedding_scale);
  if (!d_.position_embedding.empty()) {
    std::string name = d_.position_embedding + ".weight";
    Value places = positions_;
    if (d_.first_position) places = int_add(places, g_.scalar(DType::int32, double(d_.first_position)));
    std::int64_t rows = b_.weights().has(name) ? b_.weights().sizes(name)[0] : 1;
    places = g_.add(mil::minimum{.x = places, .y = g_.scalar(DType::int32, double(rows - 1))});
    x = g_.add(mil::add{.x = x, .y = b_.table(name, places)});
  }
  return b_.from_rows(x);
}

Value DecoderFunction::layer(Value x, std::int64_t number) {
  const LayerNames& names = d_.names;
  auto normed = [&](Value v, const std::string& pattern) {
    return pattern.empty() ? v : b_.norm(v, numbered(pattern, number), norm_form());
  };
  auto feed_forward = [&](Value v) {
    return d_.layers[std::size_t(number)].experts ? mixture(v, number) : mlp(v, number);
  };
  if (d_.residual == Residual::after) {
    x = normed(g_.add(mil::add{.x = x, .y = attention(x, number)}), names.attention_norm);
    return normed(g_.add(mil::add{.x = x, .y = feed_forward(x)}), names.mlp_norm);
  }
  Value attended = normed(attention(normed(x, names.attention_norm), number), names.attention_out_norm);
  if (d_.residual == Residual::parallel) {
    Value fed = feed_forward(normed(x, names.mlp_norm));
    return g_.add(mil::add{.x = g_.add(mil::add{.x = attended, .y = fed}), .y = x});
  }
  x = g_.add(mil::add{.x = x, .y = attended});
  Value fed = normed(feed_forward(normed(x, names.mlp_norm)), names.mlp_out_norm);
  return g_.add(mil::add{.x = x, .y = fed});
}

DecoderFunction::Projected DecoderFunction::projected(Value x, std::int64_t number) {
  const LayerNames& names = d_.names;
  auto project = [&](const std::string& pattern) { return b_.linear(x, numbered(pattern, number), d_.transposed); };
  std::int64_t d = d_.head_dim;
  if (names.fused.empty())
    return {b_.heads(project(names.query), d_.heads, d), b_.heads(project(names.key), d_.kv_heads, d),
            b_.heads(project(names.value), d_.kv_heads, d)};
  Value all = project(names.fused);
  Values parts;
  if (d_.fused_order == FusedOrder::per_head) {
    parts = g_.add_all(mil::split{.x = b_.heads(all, d_.heads, 3 * d), .num_splits = 3, .axis = -1});
    return parts.empty() ? Projected{} : Projected{parts[0], parts[1], parts[2]};
  }
  parts = b_.split_channels(all, {d_.heads * d, d_.kv_heads * d, d_.kv_heads * d});
  if (parts.empty()) return {};
  return {b_.heads(parts[0], d_.heads, d), b_.heads(parts[1], d_.kv_heads, d), b_.heads(parts[2], d_.kv_heads, d)};
}

Value DecoderFunction::attention(Value x, std::int64_t number) {
  const LayerNames& names = d_.names;
  const Layer& layer = d_.layers[std::size_t(number)];
  Projected p = projected(x, number);
  if (!names.query_norm.empty()) {
    p.query = b_.head_norm(p.query, numbered(names.query_norm, number), norm_form());
    p.key = b_.head_norm(p.key, numbered(names.key_norm, number), norm_form());
  }
  if (layer.rope >= 0) {
    auto [cosines, sines] = turns_[std::size_t(layer.rope)];
    p.query = b_.turned(p.query, cosines, sines);
    p.key = b_.turned(p.key, cosines, sines);
  }
  Past past = with_past(kv_rows(p.key), kv_rows(p.value), number);
  Value y = unfolded(attend(folded(p.query), past, number));
  return b_.linear(y, numbered(names.output, number), d_.transposed);
}

Value DecoderFunction::kv_rows(Value heads) {
  if (b_.engine == Engine::ane) return heads;
  if (one_token()) return b_.reshape(heads, {1, d_.kv_heads, 1, d_.head_dim});
  return b_.transpose(heads, {0, 2, 1, 3});
}

// Heads that share keys are rows of one matrix: the keys are then read once, and never repeated.
Value DecoderFunction::folded(Value query) {
  std::int64_t group = d_.heads / d_.kv_heads;
  if (b_.engine == Engine::ane || one_token()) return b_.reshape(query, {1, d_.kv_heads, -1, d_.head_dim});
  Value apart = group == 1 ? query : b_.reshape(query, {1, -1, d_.kv_heads, group * d_.head_dim});
  Value turned = b_.transpose(apart, {0, 2, 1, 3});
  return group == 1 ? turned : b_.reshape(turned, {1, d_.kv_heads, -1, d_.head_dim});
}

Value DecoderFunction::unfolded(Value attended) {
  std::int64_t group = d_.heads / d_.kv_heads, width = d_.heads * d_.head_dim;
  if (b_.engine == Engine::ane) {
    Value heads = b_.reshape(attended, {1, d_.heads, -1, d_.head_dim});
    return b_.reshape(b_.transpose(heads, {0, 1, 3, 2}), {1, width, 1, -1});
  }
  if (one_token()) return b_.reshape(attended, {1, 1, width});
  Value apart = group == 1 ? attended : b_.reshape(attended, {1, d_.kv_heads, -1, group * d_.head_dim});
  return b_.reshape(b_.transpose(apart, {0, 2, 1, 3}), {1, -1, width});
}

Value DecoderFunction::mlp(Value x, std::int64_t number) {
  const LayerNames& names = d_.names;
  auto project = [&](Value v, const std::string& pattern) {
    return b_.linear(v, numbered(pattern, number), d_.transposed);
  };
  if (!names.gate_up.empty()) {
    Value both = project(x, names.gate_up);
    Values halves = g_.add_all(mil::split{.x = both, .num_splits = 2, .axis = int(b_.channel_axis())});
    if (halves.empty()) return {};
    Value gated = g_.add(mil::mul{.x = b_.activation(halves[0], d_.activation), .y = halves[1]});
    return project(gated, names.down);
  }
  if (names.gate.empty()) return project(b_.activation(project(x, names.up), d_.activation), names.down);
  Value gate = b_.activation(project(x, names.gate), d_.activation);
  return project(g_.add(mil::mul{.x = gate, .y = project(x, names.up)}), names.down);
}

// All experts side by side, in three products: what they give is weighted with the router's shares, which are zero
// for those not chosen.
Value DecoderFunction::mixture(Value x, std::int64_t number) {
  const LayerNames& names = d_.names;
  Value rows = b_.to_rows(x);
  Value router = b_.matrix(numbered(names.router, number) + ".weight");
  Value shares = g_.add(mil::softmax{.x = g_.add(mil::linear{.x = rows, .weight = router}), .axis = -1});
  Values chosen = g_.add_all(mil::topk{.x = shares, .k = int(d_.experts_per_token), .axis = -1});
  if (chosen.size() < 2) return {};
  Value share = chosen[0];
  if (d_.normalise_experts)
    share = g_.add(
        mil::real_div{.x = share, .y = g_.add(mil::reduce_sum{.x = share, .axes = Ints{-1}, .keep_dims = true})});
  Value marks = g_.add(mil::one_hot{.indices = chosen[1],
                                    .one_hot_vector_size = g_.scalar(DType::int32, double(d_.experts)),
                                    .axis = -1,
                                    .on_value = Scalar{b_.dtype, 1},
                                    .off_value = Scalar{b_.dtype, 0}});
  Value spread = g_.add(mil::mul{.x = marks, .y = g_.add(mil::expand_dims{.x = share, .axes = Ints{-1}})});
  Value per_expert = b_.transpose(g_.add(mil::reduce_sum{.x = spread, .axes = Ints{2}, .keep_dims = false}), {2, 1, 0});
  auto product = [&](Value v, const std::string& pattern) {
    return g_.add(mil::matmul{.x = v, .y = b_.experts(pattern, number, d_.experts), .transpose_y = true});
  };
  Value gate = b_.activation(product(rows, names.expert_gate), d_.activation);
  Value inner = g_.add(mil::mul{.x = gate, .y = product(rows, names.expert_up)});
  Value each = g_.add(mil::mul{.x = product(inner, names.expert_down), .y = per_expert});
  return b_.from_rows(g_.add(mil::reduce_sum{.x = each, .axes = Ints{0}, .keep_dims = true}));
}

Value DecoderFunction::logits(Value x) {
  if (last_) x = g_.add(mil::gather{.x = x, .indices = last_, .axis = b_.engine == Engine::gpu ? 1 : 3});
  if (!d_.final_norm.empty()) x = b_.norm(x, d_.final_norm, norm_form());
  if (!d_.project_out.empty()) x = b_.linear(x, d_.project_out);
  std::int64_t parts = std::max<std::int64_t>(1, plan_.options.split_head);
  Value y;
  if (parts == 1) {
    y = b_.linear(x, d_.head);
  } else {
    Values pieces;
    // Blocks of rows that share a scale stay together.
    constexpr std::int64_t block = 64, small = 1024;
    std::int64_t size = (d_.vocabulary + parts - 1) / parts;
    if (size >= small) size = (size + block - 1) / block * block;
    for (std::int64_t begin = 0; begin < d_.vocabulary; begin += size)
      pieces.push_back(b_.to_rows(b_.linear_part(x, d_.head, begin, std::min(d_.vocabulary, begin + size))));
    if (!g_.status()) return {};
    y = b_.concat(pieces, -1);
  }
  if (parts == 1) y = b_.to_rows(y);
  return d_.logit_cap > 0 ? b_.capped(y, d_.logit_cap) : y;
}

}  // namespace pomona::llm
