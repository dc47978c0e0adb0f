// Times the compression kernels on one thread, per million weights: table fitting (histogram, solve, encode, pack) and
// linear codes.
//
//   bench_compress_kernels [--benchmark_filter=...]
//
// The counter `s_per_million` (tables) or `ms_per_million` (linear codes) is core time per million weights. Weights are
// synthetic, normal(0, 0.02) or Student-t with 4 degrees of freedom times 0.02, in fp16.
#include <benchmark/benchmark.h>

#include <bit>
#include <random>

#include "base/bits.h"
#include "base/half.h"
#include "compress/distinct_values.h"
#include "compress/exact_kmeans.h"
#include "compress/linear_quantise.h"

namespace {

using namespace pomona;
using namespace pomona::compress;

enum Tail { normal_tail, heavy_tail };

std::vector<std::uint16_t> random_halves(std::size_t count, Tail tail) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.02f);
  std::student_t_distribution<float> heavy(4);
  std::vector<float> floats(count);
  for (float& value : floats) value = tail == normal_tail ? normal(random) : 0.02f * heavy(random);
  std::vector<std::uint16_t> halves(count);
  floats_to_halves(floats, halves.data());
  return halves;
}

// The core time of an iteration per million weights.
void report(benchmark::State& state, std::size_t weights) {
  state.counters["per_million"] = benchmark::Counter(
      static_cast<double>(weights) / 1e6, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

// Fits a table to each group of `group` weights and encodes and packs the group.
void tables(benchmark::State& state, std::size_t count, std::size_t group, std::size_t clusters, Tail tail,
            KmeansMethod method) {
  const std::vector<std::uint16_t> halves = random_halves(count, tail);
  const auto width = static_cast<unsigned>(std::bit_width(clusters - 1));
  std::vector<std::uint8_t> codes(packed_size_bytes(group, width));
  HalfBins bins;
  std::size_t distinct_count = 0;
  for (auto _ : state) {
    for (std::size_t begin = 0; begin < count; begin += group) {
      const std::span<const std::uint16_t> part(halves.data() + begin, group);
      const auto distinct = distinct_halves(part, {}, bins);
      const auto table = exact_kmeans(distinct->values, distinct->weights, {.clusters = clusters, .method = method});
      const std::vector<float> centroids(table->centroids.begin(), table->centroids.end());
      const auto entries = nearest_entries(distinct->values, centroids);
      encode_halves_packed(part, *distinct, entries, width, bins, codes.data());
      benchmark::DoNotOptimize(codes.data());
      distinct_count = distinct->values.size();
    }
  }
  state.counters["distinct"] = static_cast<double>(distinct_count);
  report(state, count);
}

// The steps of a table alone, for one group.
void steps(benchmark::State& state, std::size_t group, std::size_t clusters, int step) {
  const std::vector<std::uint16_t> halves = random_halves(group, normal_tail);
  HalfBins bins;
  const auto distinct = distinct_halves(halves, {}, bins);
  const std::vector<std::uint8_t> entries(distinct->values.size());
  std::vector<std::uint8_t> codes(group);
  for (auto _ : state) {
    if (step == 0) benchmark::DoNotOptimize(distinct_halves(halves, {}, bins));
    if (step == 1) benchmark::DoNotOptimize(exact_kmeans(distinct->values, distinct->weights, {.clusters = clusters}));
    if (step == 2) encode_halves(halves, *distinct, entries, bins, codes.data());
    if (step == 3) encode_halves_packed(halves, *distinct, entries, 4, bins, codes.data());
    benchmark::DoNotOptimize(codes.data());
  }
  report(state, group);
}

void linear(benchmark::State& state, std::size_t block_rows, std::size_t block_columns, LinearOptions options) {
  const std::vector<std::uint16_t> halves = random_halves(1536 * 1024, normal_tail);
  const BlockedShape shape{.rows = 1024, .columns = 1536, .block_rows = block_rows, .block_columns = block_columns};
  for (auto _ : state) benchmark::DoNotOptimize(quantise_linear(halves, shape, options));
  report(state, halves.size());
}

struct TableCase {
  const char* name;
  std::size_t count, group, clusters;
};

constexpr std::size_t tensor = 384 * 1536;
constexpr TableCase table_cases[] = {
    {"table4/tensor_4.19M", 4194304, 4194304, 16}, {"table4/tensor_0.59M", tensor, tensor, 16},
    {"table4/groups_12288", 8 * 12288, 12288, 16}, {"table4/channels_768", 64 * 768, 768, 16},
    {"table4/channels_256", 128 * 256, 256, 16},   {"table8/tensor_4.19M", 4194304, 4194304, 256},
    {"table8/tensor_0.59M", tensor, tensor, 256},  {"table8/groups_12288", 8 * 12288, 12288, 256},
    {"table6/groups_12288", 8 * 12288, 12288, 64},
};

void add_tables() {
  for (const TableCase& c : table_cases) {
    for (const Tail tail : {normal_tail, heavy_tail}) {
      for (const KmeansMethod method : {KmeansMethod::automatic, KmeansMethod::layered}) {
        if (method == KmeansMethod::layered && c.clusters > 16) continue;
        const std::string name = std::string(c.name) + (tail == normal_tail ? "/normal" : "/heavy") +
                                 (method == KmeansMethod::layered ? "/layered" : "");
        benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
          tables(state, c.count, c.group, c.clusters, tail, method);
        })->Unit(benchmark::kMillisecond);
      }
    }
  }
  for (const std::size_t group : {std::size_t{12288}, tensor}) {
    const char* names[] = {"distinct", "solve", "encode", "encode_packed"};
    for (int step = 0; step < 4; ++step) {
      benchmark::RegisterBenchmark((std::string("step/") + names[step] + "/" + std::to_string(group)).c_str(),
                                   [=](benchmark::State& state) { steps(state, group, 16, step); })
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

struct LinearCase {
  const char* name;
  std::size_t block_rows, block_columns;
  LinearOptions options;
};

const LinearCase linear_cases[] = {
    {"int8/row_channels", 1, 1536, {}},
    {"int8/row_channels/asymmetric", 1, 1536, {.symmetric = false}},
    {"int8/column_channels", 1024, 1, {}},
    {"int8/row_channels/16_candidates", 1, 1536, {.candidates = 16}},
    {"int4/blocks_32", 1, 32, {.bits = 4}},
    {"int4/blocks_32/lowest_code", 1, 32, {.bits = 4, .lowest_code = true}},
    {"uint4/blocks_32/asymmetric", 1, 32, {.bits = 4, .is_signed = false, .symmetric = false}},
    {"int4/blocks_32_of_rows", 32, 1, {.bits = 4}},
    {"int4/blocks_32/16_candidates", 1, 32, {.bits = 4, .candidates = 16}},
    {"int4/blocks_32/20_candidates", 1, 32, {.bits = 4, .candidates = 20}},
    {"uint4/blocks_32/asymmetric/16_candidates",
     1,
     32,
     {.bits = 4, .is_signed = false, .symmetric = false, .candidates = 16}},
};

void add_linear() {
  for (const LinearCase& c : linear_cases) {
    benchmark::RegisterBenchmark((std::string("linear/") + c.name).c_str(), [=](benchmark::State& state) {
      linear(state, c.block_rows, c.block_columns, c.options);
    })->Unit(benchmark::kMillisecond);
  }
}

const bool added = (add_tables(), add_linear(), true);

}  // namespace
