// Apple's M chips, a row each: what is advertised, what was measured, and nothing where nobody knows.
//
//   const Chip* chip = find_chip("M4 Pro");          // also "m4pro", "M4-Pro"
//   double reach = gpu_teraflops(*chip, 16);         // of the bin with 16 GPU cores
//
// Figures come from the sources named in chips.cpp. An empty optional is an unknown value, not a guess.
#pragma once
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pomona::silicon {

enum class Tier : std::uint8_t { base, pro, max, ultra };

struct Chip {
  std::string_view name;
  int generation;  // 1 of M1
  Tier tier;
  double bandwidth_gbs;            // of the memory, advertised, of the full bin
  std::vector<int> gpu_cores;      // bins, smallest first
  double gpu_teraflops;            // fp32, of the largest bin; fp16 runs at the same rate
  std::optional<double> ane_gbs;   // measured streaming of weights through the Neural Engine
  std::optional<double> ane_tops;  // advertised
  int ane_class;                   // the A chip whose Neural Engine this is: 14 of M1
  int max_memory_gb;
  int cpu_performance_cores, cpu_efficiency_cores;
  std::string_view first_macos;
  std::optional<double> gpu_stream_gbs = {};  // measured
  // Smaller bins with less bandwidth: GPU cores and GB/s.
  std::optional<std::pair<int, double>> narrow_bin = {};
};

std::span<const Chip> chips();
const Chip* find_chip(std::string_view name);
// An error that lists the known ones.
Result<const Chip*> chip_named(std::string_view name);

// Of a bin; 0 cores: the largest.
double gpu_teraflops(const Chip& chip, int cores);
double bandwidth_gbs(const Chip& chip, int cores);
// Per-core matrix units next to the shader cores, from M5 on.
inline bool has_gpu_matrix_units(const Chip& chip) { return chip.generation >= 5; }
// fp16 operations of one Neural Engine (an Ultra has two, and a program uses one), in 10^12 a second.
double ane_half_tops(const Chip& chip);
// What Metal lets one process keep resident, of a machine with that much memory.
double gpu_working_set_gb(double memory_gb);
// The longest axis the Neural Engine takes.
inline int ane_axis_limit(const Chip& chip) { return chip.ane_class >= 16 ? 65536 : 16384; }

}  // namespace pomona::silicon
