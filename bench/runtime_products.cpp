// Times the matrix products of a small transformer on one thread.
//
//   bench_runtime_products
//
// The counter `gflops` is 2 * rows * depth * columns per second.
#include <benchmark/benchmark.h>

#include <vector>

#include "cpu/gemm.h"

namespace {

using namespace pomona::cpu;

void product(benchmark::State& state) {
  std::size_t rows = std::size_t(state.range(0)), depth = std::size_t(state.range(1)),
              columns = std::size_t(state.range(2));
  std::vector<float> a(rows * depth, 0.5f), w(depth * columns, 0.25f), bias(columns, 1.0f), c(rows * columns);
  PackedMatrix packed = pack_matrix({w.data(), depth, columns, 1, std::ptrdiff_t(depth)});
  for (auto _ : state) {
    multiply({a.data(), std::ptrdiff_t(depth), packed.view(), bias.data(), c.data(), std::ptrdiff_t(columns), rows}, 0,
             panel_count(columns));
    benchmark::DoNotOptimize(c.data());
  }
  state.counters["gflops"] = benchmark::Counter(2e-9 * double(rows * depth * columns) * double(state.iterations()),
                                                benchmark::Counter::kIsRate);
}
BENCHMARK(product)
    ->Args({128, 384, 384})
    ->Args({128, 384, 1536})
    ->Args({128, 1536, 384})
    ->Args({128, 32, 128})
    ->Args({1, 384, 1536})
    ->Args({25600, 48, 48})
    ->Args({1600, 192, 192});

}  // namespace
