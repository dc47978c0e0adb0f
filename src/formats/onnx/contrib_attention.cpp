#include <cmath>

#include "formats/onnx/compose.h"
#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Attention as the domain com.microsoft has it: with packed projections, masks in several forms, and key caches.
namespace pomona::onnx {
namespace {

constexpr Text domain = "com.microsoft";

Value range(Lowering& g, Value count) {
  return g.add(mil::range_1d{.end = count, .start = g.integer(0), .step = g.integer(1)});
}

// [batch, length, heads * size] as [batch, heads, length, size].
Result<Value> by_heads(Lowering& g, Value x, std::int64_t heads) {
  if (!x || x.rank() == 4) return x;
  POM_REQUIRE(x.rank() == 3, "an input has rank {}, not 3 or 4", x.rank());
  POM_REQUIRE(heads > 0 && x.shape()[2].known() && x.shape()[2].value() % heads == 0,
              "{} channels do not divide into {} heads", x.shape()[2].text(), heads);
  std::int64_t size = x.shape()[2].value() / heads;
  return g.transpose(g.reshape(x, Shape{x.shape()[0], x.shape()[1], heads, size}), {0, 2, 1, 3});
}

// What is added to the scores for a mask that says which keys are there: one number or two per batch item, or a 0 or 1
// for each key, [B, T], [B, S, T] or [B, N, S, T].
Result<Value> mask_bias(Lowering& g, const InputField& mask, Value keys, Dim batch, double filter) {
  if (!mask) return Value();
  Value allowed;
  if (mask.rank() == 1) {
    Value line = g.expand_dims(range(g, keys), {0});
    POM_REQUIRE(mask.shape()[0] == batch || (batch.known() && mask.shape()[0] == Dim(2 * batch.value())),
                "a mask of {} elements for {} sequences is not supported", mask.shape()[0].text(), batch.text());
    Value ends = mask.shape()[0] == batch ? *mask : g.slice(mask, 0, 0, batch.value());
    allowed = g.add(mil::less{.x = line, .y = g.expand_dims(ends, {1})});
    if (!(mask.shape()[0] == batch)) {
      Value starts = g.slice(mask, 0, batch.value(), 2 * batch.value());
      Value after = g.add(mil::greater_equal{.x = line, .y = g.expand_dims(starts, {1})});
      allowed = g.add(mil::logical_and{.x = allowed, .y = after});
    }
    allowed = g.expand_dims(allowed, {1, 2});
  } else {
    allowed = mask.dtype() == DType::boolean ? *mask : g.add(mil::greater{.x = mask, .y = g.number(mask, 0)});
    if (mask.rank() == 2) allowed = g.expand_dims(allowed, {1, 2});
    if (mask.rank() == 3) allowed = g.expand_dims(allowed, {1});
    POM_REQUIRE(mask.rank() <= 4, "the mask has rank {}", mask.rank());
  }
  return g.select(allowed, g.scalar(DType::fp32, 0), g.scalar(DType::fp32, filter));
}

Value sum_of(Lowering& g, Value a, Value b) { return a && b ? g.plus(a, b) : a ? a : b; }

// q, k and v by heads, in any floating dtype; the result [B, S, N * H] in the dtype of q.
struct Core {
  Value q, k, v, bias;
  std::optional<double> scale;
  double softcap = 0;
  bool causal = false;
  Value offset;  // of the first query among the keys
  Value sink;    // [N]: a further score for each head that takes a share of the softmax; empty: none

  Result<Value> run(Lowering& g) const {
    if (!q || !k || !v) return g.status().error();
    POM_REQUIRE(q.rank() == 4 && k.rank() == 4 && v.rank() == 4 && q.shape()[3].known(),
                "the sizes of the heads are not known");
    DType own = q.dtype();
    double factor = scale && *scale != 0 ? *scale : 1 / std::sqrt(double(q.shape()[3].value()));
    Value query = g.times(g.cast(q, DType::fp32), factor), key = g.cast(k, DType::fp32);
    Value scores = g.add(mil::matmul{.x = query, .y = key, .transpose_y = true});
    if (softcap > 0) scores = g.times(g.add(mil::tanh{.x = g.over(scores, softcap)}), softcap);
    Value all = bias;
    if (causal) {
      Value row = g.expand_dims(range(g, g.dim(q, 2)), {1});
      Value place = offset ? g.plus(row, offset) : row;
      Value column = g.expand_dims(range(g, g.dim(k, 2)), {0});
      Value seen = g.add(mil::less_equal{.x = column, .y = place});
      all = sum_of(g, all, g.select(seen, g.scalar(DType::fp32, 0), g.scalar(DType::fp32, -1e30)));
    }
    if (all) scores = g.plus(scores, all);
    Value weights = sink ? with_sink(g, scores) : g.add(mil::softmax{.x = scores, .axis = -1});
    Value y = g.transpose(g.cast(g.add(mil::matmul{.x = weights, .y = g.cast(v, DType::fp32)}), own), {0, 2, 1, 3});
    if (!y) return g.status().error();
    return g.reshape(y, Shape{y.shape()[0], y.shape()[1], y.shape()[2] * y.shape()[3]});
  }
  Value with_sink(Lowering& g, Value scores) const {
    Value extra = g.reshape(g.cast(sink, DType::fp32), Shape{1, element_count(sink.shape()), 1, 1});
    Value most =
        g.add(mil::maximum{.x = g.add(mil::reduce_max{.x = scores, .axes = Ints{-1}, .keep_dims = true}), .y = extra});
    Value powers = g.add(mil::exp{.x = g.minus(scores, most)});
    Value total = g.add(mil::reduce_sum{.x = powers, .axes = Ints{-1}, .keep_dims = true});
    return g.over(powers, g.plus(total, g.add(mil::exp{.x = g.minus(extra, most)})));
  }
};

struct Attention {
  ONNX_IN(input);
  ONNX_IN(weights);
  ONNX_OPTIONAL(bias);
  ONNX_OPTIONAL(mask_index);
  ONNX_OPTIONAL(past);
  ONNX_OPTIONAL(attention_bias);
  ONNX_OPTIONAL(past_sequence_length);
  ONNX_ATTR(do_rotary, bool) = false;
  ONNX_ATTR(mask_filter_value, float) = -10000.0f;
  ONNX_ATTR(num_heads, int, .required = true);
  ONNX_ATTR(past_present_share_buffer, bool) = false;
  ONNX_ATTR(qkv_hidden_sizes, Ints);
  ONNX_ATTR(rotary_embedding_dim, int) = 0;
  ONNX_ATTR(scale, std::optional<float>);
  ONNX_ATTR(unidirectional, bool) = false;
  Status lower(Lowering& g) const {
    POM_REQUIRE(!do_rotary && !past_present_share_buffer && !past_sequence_length,
                "rotary embeddings and shared caches inside Attention are not supported");
    Value all = g.add(mil::matmul{.x = input, .y = weights});
    if (bias) all = g.plus(all, bias);
    if (!all) return g.status();
    return split(g, all, input.elem());
  }
  // From the three projections side by side.
  Status split(Lowering& g, Value all, Elem elem) const {
    POM_REQUIRE(all.rank() == 3 && all.shape()[2].known(), "the size of the projections is not known");
    std::int64_t width = all.shape()[2].value() / 3;
    Ints sizes = *qkv_hidden_sizes;
    if (sizes.empty()) sizes = {width, width, width};
    POM_REQUIRE(sizes.size() == 3 && sizes[0] + sizes[1] + sizes[2] == all.shape()[2].value(),
                "qkv_hidden_sizes does not fit the weights");
    Value q = POM_TRY(by_heads(g, g.slice(all, 2, 0, sizes[0]), *num_heads));
    Value k = POM_TRY(by_heads(g, g.slice(all, 2, sizes[0], sizes[0] + sizes[1]), *num_heads));
    Value v = POM_TRY(by_heads(g, g.slice(all, 2, sizes[0] + sizes[1], sizes[0] + sizes[1] + sizes[2]), *num_heads));
    Value offset;
    if (past) {
      POM_REQUIRE(past.rank() == 5, "past has rank {}, not 5", past.rank());
      offset = g.dim(past, 3);
      k = g.concat({g.squeeze(g.slice(past, 0, 0, 1), {0}), k}, 2);
      v = g.concat({g.squeeze(g.slice(past, 0, 1, 2), {0}), v}, 2);
    }
    if (!g.status()) return g.status();
    Value added = POM_TRY(mask_bias(g, mask_index, g.dim(k, 2), k.shape()[0], *mask_filter_value));
    if (attention_bias) added = sum_of(g, added, g.cast(attention_bias, DType::fp32));
    Core core{q, k, v, added};
    if (scale->has_value()) core.scale = **scale;
    core.causal = *unidirectional;
    core.offset = offset;
    POM_TRY(g.result(POM_TRY(core.run(g)), elem));
    if (g.output_count() < 2) return {};
    return g.result(g.add(mil::stack{.values = Values{k, v}, .axis = 0}), elem);
  }
};

struct QAttention {
  ONNX_IN(input);
  ONNX_IN(weight);
  ONNX_IN(bias);
  ONNX_IN(input_scale);
  ONNX_IN(weight_scale);
  ONNX_OPTIONAL(mask_index);
  ONNX_OPTIONAL(input_zero_point);
  ONNX_OPTIONAL(weight_zero_point);
  ONNX_OPTIONAL(past);
  ONNX_ATTR(do_rotary, bool) = false;
  ONNX_ATTR(mask_filter_value, float) = -10000.0f;
  ONNX_ATTR(num_heads, int, .required = true);
  ONNX_ATTR(past_present_share_buffer, bool) = false;
  ONNX_ATTR(scale, std::optional<float>);
  ONNX_ATTR(unidirectional, bool) = false;
  Status lower(Lowering& g) const {
    POM_REQUIRE(!do_rotary && !past_present_share_buffer, "rotary embeddings and shared caches are not supported");
    Entry product =
        POM_TRY(apply(g, "MatMulInteger",
                      {entry_of(input), entry_of(weight), entry_of(input_zero_point), entry_of(weight_zero_point)}));
    Value all = g.times(g.cast(product.value, DType::fp32), g.times(flat(g, input_scale), flat(g, weight_scale)));
    all = g.plus(g.cast(all, bias.dtype()), bias);
    if (!all) return g.status();
    Attention rest;
    rest.mask_index.set(entry_of(mask_index));
    rest.past.set(entry_of(past));
    rest.num_heads.value = num_heads;
    rest.scale.value = scale;
    rest.mask_filter_value.value = mask_filter_value;
    rest.unidirectional.value = unidirectional;
    return rest.split(g, all, bias.elem());
  }
  static Value flat(Lowering& g, Value scale) {
    return scale && scale.rank() == 1 && scale.shape()[0] == 1 ? g.reshape(scale, Shape{}) : scale;
  }
};

struct MultiHeadAttention {
  ONNX_IN(query);
  ONNX_OPTIONAL(key);
  ONNX_OPTIONAL(value);
  ONNX_OPTIONAL(bias);
  ONNX_OPTIONAL(key_padding_mask);
  ONNX_OPTIONAL(attention_bias);
  ONNX_OPTIONAL(past_key);
  ONNX_OPTIONAL(past_value);
  ONNX_OPTIONAL(past_sequence_length);
  ONNX_OPTIONAL(cache_indirection);
  ONNX_ATTR(mask_filter_value, float) = -10000.0f;
  ONNX_ATTR(num_heads, int, .required = true);
  ONNX_ATTR(scale, std::optional<float>);
  ONNX_ATTR(unidirectional, bool) = false;
  Status lower(Lowering& g) const {
    POM_REQUIRE(!past_sequence_length && !cache_indirection, "shared caches are not supported");
    POM_REQUIRE(*num_heads > 0, "num_heads is {}", *num_heads);
    Value q = query, k = key, v = value;
    if (query.rank() == 5) {  // [B, L, N, 3, H]
      POM_REQUIRE(!key && !value, "packed projections stand alone");
      auto part = [&](std::int64_t i) { return flattened(g, g.squeeze(g.slice(query, 3, i, i + 1), {3})); };
      q = part(0), k = part(1), v = part(2);
    } else if (key && key.rank() == 5) {  // [B, L, N, 2, H]
      auto part = [&](std::int64_t i) { return flattened(g, g.squeeze(g.slice(key, 3, i, i + 1), {3})); };
      k = part(0), v = part(1);
    }
    POM_REQUIRE(q && k && v, "key or value is missing");
    if (bias) {
      POM_REQUIRE(q.rank() == 3 && q.shape()[2].known(), "the size of the projections is not known");
      std::int64_t at = 0;
      for (Value* x : {&q, &k, &v}) {
        if (x->rank() != 3) {  // keys of another sequence are projected already, and have their bias
          at += *num_heads * x->shape()[3].value();
          continue;
        }
        std::int64_t size = x->shape()[2].known() ? x->shape()[2].value() : 0;
        *x = g.plus(*x, g.slice(bias, 0, at, at + size));
        at += size;
      }
    }
    q = POM_TRY(by_heads(g, q, *num_heads));
    k = POM_TRY(by_heads(g, k, *num_heads));
    v = POM_TRY(by_heads(g, v, *num_heads));
    Value offset;
    if (past_key && past_value) {
      offset = g.dim(past_key, 2);
      k = g.concat({past_key, k}, 2);
      v = g.concat({past_value, v}, 2);
    }
    if (!g.status()) return g.status();
    Value added = POM_TRY(mask_bias(g, key_padding_mask, g.dim(k, 2), k.shape()[0], *mask_filter_value));
    if (attention_bias) added = sum_of(g, added, g.cast(attention_bias, DType::fp32));
    Core core{q, k, v, added};
    if (scale->has_value()) core.scale = **scale;
    core.causal = *unidirectional;
    core.offset = offset;
    POM_TRY(g.result(POM_TRY(core.run(g)), query.elem()));
    if (g.output_count() > 1) POM_TRY(g.result(k, query.elem()));
    if (g.output_count() > 2) POM_TRY(g.result(v, query.elem()));
    POM_REQUIRE(!g.wants(3), "the output 'qk' is not supported");
    return {};
  }
  static Value flattened(Lowering& g, Value x) {
    return x ? g.reshape(x, Shape{x.shape()[0], x.shape()[1], x.shape()[2] * x.shape()[3]}) : x;
  }
};

Result<Entry> rotated(Lowering& g, Entry x, Value positions, const InputField& cosines, const InputField& sines,
                      bool interleaved, std::int64_t heads, std::int64_t turned = 0) {
  return apply(g, "RotaryEmbedding",
               {x,
                {g.cast(cosines, x.value.dtype()), x.elem},
                {g.cast(sines, x.value.dtype()), x.elem},
                {positions, Elem::int64}},
               {whole("interleaved", interleaved), whole("num_heads", heads), whole("rotary_embedding_dim", turned)});
}

// Keys and values of earlier calls come in a cache; each sequence of the batch has its own length in it.
struct GroupQueryAttention {
  ONNX_IN(query);
  ONNX_OPTIONAL(key);
  ONNX_OPTIONAL(value);
  ONNX_OPTIONAL(past_key);
  ONNX_OPTIONAL(past_value);
  ONNX_IN(seqlens_k);
  ONNX_IN(total_sequence_length);
  ONNX_OPTIONAL(cos_cache);
  ONNX_OPTIONAL(sin_cache);
  ONNX_OPTIONAL(position_ids);
  ONNX_OPTIONAL(attention_bias);
  ONNX_OPTIONAL(head_sink);
  ONNX_ATTR(do_rotary, bool) = false;
  ONNX_ATTR(kv_num_heads, int, .required = true);
  ONNX_ATTR(local_window_size, int) = -1;
  ONNX_ATTR(num_heads, int, .required = true);
  ONNX_ATTR(rotary_interleaved, bool) = false;
  ONNX_ATTR(scale, std::optional<float>);
  ONNX_ATTR(smooth_softmax, int) = -1;
  ONNX_ATTR(softcap, float) = 0.0f;
  ONNX_ATTR(kv_cache_bit_width, int) = 0;
  ONNX_ATTR(k_quant_type, std::string) = "NONE";
  ONNX_ATTR(v_quant_type, std::string) = "NONE";
  ONNX_ATTR(qk_output, int) = 0;
  Status lower(Lowering& g) const {
    POM_REQUIRE(*kv_num_heads > 0 && *num_heads % *kv_num_heads == 0, "{} query heads do not share {} key heads",
                *num_heads, *kv_num_heads);
    POM_REQUIRE(*k_quant_type == "NONE" && *v_quant_type == "NONE" && *kv_cache_bit_width == 0 && *qk_output == 0,
                "quantised caches are not supported");
    Value q = query, k = key, v = value;
    if (!k || !v) {
      POM_REQUIRE(query.rank() == 3 && query.shape()[2].known(), "the size of the packed projections is not known");
      std::int64_t size = query.shape()[2].value() / (*num_heads + 2 * *kv_num_heads);
      std::int64_t a = *num_heads * size, b = a + *kv_num_heads * size;
      q = g.slice(query, 2, 0, a);
      k = g.slice(query, 2, a, b);
      v = g.slice(query, 2, b, b + *kv_num_heads * size);
    }
    q = POM_TRY(by_heads(g, q, *num_heads));
    k = POM_TRY(by_heads(g, k, *kv_num_heads));
    v = POM_TRY(by_heads(g, v, *kv_num_heads));
    if (!g.status()) return g.status();
    // How many keys each sequence has had before: [B, 1].
    Value ends = g.reshape(seqlens_k, Shape{element_count(seqlens_k.shape()), 1});
    Value tokens = g.dim(q, 2), before = g.minus(g.plus(ends, 1), tokens);
    // The first call's sequences may be padded at their ends: they have had none.
    before = g.add(mil::maximum{.x = before, .y = g.integer(0)});
    Value places = g.plus(g.expand_dims(range(g, tokens), {0}), before);  // [B, S]
    if (do_rotary) {
      POM_REQUIRE(cos_cache && sin_cache, "do_rotary needs cos_cache and sin_cache");
      Value at = position_ids ? *position_ids : places;
      POM_REQUIRE(cos_cache.shape()[1].known(), "the size of cos_cache is not known");
      std::int64_t turned = 2 * cos_cache.shape()[1].value();
      q = POM_TRY(rotated(g, {q, query.elem()}, at, cos_cache, sin_cache, rotary_interleaved, *num_heads, turned))
              .value;
      k = POM_TRY(rotated(g, {k, query.elem()}, at, cos_cache, sin_cache, rotary_interleaved, *kv_num_heads, turned))
              .value;
    }
    if (past_key && past_value) {
      k = POM_TRY(cached(g, past_key, k, places));
      v = POM_TRY(cached(g, past_value, v, places));
    }
    if (!g.status()) return g.status();
    POM_TRY(g.result(POM_TRY(attended(g, q, k, v, places)), query.elem()));
    if (g.output_count() > 1) POM_TRY(g.result(k, query.elem()));
    if (g.output_count() > 2) POM_TRY(g.result(v, query.elem()));
    return {};
  }

 private:
  // The cache with the new rows in their places, as long as the longer of cache and total_sequence_length.
  Result<Value> cached(Lowering& g, Value past, Value fresh, Value places) const {
    Value room = g.concat({past, g.times(fresh, 0)}, 2);
    if (!room) return g.status().error();
    Value at = g.expand_dims(places, {1, 3});
    at = g.plus(at, g.cast(g.times(fresh, 0), DType::int32));  // [B, N, S, H]
    Value all =
        g.add(mil::scatter_along_axis{.data = room, .indices = at, .updates = fresh, .axis = 2, .mode = "update"});
    Value total = g.reshape(total_sequence_length, Shape{});
    Value length = g.add(mil::maximum{.x = total, .y = g.dim(past, 2)});
    Value end = g.concat({g.ints({0, 0}), g.expand_dims(length, {0}), g.ints({0})}, 0);
    return g.add(mil::slice_by_index{.x = all,
                                     .begin = g.ints({0, 0, 0, 0}),
                                     .end = end,
                                     .stride = Ints{1, 1, 1, 1},
                                     .begin_mask = Ints{1, 1, 1, 1},
                                     .end_mask = Ints{1, 1, 0, 1}});
  }
  Result<Value> attended(Lowering& g, Value q, Value k, Value v, Value places) const {
    std::int64_t repeats = *num_heads / *kv_num_heads;
    auto repeated = [&](Value x) {
      if (repeats == 1) return x;
      Shape s = x.shape();
      Value wide = g.add(mil::tile{.x = g.expand_dims(x, {2}), .reps = g.ints({1, 1, repeats, 1, 1})});
      return g.reshape(wide, Shape{s[0], s[1] * repeats, s[2], s[3]});
    };
    Value line = g.expand_dims(range(g, g.dim(k, 2)), {0, 1});  // [1, 1, T]
    Value own = g.expand_dims(places, {2});                     // [B, S, 1]
    Value seen = g.add(mil::less_equal{.x = line, .y = own});
    if (*local_window_size > 0) {
      Value near = g.add(mil::greater{.x = line, .y = g.minus(own, g.integer(*local_window_size))});
      seen = g.add(mil::logical_and{.x = seen, .y = near});
    }
    Value bias = g.select(g.expand_dims(seen, {1}), g.scalar(DType::fp32, 0), g.scalar(DType::fp32, -1e30));
    if (attention_bias) bias = g.plus(bias, g.cast(attention_bias, DType::fp32));
    Core core{q, repeated(k), repeated(v), bias};
    if (scale->has_value()) core.scale = **scale;
    core.softcap = *softcap;
    if (head_sink)
      core.sink = head_sink;
    else if (*smooth_softmax == 1)
      core.sink = g.constant(Tensor::from_numbers(DType::fp32, {1}, {0}));
    return core.run(g);
  }
};

struct RotaryEmbedding {
  ONNX_IN(input);
  ONNX_IN(position_ids);
  ONNX_IN(cos_cache);
  ONNX_IN(sin_cache);
  ONNX_ATTR(interleaved, bool) = false;
  ONNX_ATTR(is_packed_batching, bool) = false;
  ONNX_ATTR(num_heads, int) = 0;
  ONNX_ATTR(rotary_embedding_dim, int) = 0;
  ONNX_ATTR(scale, float) = 1.0f;
  Status lower(Lowering& g) const {
    POM_REQUIRE(!is_packed_batching && *scale == 1, "packed batches and scales are not supported");
    POM_REQUIRE(cos_cache.rank() == 2 && cos_cache.shape()[1].known(), "the size of cos_cache is not known");
    bool heads_first = input.rank() == 4;
    std::int64_t heads = *num_heads;
    if (!heads_first && heads == 0) {
      POM_REQUIRE(input.rank() == 3 && input.shape()[2].known(), "the number of channels is not known");
      heads = input.shape()[2].value() / (2 * cos_cache.shape()[1].value());
    }
    Value at = position_ids;
    if (position_ids.rank() == 1) {  // where the first token is
      Value line = range(g, g.dim(input, heads_first ? 2 : 1));
      Value row = g.expand_dims(g.plus(line, position_ids), {0});
      at = g.broadcast_to(row, Shape{input.shape()[0], row ? row.shape()[1] : Dim(1)}, {input, row});
    }
    if (!at) return g.status();
    Entry y = POM_TRY(rotated(g, entry_of(input), at, cos_cache, sin_cache, interleaved, heads, *rotary_embedding_dim));
    return g.result(y.value, input.elem());
  }
};

}  // namespace

Rules contrib_attention_chapter() {
  return {
      rule<Attention>("Attention", 1, 1 << 30, domain),
      rule<GroupQueryAttention>("GroupQueryAttention", 1, 1 << 30, domain),
      rule<MultiHeadAttention>("MultiHeadAttention", 1, 1 << 30, domain),
      rule<QAttention>("QAttention", 1, 1 << 30, domain),
      rule<RotaryEmbedding>("RotaryEmbedding", 1, 1 << 30, domain),
  };
}

}  // namespace pomona::onnx
