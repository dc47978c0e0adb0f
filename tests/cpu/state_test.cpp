// Programs with states, called again and again, against the reference evaluation of the same calls.
#include <cmath>
#include <random>
#include <set>

#include "base/threads.h"
#include "cpu/runner.h"
#include "ir/evaluate.h"
#include "kernel_case.h"
#include "ops/attention.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/state.h"
#include "ops/tensor_operation.h"

namespace pomona::cpu {
namespace {

constexpr std::int64_t heads = 2, group = 3, width = 20, context = 24;

struct Options {
  DType dtype = DType::fp32, state = DType::fp16;
  bool added_mask = false;    // else a mask of bool
  bool reads_before = false;  // somebody also reads what was there before
  bool gives_cache = false;   // the cache is a result as well
  bool explicit_form = false;
};

// Rows of q, k, v [1, heads, rows, width] at `position`: attention over a cache of keys and one of values.
void build(Program& program, const Options& o) {
  Function& main = program.add_function("main", iOS18);
  Dim rows = Dim::named("t");
  auto state = [&](const char* name) {
    Type type = tensor_type(o.state, {1, heads, context, width});
    type.kind = Type::Kind::state;
    return main.body.add_input(name, type);
  };
  Value keys = state("keys"), values = state("values");
  Value q = main.body.add_input("q", tensor_type(o.dtype, {1, heads, rows * group, width}));
  Value k = main.body.add_input("k", tensor_type(o.dtype, {1, heads, rows, width}));
  Value v = main.body.add_input("v", tensor_type(o.dtype, {1, heads, rows, width}));
  Value position = main.body.add_input("position", tensor_type(DType::int32, {1}));
  Value places = main.body.add_input("places", tensor_type(DType::int32, {1, 1, rows * group, 1}));
  Builder g(main);
  auto int_add = [&](Value a, Value b) { return g.add(mil::add{.x = a, .y = b}); };
  Value shape = g.add(mil::shape{.x = k});
  Value count = g.add(mil::slice_by_index{.x = shape, .begin = g.ints({2}), .end = g.ints({3})});
  Value begin = g.add(mil::concat{.values = Values{g.ints({0, 0}), position, g.ints({0})}, .axis = 0});
  Value end = int_add(begin, g.add(mil::concat{.values = Values{g.ints({0, 0}), count, g.ints({0})}, .axis = 0}));
  Values results;
  auto as = [&](Value x, DType dtype) {
    return x.dtype() == dtype ? x : g.add(mil::cast{.x = x, .dtype = std::string(name(dtype))});
  };
  auto updated = [&](Value cache, Value with) {
    Value before = g.add(mil::read_state{.input = cache});
    if (o.reads_before) results.push_back(g.add(mil::reduce_sum{.x = before, .axes = {2}}));
    Value after = g.add(mil::slice_update{.x = before,
                                          .update = as(with, o.state),
                                          .begin = begin,
                                          .end = end,
                                          .begin_mask = Ints{1, 1, 0, 1},
                                          .end_mask = Ints{1, 1, 0, 1}});
    g.add_all(mil::write_state{.input = cache, .data = after});
    Value now = g.add(mil::read_state{.input = cache});
    if (o.gives_cache) results.push_back(now);
    return as(now, o.dtype);
  };
  Value all_keys = updated(keys, k), all_values = updated(values, v);
  Ints numbers;
  for (std::int64_t i = 0; i < context; ++i) numbers.push_back(i);
  Value columns = g.constant(Tensor::ints(numbers).reshaped({1, 1, 1, context}));
  Value open = g.add(mil::less_equal{.x = columns, .y = places});
  Value closed = g.add(mil::select{.cond = open, .a = g.number(q, 0), .b = g.number(q, -1e4)});
  Value y;
  if (o.explicit_form) {
    Value scores = g.add(mil::matmul{.x = q, .y = all_keys, .transpose_y = true});
    Value exps = g.add(mil::exp{.x = g.add(mil::add{.x = scores, .y = closed})});
    y = g.add(mil::matmul{.x = exps, .y = all_values});
  } else {
    y = g.add(mil::scaled_dot_product_attention{
        .query = q, .key = all_keys, .value = all_values, .attn_mask = o.added_mask ? closed : open});
  }
  results.push_back(g.add(mil::mul{.x = y, .y = g.number(y, 0.5)}));
  ASSERT_TRUE(g.status()) << describe(g.status().error());
  main.body.set_results(results);
}

NamedTensors inputs_of(const Options& o, std::int64_t position, std::int64_t rows, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0, 0.5);
  auto tensor = [&](std::int64_t count) {
    std::vector<double> numbers(std::size_t(heads * count * width));
    for (double& n : numbers) n = normal(random);
    return Tensor::from_numbers(o.dtype, {1, heads, count, width}, numbers);
  };
  Ints places;
  for (std::int64_t r = 0; r < rows; ++r) places.insert(places.end(), group, position + r);
  return {{"q", tensor(rows * group)},
          {"k", tensor(rows)},
          {"v", tensor(rows)},
          {"position", Tensor::ints({position})},
          {"places", Tensor::ints(places).reshaped({1, 1, rows * group, 1})}};
}

// Runs the same calls with both; gives the kernels used.
std::set<std::string> compare(const Options& o, unsigned threads) {
  Program program;
  build(program, o);
  if (testing::Test::HasFatalFailure()) return {};
  Evaluation reference(program.main());
  Runner runner(program.main(), {.rounding = Rounding::fast});
  runner.set_profiling(true);
  set_thread_count(threads);
  std::int64_t position = 0;
  double tolerance = o.dtype == DType::fp16 ? 4e-3 : 3e-6;
  for (std::int64_t rows : {1, 1, 7, 1, 2, 1}) {
    NamedTensors inputs = inputs_of(o, position, rows, unsigned(position + 1));
    auto expected = reference(inputs), got = runner.run(inputs);
    EXPECT_TRUE(expected) << describe(expected.error());
    EXPECT_TRUE(got) << describe(got.error());
    if (!expected || !got) break;
    for (std::size_t i = 0; i < expected->size(); ++i)
      for (std::size_t e = 0; e < (*expected)[i].count(); ++e)
        EXPECT_NEAR((*got)[i].number(e), (*expected)[i].number(e), tolerance) << "call at " << position;
    position += rows;
  }
  set_thread_count(1);
  for (const char* name : {"keys", "values"}) {
    Tensor state = runner.state(name);
    EXPECT_EQ(state.dtype(), o.state);
    for (std::size_t e = 0; e < state.count(); ++e)
      EXPECT_EQ(state.number(e) != 0, std::int64_t(e) / width % context < position) << name;
  }
  std::set<std::string> kernels;
  for (const StepTime& step : runner.profile()) kernels.insert(step.kernel);
  return kernels;
}

TEST(State, IsUpdatedInPlace) {
  for (DType dtype : {DType::fp32, DType::fp16})
    for (DType state : {DType::fp16, DType::fp32})
      for (bool added : {false, true})
        for (unsigned threads : {1u, 3u}) {
          if (dtype == DType::fp16 && state == DType::fp32) continue;
          auto kernels = compare({.dtype = dtype, .state = state, .added_mask = added}, threads);
          EXPECT_TRUE(kernels.count("state_update"));
          EXPECT_TRUE(kernels.count("attention"));
          EXPECT_FALSE(kernels.count("read_state") || kernels.count("widen") || kernels.count("eval"));
        }
}

TEST(State, IsCopiedWhereThatShows) {
  EXPECT_FALSE(compare({.reads_before = true}, 2).count("state_update"));
  EXPECT_FALSE(compare({.gives_cache = true}, 2).count("state_update"));
}

TEST(State, OtherOpsSeeFloats) { EXPECT_TRUE(compare({.explicit_form = true}, 2).count("widen")); }

// Three layers with a row each of one state; every layer's new rows come of what the one before it holds by then.
// `late`: the first layer's are read again when the others have been written. `before`: a layer's rows are read before
// they are written, too.
void build_stacked(Program& program, DType state_dtype, bool squeezes, bool late, bool before) {
  constexpr std::int64_t layers = 3;
  Function& main = program.add_function("main", iOS18);
  Type type = tensor_type(state_dtype, {layers, context, width});
  type.kind = Type::Kind::state;
  Value state = main.body.add_input("rows", type);
  Value x = main.body.add_input("x", tensor_type(DType::fp32, {1, 1, width}));
  Value position = main.body.add_input("position", tensor_type(DType::int32, {1}));
  Builder g(main);
  auto as = [&](Value v, DType dtype) {
    return v.dtype() == dtype ? v : g.add(mil::cast{.x = v, .dtype = std::string(name(dtype))});
  };
  Value y = x;
  Values parts;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    auto at = [&](std::int64_t more) {
      Value place = g.add(mil::add{.x = position, .y = g.ints({more})});
      return g.add(mil::concat{.values = Values{g.ints({layer + more}), place, g.ints({more * width})}, .axis = 0});
    };
    auto part_of = [&](Value rows) {
      Value part = g.add(mil::slice_by_index{.x = rows,
                                             .begin = g.ints({layer, 0, 0}),
                                             .end = g.ints({layer + 1, 0, 0}),
                                             .begin_mask = Ints{0, 1, 1},
                                             .end_mask = Ints{0, 1, 1},
                                             .squeeze_mask = Ints{squeezes, 0, 0}});
      return as(part, DType::fp32);
    };
    auto sum_of = [&](Value part) {
      Value sum = g.add(mil::reduce_sum{.x = part, .axes = {squeezes ? 0 : 1}, .keep_dims = true});
      return g.add(mil::tanh{.x = g.add(mil::reshape{.x = sum, .shape = g.ints({1, 1, width})})});
    };
    Value now = g.add(mil::read_state{.input = state});
    if (before) y = g.add(mil::add{.x = y, .y = sum_of(part_of(now))});
    Value after = g.add(mil::slice_update{.x = now, .update = as(y, state_dtype), .begin = at(0), .end = at(1)});
    g.add_all(mil::write_state{.input = state, .data = after});
    parts.push_back(part_of(g.add(mil::read_state{.input = state})));
    y = g.add(mil::add{.x = sum_of(parts.back()), .y = x});
  }
  Values results{y};
  if (late) results.push_back(g.add(mil::mul{.x = parts[0], .y = g.number(parts[0], 2)}));
  ASSERT_TRUE(g.status()) << describe(g.status().error());
  main.body.set_results(results);
}

std::set<std::string> compare_stacked(DType state, bool squeezes, bool late, bool before) {
  Program program;
  build_stacked(program, state, squeezes, late, before);
  if (testing::Test::HasFatalFailure()) return {};
  Evaluation reference(program.main());
  Runner runner(program.main(), {.rounding = Rounding::fast});
  runner.set_profiling(true);
  for (std::int64_t position = 0; position < 4; ++position) {
    std::vector<double> numbers;
    for (std::int64_t i = 0; i < width; ++i) numbers.push_back(std::sin(double(i + 7 * position)));
    NamedTensors inputs{{"x", Tensor::from_numbers(DType::fp32, {1, 1, width}, numbers)},
                        {"position", Tensor::ints({position})}};
    auto expected = reference(inputs), got = runner.run(inputs);
    EXPECT_TRUE(expected && got);
    if (!expected || !got) break;
    for (std::size_t i = 0; i < expected->size(); ++i)
      for (std::size_t e = 0; e < (*expected)[i].count(); ++e)
        EXPECT_NEAR((*got)[i].number(e), (*expected)[i].number(e), 1e-5) << "result " << i << " at " << position;
  }
  std::set<std::string> kernels;
  for (const StepTime& step : runner.profile()) kernels.insert(step.kernel);
  return kernels;
}

TEST(StackedState, IsUpdatedInPlace) {
  for (DType state : {DType::fp16, DType::fp32})
    for (bool squeezes : {false, true})
      for (bool before : {false, true}) {
        auto kernels = compare_stacked(state, squeezes, false, before);
        EXPECT_TRUE(kernels.count("state_update"));
        EXPECT_FALSE(kernels.count("read_state") || kernels.count("slice") || kernels.count("slice_update"));
      }
}

TEST(StackedState, IsCopiedWhereThatShows) {
  for (DType state : {DType::fp16, DType::fp32})
    EXPECT_FALSE(compare_stacked(state, false, true, false).count("state_update"));
}

TEST(State, RowsBeyondTheEndAreRefused) {
  Program program;
  Options o;
  build(program, o);
  Runner runner(program.main(), {});
  auto got = runner.run(inputs_of(o, context - 2, 3, 1));
  ASSERT_FALSE(got);
  EXPECT_NE(describe(got.error()).find("the slice has 2 elements along axis 2, but the update has 3"),
            std::string::npos)
      << describe(got.error());
}

// A state that is set from outside is what the next call sees.
TEST(State, CanBeSetBetweenCalls) {
  Program program;
  Options o{.state = DType::fp32};
  build(program, o);
  Runner one(program.main(), {}), two(program.main(), {});
  ASSERT_TRUE(one.run(inputs_of(o, 0, 3, 1)));
  two.state("keys") = one.state("keys");
  two.state("values") = one.state("values");
  auto a = one.run(inputs_of(o, 3, 1, 2)), b = two.run(inputs_of(o, 3, 1, 2));
  ASSERT_TRUE(a && b);
  EXPECT_TRUE((*a)[0].same_bits((*b)[0]));
}

Case attention(std::string name, Sizes batch, std::int64_t queries, std::int64_t keys, std::int64_t wide,
               std::int64_t out, bool masked) {
  Sizes q = batch, k = batch, v = batch, m = batch;
  for (std::int64_t& size : m) size = 1;
  q.insert(q.end(), {queries, wide});
  k.insert(k.end(), {keys, wide});
  v.insert(v.end(), {keys, out});
  m.insert(m.end(), {queries, keys});
  return {std::move(name), {{'F', q}, {'F', k}, {'F', v}}, [=](Builder& g, const Values& x) {
            mil::scaled_dot_product_attention op{.query = x[0], .key = x[1], .value = x[2]};
            std::vector<double> mask(std::size_t(queries * keys));
            for (std::int64_t r = 0; r < queries; ++r)
              for (std::int64_t c = 0; c < keys; ++c) mask[std::size_t(r * keys + c)] = c <= r % keys ? 0.25 : -1e4;
            if (masked) op.attn_mask = g.constant(Tensor::from_numbers(x[0].dtype(), m, mask));
            return Values{g.add(op)};
          }};
}
std::vector<Case> cases() {
  return {attention("attention_one_query", {1, 3}, 1, 37, 20, 33, false),
          attention("attention_few_queries", {2, 3}, 7, 37, 64, 64, true),
          attention("attention_16_queries", {3}, 16, 5, 17, 5, true),
          attention("attention_many_queries", {2, 2}, 60, 70, 20, 40, true),
          attention("attention_long", {1, 2}, 130, 130, 64, 64, true),
          attention("attention_many_unmasked", {1, 2}, 50, 33, 12, 100, false)};
}
INSTANTIATE_TEST_SUITE_P(Attention, KernelCase, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace pomona::cpu
