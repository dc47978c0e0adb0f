// Attention over a cache that is an input and over what is new, as programs write it out, against the reference.
#include "kernel_case.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

namespace pomona::cpu {
namespace {

struct Form {
  std::int64_t batch = 1, heads = 3, queries = 3, places = 130, now = 1, width = 64;
  bool mask_per_head = false, capped = false, turned = false, wanted_elsewhere = false, fused = false,
       bool_mask = false;
  bool all_closed = false;
};

// The part of the last axis from `begin` to `end`; 0: to its end.
Value part(Builder& g, Value x, std::int64_t begin, std::int64_t end) {
  return g.add(mil::slice_by_index{.x = x,
                                   .begin = g.ints({0, 0, 0, begin}),
                                   .end = g.ints({0, 0, 0, end}),
                                   .begin_mask = Ints{1, 1, 1, begin == 0},
                                   .end_mask = Ints{1, 1, 1, end == 0}});
}

Values attention(Builder& g, const Values& v, const Form& form) {
  DType dtype = v[0].dtype();
  // Closed behind two thirds of the cache, and wherever the input says so before.
  Value places = g.constant(Tensor::ints([&] {
                              std::vector<std::int64_t> numbers;
                              for (std::int64_t i = 0; i < form.places + form.now; ++i) numbers.push_back(i);
                              return numbers;
                            }())
                                .reshaped({1, 1, 1, form.places + form.now}));
  Value before = g.add(mil::less{.x = places, .y = g.scalar(DType::int32, double(form.places * 2 / 3))});
  Value now = g.add(mil::greater_equal{.x = places, .y = g.scalar(DType::int32, double(form.places))});
  Value open = g.add(mil::logical_or{.x = g.add(mil::logical_and{.x = before, .y = v[5]}), .y = now});
  if (form.all_closed) open = g.add(mil::logical_and{.x = open, .y = g.add(mil::logical_not{.x = open})});
  Value mask =
      form.bool_mask ? open : g.add(mil::select{.cond = open, .a = g.scalar(dtype, 0), .b = g.scalar(dtype, -1e4)});
  auto joined = [&](Value a, Value b, int axis) { return g.add(mil::concat{.values = Values{a, b}, .axis = axis}); };
  if (form.fused)
    return {g.add(mil::relu{
        .x = g.add(mil::scaled_dot_product_attention{
            .query = v[0], .key = joined(v[1], v[3], 2), .value = joined(v[2], v[4], -2), .attn_mask = mask})})};
  auto score = [&](Value keys) { return g.add(mil::matmul{.x = v[0], .y = keys, .transpose_y = true}); };
  Value scores = joined(score(v[1]), score(v[3]), 3);
  if (form.capped) {
    scores = g.add(mil::tanh{.x = g.add(mil::mul{.x = scores, .y = g.scalar(dtype, 0.25)})});
    scores = g.add(mil::mul{.x = scores, .y = g.scalar(dtype, 4)});
  }
  scores = form.turned ? g.add(mil::add{.x = mask, .y = scores}) : g.add(mil::add{.x = scores, .y = mask});
  Value shares = g.add(mil::softmax{.x = scores, .axis = -1});
  Value old = g.add(mil::matmul{.x = part(g, shares, 0, form.places), .y = v[2]});
  Value fresh = g.add(mil::matmul{.x = part(g, shares, form.places, 0), .y = v[4]});
  Value y = form.turned ? g.add(mil::add{.x = fresh, .y = old}) : g.add(mil::add{.x = old, .y = fresh});
  y = g.add(mil::mul{.x = y, .y = g.scalar(dtype, 0.5)});
  if (form.wanted_elsewhere) return {y, shares};
  return {y};
}

std::vector<Case> cases() {
  std::vector<Case> all;
  auto add = [&](std::string name, Form f) {
    Sizes cache{f.batch, f.heads, f.places, f.width}, now{f.batch, f.heads, f.now, f.width};
    Sizes mask{f.batch, f.mask_per_head ? f.heads : 1, f.queries, f.places + f.now};
    Case c{std::move(name),
           {{'F', {f.batch, f.heads, f.queries, f.width}},
            {'F', cache},
            {'F', cache},
            {'F', now},
            {'F', now},
            {'b', mask}},
           [f](Builder& g, const Values& v) { return attention(g, v, f); },
           5e-6};
    c.half = !f.all_closed;  // which leaves scores of -1e4 with what fp16 rounds them to
    all.push_back(std::move(c));
  };
  add("written_out", {});
  add("one_query", {.queries = 1, .places = 300});
  add("several_new", {.queries = 12, .now = 4});
  add("many_queries", {.queries = 40, .now = 20});
  add("batch", {.batch = 2, .mask_per_head = true});
  add("odd_width", {.places = 400, .width = 19});
  add("capped", {.capped = true});
  add("turned", {.now = 130, .turned = true});
  add("wanted_elsewhere", {.wanted_elsewhere = true});
  add("fused", {.now = 2, .fused = true});
  add("fused_bool", {.fused = true, .bool_mask = true});
  add("all_closed", {.all_closed = true});
  return all;
}

INSTANTIATE_TEST_SUITE_P(PartedAttention, KernelCase, testing::ValuesIn(cases()), name_of);

// Halves that are inputs, used both where they lie and as floats, and wanted as they are.
std::vector<Case> input_cases() {
  return {{"large_inputs",
           {{'F', {1, 3, 130, 64}}, {'F', {1, 3, 1, 64}}},
           [](Builder& g, const Values& v) {
             Value scores = g.add(mil::matmul{.x = v[1], .y = v[0], .transpose_y = true});
             Value doubled = g.add(mil::add{.x = v[0], .y = v[0]});
             return Values{g.add(mil::softmax{.x = scores, .axis = -1}), doubled,
                           g.add(mil::reshape{.x = v[0], .shape = g.ints({390, 64})})};
           },
           5e-6},
          {"large_input_with_channels", {{'F', {1, 16, 40, 40}}}, [](Builder& g, const Values& v) {
             return Values{g.add(mil::transpose{.x = g.add(mil::relu{.x = v[0]}), .perm = Ints{0, 2, 3, 1}}), v[0]};
           }}};
}
INSTANTIATE_TEST_SUITE_P(LargeInputs, KernelCase, testing::ValuesIn(input_cases()), name_of);

}  // namespace
}  // namespace pomona::cpu
