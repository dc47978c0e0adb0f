// The whole pass pipeline on programs of 5,000 to 50,000 ops: time per op should stay as it is.
//
//   bench_rewrite_scaling            the last column is microseconds per op of the imported program
#include <benchmark/benchmark.h>

#include <cmath>

#include "ir/builder.h"
#include "ops/activation.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "rewrite/pipeline.h"

namespace {

using namespace pomona;

// Weights of different bytes, as nothing is shared in a real model.
struct Maker {
  explicit Maker(Function& f) : g(f) {}
  Builder g;
  float next = 0;
  Value weight(Sizes sizes) {
    Tensor tensor(DType::fp32, std::move(sizes));
    for (float& v : tensor.mutable_view<float>()) v = std::fmod(next += 0.37F, 1.0F) + 0.1F;
    return g.constant(tensor);
  }
  Value number(double n) { return g.scalar(DType::fp32, n); }
};

// As exporters of PyTorch write transformers: 57 ops a layer with their constants, most of which patterns take
// together.
void transformer_layer(Maker& m, Value& x) {
  Builder& g = m.g;
  auto linear = [&](Value v) {
    return g.add(mil::add{.x = g.add(mil::matmul{.x = v, .y = m.weight({8, 8})}), .y = m.weight({8})});
  };
  auto norm = [&](Value v) {
    Value c = g.add(mil::sub{.x = v, .y = g.add(mil::reduce_mean{.x = v, .axes = {-1}, .keep_dims = true})});
    Value s = g.add(mil::reduce_mean{.x = g.add(mil::pow{.x = c, .y = m.number(2)}), .axes = {-1}, .keep_dims = true});
    Value n = g.add(mil::real_div{.x = c, .y = g.add(mil::sqrt{.x = g.add(mil::add{.x = s, .y = m.number(1e-5)})})});
    return g.add(mil::add{.x = g.add(mil::mul{.x = n, .y = m.weight({8})}), .y = m.weight({8})});
  };
  auto heads = [&](Value v, Ints perm) {
    Value cut = g.add(mil::reshape{.x = v, .shape = g.ints({1, 4, 2, 4})});
    return g.add(mil::transpose{.x = cut, .perm = std::move(perm)});
  };
  Value h = norm(x);
  Value scores = g.add(mil::matmul{.x = heads(linear(h), {0, 2, 1, 3}), .y = heads(linear(h), {0, 2, 3, 1})});
  Value p = g.add(mil::softmax{.x = g.add(mil::real_div{.x = scores, .y = m.number(2)}), .axis = -1});
  Value o = g.add(mil::matmul{.x = p, .y = heads(linear(h), {0, 2, 1, 3})});
  o = g.add(mil::reshape{.x = g.add(mil::transpose{.x = o, .perm = {0, 2, 1, 3}}), .shape = g.ints({1, 4, 8})});
  x = g.add(mil::add{.x = x, .y = linear(o)});
  Value f = linear(norm(x));
  Value e = g.add(mil::erf{.x = g.add(mil::real_div{.x = f, .y = m.number(std::sqrt(2.0))})});
  Value t = g.add(mil::mul{.x = f, .y = g.add(mil::add{.x = e, .y = m.number(1)})});
  x = g.add(mil::add{.x = x, .y = linear(g.add(mil::mul{.x = t, .y = m.number(0.5)}))});
}
// As converters of TensorFlow models write convolutions: transposes around each one, normalisation taken apart.
void conv_layer(Maker& m, Value& x) {
  Builder& g = m.g;
  Value in = g.add(mil::transpose{.x = x, .perm = {0, 3, 1, 2}});
  Value y = g.add(mil::conv{.x = in, .weight = m.weight({4, 4, 1, 1}), .pad_type = "same"});
  y = g.add(mil::transpose{.x = y, .perm = {0, 2, 3, 1}});
  y = g.add(mil::mul{.x = g.add(mil::sub{.x = y, .y = m.weight({4})}), .y = m.weight({4})});
  y = g.add(mil::relu{.x = g.add(mil::add{.x = y, .y = m.weight({4})})});
  Value six = g.add(mil::clip{.x = g.add(mil::add{.x = y, .y = m.number(3)}), .alpha = 0.0, .beta = 6.0});
  x = g.add(mil::add{.x = x, .y = g.add(mil::real_div{.x = g.add(mil::mul{.x = y, .y = six}), .y = m.number(6)})});
}

void make(Program& program, bool transformer, std::size_t ops) {
  Function& f = program.add_function("main", Target::iOS18);
  Value x = f.body.add_input("x", tensor_type(DType::fp32, transformer ? Shape{1, 4, 8} : Shape{1, 4, 4, 4}));
  Maker m(f);
  while (f.body.nodes().size() < ops) transformer ? transformer_layer(m, x) : conv_layer(m, x);
  f.body.set_results({x});
}

void pipeline(benchmark::State& state, bool transformer) {
  auto ops = std::size_t(state.range(0));
  rewrite::Report report;
  for (auto _ : state) {
    state.PauseTiming();
    auto program = std::make_unique<Program>();
    make(*program, transformer, ops);
    report = {};
    state.ResumeTiming();
    if (Status done = rewrite::optimise(*program, {}, report); !done) state.SkipWithError(done.error().what.c_str());
    state.PauseTiming();
    program.reset();
    state.ResumeTiming();
  }
  state.counters["us_per_op"] = benchmark::Counter(
      double(ops) * 1e-6, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  for (const auto& pass : report.times) state.counters["ms " + std::string(pass.pass)] += pass.seconds * 1e3;
}

BENCHMARK_CAPTURE(pipeline, transformer, true)
    ->Arg(5000)
    ->Arg(15000)
    ->Arg(50000)
    ->Arg(150000)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(pipeline, conv, false)->Arg(5000)->Arg(15000)->Arg(50000)->Arg(150000)->Unit(benchmark::kMillisecond);

}  // namespace
