// Sources: bandwidth and GPU cores, llama.cpp discussion 4167 and Apple's press releases; fp32 rates of M1 and M2,
// philipturner/metal-benchmarks (clock x cores x 256), of later ones huggingface.js hardware.ts and Apple's pages;
// Neural Engine streaming, anemll-bench Results.MD (llama lm-head model through Core ML); GPU STREAM, arXiv 2502.05317
// and DaMoN 2026; class of the Neural Engine, ANEForge (one source).
#include "silicon/chips.h"

#include <string>

#include "base/ascii.h"

namespace pomona::silicon {
namespace {

const std::vector<Chip>& table() {
  using enum Tier;
  static const std::vector<Chip> rows{
      // name, generation, tier, GB/s, GPU cores, TFLOPS, ANE GB/s, ANE TOPS, class, memory, P + E cores, macOS
      {"M1", 1, base, 68, {7, 8}, 2.62, 60.9, 11, 14, 16, 4, 4, "macOS 11.0", 60},
      {"M1 Pro", 1, pro, 200, {14, 16}, 5.31, 54.9, 11, 14, 32, 8, 2, "macOS 12.0"},
      {"M1 Max", 1, max, 400, {24, 32}, 10.62, 54.6, 11, 14, 64, 8, 2, "macOS 12.0"},
      {"M1 Ultra", 1, ultra, 800, {48, 64}, 21.23, 54.7, 22, 14, 128, 16, 4, "macOS 12.3"},
      {"M2", 2, base, 100, {8, 10}, 3.58, 60.5, 15.8, 15, 24, 4, 4, "macOS 12.4", 91},
      {"M2 Pro", 2, pro, 200, {16, 19}, 6.80, {}, 15.8, 15, 32, 8, 4, "macOS 13.2"},
      {"M2 Max", 2, max, 400, {30, 38}, 13.6, 62.0, 15.8, 15, 96, 8, 4, "macOS 13.2"},
      {"M2 Ultra", 2, ultra, 800, {60, 76}, 27.2, 61.7, 31.6, 15, 192, 16, 8, "macOS 13.4"},
      {"M3", 3, base, 100, {8, 10}, 4.1, 63.1, 18, 15, 24, 4, 4, "macOS 14.1", 92},
      {"M3 Pro", 3, pro, 150, {14, 18}, 7.4, {}, 18, 15, 36, 6, 6, "macOS 14.1"},
      {"M3 Max", 3, max, 400, {30, 40}, 16.4, 120.2, 18, 15, 128, 12, 4, "macOS 14.1", {}, std::pair{30, 300.0}},
      {"M3 Ultra", 3, ultra, 819, {60, 80}, 32.8, {}, 36, 15, 512, 24, 8, "macOS 15.3", 738},
      {"M4", 4, base, 120, {8, 10}, 4.6, 64.2, 38, 16, 32, 4, 6, "macOS 15.1", 100},
      {"M4 Pro", 4, pro, 273, {16, 20}, 9.2, 126.4, 38, 16, 64, 10, 4, "macOS 15.1", 248},
      {"M4 Max", 4, max, 546, {32, 40}, 18.4, 118.9, 38, 16, 128, 12, 4, "macOS 15.1", {}, std::pair{32, 410.0}},
      {"M5", 5, base, 153, {8, 10}, 5.7, 70.2, {}, 16, 32, 4, 6, "macOS 26.0"},
      {"M5 Pro", 5, pro, 307, {16, 20}, 11.4, 150, {}, 16, 64, 6, 12, "macOS 26.3"},
      {"M5 Max", 5, max, 614, {32, 40}, 22.8, 148, {}, 16, 128, 6, 12, "macOS 26.3", {}, std::pair{32, 460.0}},
      {"M5 Ultra", 5, ultra, 1200, {60, 80}, 45.6, {}, {}, 16, 512, 12, 24, "macOS 26.6"},
      {"M6", 6, base, 170, {12}, 7.0, 152, {}, 16, 32, 4, 8, "macOS 27.0"},
  };
  return rows;
}

// "Apple M4 Pro" and "m4-pro" are one.
std::string plain(std::string_view name) {
  std::string text = letters_and_digits(name);
  return text.starts_with("apple") ? text.substr(5) : text;
}

}  // namespace

std::span<const Chip> chips() { return table(); }

const Chip* find_chip(std::string_view name) {
  for (const Chip& chip : table())
    if (plain(chip.name) == plain(name)) return &chip;
  return nullptr;
}

Result<const Chip*> chip_named(std::string_view name) {
  if (const Chip* chip = find_chip(name)) return chip;
  std::string known;
  for (const Chip& chip : table()) known += (known.empty() ? "" : ", ") + std::string(chip.name);
  return fail("there is no chip '{}'; the known ones are {}", name, known);
}

double gpu_teraflops(const Chip& chip, int cores) {
  int full = chip.gpu_cores.back();
  return chip.gpu_teraflops * (cores > 0 ? double(cores) / full : 1);
}

double bandwidth_gbs(const Chip& chip, int cores) {
  if (chip.narrow_bin && cores > 0 && cores <= chip.narrow_bin->first) return chip.narrow_bin->second;
  return chip.bandwidth_gbs;
}

// Advertised for fp16 up to M3. M4's 38 counts 8-bit operations; from there on it is M3's figure times what a benchmark
// of convolutions gained (maderix/ANE issue 3, in TFLOPS: M3 Pro 9.98, M4 Pro 12.57, M4 Max 10.93, M5 12.17 and 12.44).
double ane_half_tops(const Chip& chip) {
  constexpr double advertised[] = {11, 15.8, 18};
  return chip.generation <= 3 ? advertised[chip.generation - 1] : 22;
}

// Two thirds of machines with up to 36 GB, three quarters of larger ones (llama.cpp issue 2182).
double gpu_working_set_gb(double memory_gb) { return memory_gb * (memory_gb <= 36 ? 2.0 / 3 : 0.75); }

}  // namespace pomona::silicon
