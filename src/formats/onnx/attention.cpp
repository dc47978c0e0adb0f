#include <cmath>
#include <limits>

#include "formats/onnx/lowering.h"
#include "ops/activation.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// What language models are made of: attention in its forms, rotary embeddings, causal convolutions.
namespace pomona::onnx {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

// [batch, length, heads*size] as [batch, heads, length, size]; heads 0: it has rank 4 already.
Result<Value> by_heads(Lowering& g, Value x, int heads) {
  if (!x || x.rank() == 4) return x;
  POM_REQUIRE(x.rank() == 3, "an input has rank {}, not 3 or 4", x.rank());
  POM_REQUIRE(heads > 0, "the number of heads is not given");
  auto size = exact_div(x.shape()[2], heads);
  POM_REQUIRE(size && (!x.shape()[2].known() || x.shape()[2].value() % heads == 0),
              "{} channels do not divide into {} heads", x.shape()[2].text(), heads);
  return g.transpose(g.reshape(x, Shape{x.shape()[0], x.shape()[1], heads, *size}), {0, 2, 1, 3});
}
// The inverse.
Value from_heads(Lowering& g, Value x) {
  Value y = g.transpose(x, {0, 2, 1, 3});
  if (!y) return {};
  return g.reshape(y, Shape{y.shape()[0], y.shape()[1], y.shape()[2] * y.shape()[3]});
}

// Each head `times` times: a b -> a a b b.
Value repeat_heads(Lowering& g, Value x, std::int64_t times) {
  if (!x || times == 1) return x;
  Shape s = x.shape();
  Value wide = g.add(mil::tile{.x = g.reshape(x, Shape{s[0], s[1], s[2] * s[3]}), .reps = g.ints({1, 1, times})});
  return g.reshape(wide, Shape{s[0], s[1] * times, s[2], s[3]});
}

Value range(Lowering& g, Value count) {
  return g.add(mil::range_1d{.end = count, .start = g.integer(0), .step = g.integer(1)});
}

struct Attention {
  ONNX_IN(Q);
  ONNX_IN(K);
  ONNX_IN(V);
  ONNX_OPTIONAL(attn_mask);
  ONNX_OPTIONAL(past_key);
  ONNX_OPTIONAL(past_value);
  ONNX_OPTIONAL(nonpad_kv_seqlen, .since = 24);
  ONNX_ATTR(is_causal, bool) = false;
  ONNX_ATTR(kv_num_heads, int) = 0;
  ONNX_ATTR(left_window_size, int, .since = 25) = -1;
  ONNX_ATTR(q_num_heads, int) = 0;
  ONNX_ATTR(qk_matmul_output_mode, int) = 0;
  ONNX_ATTR(right_window_size, int, .since = 25) = -1;
  ONNX_ATTR(scale, std::optional<float>);
  ONNX_ATTR(softcap, float) = 0.0f;
  ONNX_ATTR(softmax_precision, std::optional<int>);

  Status lower(Lowering& g) const {
    Value q = POM_TRY(by_heads(g, Q, q_num_heads)), k = POM_TRY(by_heads(g, K, kv_num_heads)),
          v = POM_TRY(by_heads(g, V, kv_num_heads));
    POM_REQUIRE(!past_key == !past_value, "past_key and past_value belong together");
    if (past_key) k = g.concat({past_key, k}, 2);
    if (past_value) v = g.concat({past_value, v}, 2);
    if (!g.status()) return g.status().error();
    Value present_key = k, present_value = v;
    std::int64_t repeats = 1;
    if (!(q.shape()[1] == k.shape()[1])) {
      POM_REQUIRE(q.shape()[1].known() && k.shape()[1].known() && k.shape()[1].value() > 0 &&
                      q.shape()[1].value() % k.shape()[1].value() == 0,
                  "{} query heads do not share {} key heads", q.shape()[1].text(), k.shape()[1].text());
      repeats = q.shape()[1].value() / k.shape()[1].value();
    }
    // In fp32 whatever the inputs are: three roundings to fp16 on the way would show in the result.
    q = g.cast(q, DType::fp32);
    k = repeat_heads(g, g.cast(k, DType::fp32), repeats);
    v = repeat_heads(g, g.cast(v, DType::fp32), repeats);
    if (!g.status()) return g.status().error();
    double factor = scale->has_value() ? **scale : 0;
    if (!scale->has_value()) {
      POM_REQUIRE(q.shape()[3].known(), "the head size must be known before the model runs");
      factor = 1 / std::sqrt(double(q.shape()[3].value()));
    }
    POM_REQUIRE(factor >= 0, "scale is {}", factor);
    double half = std::sqrt(factor);
    Value scores = g.add(mil::matmul{.x = g.times(q, half), .y = g.times(k, half), .transpose_y = true});
    Value seen = scores;
    if (*softcap > 0) scores = g.times(g.add(mil::tanh{.x = g.over(scores, double(*softcap))}), double(*softcap));
    if (*qk_matmul_output_mode == 1) seen = scores;
    Value bias = POM_TRY(mask(g, scores));
    if (bias) scores = g.plus(scores, bias);
    if (*qk_matmul_output_mode == 2) seen = scores;
    Value weights = softmax(g, scores, bool(bias));
    if (*qk_matmul_output_mode == 3) seen = weights;
    Value y = g.cast(g.add(mil::matmul{.x = weights, .y = v}), Q.dtype());
    if (Q.rank() == 3) y = from_heads(g, y);
    if (!g.status()) return g.status().error();
    POM_TRY(g.result(y, Q.elem()));
    if (g.output_count() > 1) POM_TRY(g.result(present_key, K.elem()));
    if (g.output_count() > 2) POM_TRY(g.result(present_value, V.elem()));
    if (g.output_count() > 3) POM_TRY(g.result(g.cast(seen, Q.dtype()), Q.elem()));
    return {};
  }

  // A row in which everything is masked gives zeros.
  Value softmax(Lowering& g, Value scores, bool masked) const {
    Value weights = g.add(mil::softmax{.x = scores, .axis = -1});
    if (masked) {
      Value most = g.add(mil::reduce_max{.x = scores, .axes = Ints{-1}, .keep_dims = true});
      Value none = g.add(mil::equal{.x = most, .y = g.number(scores, minus_infinity)});
      weights = g.select(none, g.number(weights, 0), weights);
    }
    return weights;
  }

  Value allowed_bias(Lowering& g, Value allowed) const {
    return g.select(allowed, g.scalar(DType::fp32, 0), g.scalar(DType::fp32, minus_infinity));
  }

  // The sum of all masks as what is added to the scores; empty when there is none.
  Result<Value> mask(Lowering& g, Value scores) const {
    if (!scores) return Value();
    Value bias;
    auto also = [&](Value more) { bias = bias ? g.plus(bias, more) : more; };
    Value keys = g.dim(scores, 3), queries = g.dim(scores, 2);
    if (attn_mask) {
      Value given = attn_mask;
      POM_REQUIRE(given.rank() >= 1, "the mask is a scalar");
      Dim have = given.shape().back(), want = scores.shape()[3];
      given = given.dtype() == DType::boolean ? allowed_bias(g, given) : g.cast(given, DType::fp32);
      if (!given) return g.status().error();
      if (!(have == want) && !(have == 1 && !(want == 1))) {
        POM_REQUIRE(have.known() && want.known() && have.value() < want.value(), "the mask has {} columns for {} keys",
                    have.text(), want.text());
        Shape rest = given.shape();
        rest.back() = want - have;
        given = g.concat({given, g.filled(rest, {given}, given.dtype(), minus_infinity)}, int(given.rank()) - 1);
      }
      also(given);
    }
    bool windows = *left_window_size >= 0 || *right_window_size >= 0;
    if (is_causal || windows) {
      // Position of the query among the keys, minus the key's.
      Value offset = g.integer(0);
      if (past_key) offset = g.dim(past_key, 2);
      if (!past_key && nonpad_kv_seqlen) {
        Value lengths = g.reshape(nonpad_kv_seqlen, Shape{element_count(nonpad_kv_seqlen.shape()), 1, 1, 1});
        offset = g.minus(lengths, queries);
      }
      Value place = g.plus(g.expand_dims(range(g, queries), {1}), offset);
      Value ahead = g.minus(place, g.expand_dims(range(g, keys), {0}));
      if (is_causal) also(allowed_bias(g, g.add(mil::greater_equal{.x = ahead, .y = g.integer(0)})));
      if (*left_window_size >= 0)
        also(allowed_bias(g, g.add(mil::less_equal{.x = ahead, .y = g.integer(*left_window_size)})));
      if (*right_window_size >= 0)
        also(allowed_bias(g, g.add(mil::greater_equal{.x = ahead, .y = g.integer(-*right_window_size)})));
    }
    if (nonpad_kv_seqlen) {
      Value lengths = g.reshape(nonpad_kv_seqlen, Shape{element_count(nonpad_kv_seqlen.shape()), 1, 1, 1});
      also(allowed_bias(g, g.add(mil::less{.x = range(g, keys), .y = lengths})));
    }
    return bias;
  }
};

struct RotaryEmbedding {
  ONNX_IN(X);
  ONNX_IN(cos_cache);
  ONNX_IN(sin_cache);
  ONNX_OPTIONAL(position_ids);
  ONNX_ATTR(interleaved, bool) = false;
  ONNX_ATTR(num_heads, int) = 0;
  ONNX_ATTR(rotary_embedding_dim, int) = 0;
  Status lower(Lowering& g) const {
    Value x = POM_TRY(by_heads(g, X, num_heads));
    if (!x) return g.status().error();
    POM_REQUIRE(x.shape()[3].known(), "the head size must be known before the model runs");
    std::int64_t size = x.shape()[3].value(), turned = *rotary_embedding_dim ? *rotary_embedding_dim : size;
    POM_REQUIRE(turned > 0 && turned <= size && turned % 2 == 0, "rotary_embedding_dim is {} of {}", turned, size);
    auto table = [&](Value cache) {
      if (position_ids) cache = g.add(mil::gather{.x = cache, .indices = position_ids, .axis = 0});
      return g.expand_dims(cache, {1});  // [batch, 1, length, turned/2]
    };
    Value cos = table(cos_cache), sin = table(sin_cache);
    Value part = g.slice(x, 3, 0, turned), a, b;
    if (interleaved) {
      a = g.slice(part, 3, 0, turned, 2);
      b = g.slice(part, 3, 1, turned, 2);
    } else {
      a = g.slice(part, 3, 0, turned / 2);
      b = g.slice(part, 3, turned / 2, turned);
    }
    Value real = g.minus(g.times(cos, a), g.times(sin, b)), imaginary = g.plus(g.times(sin, a), g.times(cos, b));
    Value y;
    if (interleaved) {
      y = g.add(mil::stack{.values = Values{real, imaginary}, .axis = 4});
      if (y) y = g.reshape(y, Shape{x.shape()[0], x.shape()[1], x.shape()[2], turned});
    } else {
      y = g.concat({real, imaginary}, 3);
    }
    if (turned < size) y = g.concat({y, g.slice(x, 3, turned, size)}, 3);
    return g.result(X.rank() == 3 ? from_heads(g, y) : y, X.elem());
  }
};

struct CausalConvWithState {
  ONNX_IN(input);
  ONNX_IN(weight);
  ONNX_OPTIONAL(bias);
  ONNX_OPTIONAL(past_state);
  ONNX_ATTR(activation, std::string) = "none";
  Status lower(Lowering& g) const {
    POM_REQUIRE(input.rank() == 3 && weight.rank() == 3 && (!past_state || past_state.rank() == 3) &&
                    weight.shape()[2].known() && weight.shape()[0].known(),
                "input and weight must have rank 3, and the weight a known shape");
    bool silu = *activation == "silu" || *activation == "swish";
    POM_REQUIRE(silu || *activation == "none", "activation is '{}'", *activation);
    std::int64_t before = weight.shape()[2].value() - 1, channels = weight.shape()[0].value();
    POM_REQUIRE(before >= 0 && channels > 0 && channels < INT32_MAX, "the weight has the shape {}",
                to_string(weight.shape()));
    Shape state{input.shape()[0], input.shape()[1], before};
    Value x = input;
    if (before > 0) {
      Value past = past_state ? *past_state : g.filled(state, {input}, input.dtype(), 0);
      x = g.concat({past, x}, 2);
    }
    Value y = g.add(mil::conv{.x = x,
                              .weight = g.as_constant(weight),
                              .bias = bias ? g.as_constant(bias) : Value(),
                              .strides = Ints{1},
                              .pad_type = "valid",
                              .dilations = Ints{1},
                              .groups = int(channels)});
    if (silu) y = g.add(mil::silu{.x = y});
    POM_TRY(g.result(y, input.elem()));
    if (!g.wants(1)) return {};
    if (before == 0) return g.result(g.filled(state, {}, input.dtype(), 0), input.elem());
    return g.result(g.slice(x, 2, -before, INT32_MAX), input.elem());
  }
};

// A recurrence over the tokens with a matrix as its state, written out token by token.
struct LinearAttention {
  ONNX_IN(query);
  ONNX_IN(key);
  ONNX_IN(value);
  ONNX_OPTIONAL(past_state);
  ONNX_OPTIONAL(decay);
  ONNX_OPTIONAL(beta);
  ONNX_ATTR(chunk_size, int) = 64;
  ONNX_ATTR(kv_num_heads, int, .required = true);
  ONNX_ATTR(q_num_heads, int, .required = true);
  ONNX_ATTR(scale, float) = 0.0f;
  ONNX_ATTR(update_rule, std::string) = "gated_delta";
  static constexpr std::int64_t most_tokens = 256;

  Status lower(Lowering& g) const {
    bool gated = *update_rule == "gated" || *update_rule == "gated_delta";
    bool delta = *update_rule == "delta" || *update_rule == "gated_delta";
    POM_REQUIRE(gated || delta || *update_rule == "linear", "update_rule is '{}'", *update_rule);
    POM_REQUIRE(gated == bool(decay) && delta == bool(beta), "update_rule '{}' does not go with the inputs given",
                *update_rule);
    POM_REQUIRE(*q_num_heads > 0 && *kv_num_heads > 0 && *q_num_heads % *kv_num_heads == 0,
                "{} query heads do not share {} key heads", *q_num_heads, *kv_num_heads);
    POM_REQUIRE(query.rank() == 3 && all_known(query.shape()) && all_known(key.shape()) && all_known(value.shape()),
                "the shapes must be known before the model runs");
    std::int64_t tokens = query.shape()[1].value();
    POM_REQUIRE(tokens <= most_tokens, "{} tokens are too many for a recurrence written out", tokens);
    auto wide = [&](Value x) { return g.cast(x, DType::fp32); };
    Value q = wide(POM_TRY(by_heads(g, query, q_num_heads))), k = wide(POM_TRY(by_heads(g, key, kv_num_heads))),
          v = wide(POM_TRY(by_heads(g, value, kv_num_heads)));
    if (!g.status()) return g.status().error();
    std::int64_t repeats = *q_num_heads / *kv_num_heads;
    Shape state_shape{k.shape()[0], k.shape()[1], k.shape()[3], v.shape()[3]};
    double factor = *scale != 0 ? double(*scale) : 1 / std::sqrt(double(q.shape()[3].value()));
    Value state = past_state ? wide(past_state) : g.filled(state_shape, {}, DType::fp32, 0);
    // Gates as [batch, heads, tokens, size or 1].
    Value gate = decay ? g.add(mil::exp{.x = wide(POM_TRY(by_heads(g, decay, kv_num_heads)))}) : Value();
    Value rate;
    if (beta) {
      bool shared = beta.shape()[2] == 1 && *kv_num_heads != 1;
      rate = wide(POM_TRY(by_heads(g, beta, shared ? 1 : *kv_num_heads)));
    }
    Values outputs;
    for (std::int64_t t = 0; t < tokens && g.status(); ++t) {
      auto token = [&](Value x) { return g.slice(x, 2, t, t + 1); };
      Value kt = g.transpose(token(k), {0, 1, 3, 2}), vt = token(v);  // [.., d_k, 1], [.., 1, d_v]
      if (gate) state = g.times(state, g.transpose(token(gate), {0, 1, 3, 2}));
      if (delta) {
        Value recalled = g.add(mil::matmul{.x = kt, .y = state, .transpose_x = true});
        vt = g.times(g.minus(vt, recalled), token(rate));
      }
      state = g.plus(state, g.times(kt, vt));
      outputs.push_back(g.add(mil::matmul{.x = g.times(token(q), factor), .y = repeat_heads(g, state, repeats)}));
    }
    if (!g.status()) return g.status().error();
    POM_REQUIRE(!outputs.empty(), "there is no token");
    Value y = from_heads(g, g.concat(outputs, 2));
    POM_TRY(g.result(g.cast(y, query.dtype()), query.elem()));
    DType kept = past_state ? past_state.dtype() : query.dtype();
    if (g.wants(1)) POM_TRY(g.result(g.cast(state, kept), past_state ? past_state.elem() : query.elem()));
    return {};
  }
};

}  // namespace

Rules attention_chapter() {
  return {
      rule<Attention>("Attention"),
      rule<CausalConvWithState>("CausalConvWithState"),
      rule<LinearAttention>("LinearAttention"),
      rule<RotaryEmbedding>("RotaryEmbedding"),
  };
}

}  // namespace pomona::onnx
