#include "silicon/speed_terms.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/ascii.h"
#include "silicon/llm_shape.h"

namespace pomona::silicon {
namespace {

// What rows of one chip only show, and so cannot be fitted and then tried on another chip.
// Decoding k-quants on the GPUs of M1: M1 Max against M2 Ultra and M3 Max, Llama 3 8B and 70B Q4_K_M.
constexpr double k_quants_on_m1 = 2.2;
// Builds of 2024-11 and later: cost per layer when decoding, time of a prompt (M2 Ultra, llama.cpp's own benches).
constexpr double newer_layer_cost = 0.45, newer_prompt = 0.72;
// Builds of August 2023.
constexpr double early_decode = 1.15, early_prompt = 2.05;
// A mixture of experts costs about as much again per layer for choosing and gathering (M2 Ultra, four models).
constexpr double expert_layer_cost = 2, expert_prompt = 1.5;
// Matrix units of M5's GPU, in MLX and newer builds: Apple gives 3.3 to 4.1 for time to first token against M4; its
// shader rate has grown by 1.25 in the same step. llama.cpp on M5 Pro and M5 Max (discussion 4167) gains 2.3.
constexpr double matrix_units_prompt = 2.3;
// Seconds per 32 layers that the first form of a Neural Engine package (smpanaro/coreml-llm-cli, v1) takes longer than
// the second on M1 Max and on M3 Max alike: caches that are moved by the processor.
constexpr double first_ane_form = 0.0595;
// Rotary embeddings as packages of 2023 have them leave the Neural Engine (pythia against gpt2, M1).
constexpr double rotary_off_engine = 4;
// Seconds per layer of a step of one token: parts that are started one by one (ANEMLL, M4 Pro and M1).
constexpr double ane_layer = 0.0004;

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// The number after `word`, 0 when there is none.
int number_after(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    int value = 0;
    std::size_t i = at + word.size();
    while (i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) && value < 100000000)
      value = value * 10 + (text[i++] - '0');
    if (i > at + word.size()) return value;
  }
  return 0;
}

Result<Runtime> runtime_named(std::string_view name) {
  std::string text = ascii_lower(name);
  if (has(text, "mlx")) return Runtime::mlx;
  if (has(text, "ane") || has(text, "neural")) return Runtime::core_ml_ane;
  if (has(text, "coreml") || has(text, "core ml")) return Runtime::core_ml_gpu;
  if (has(text, "cpu")) return Runtime::cpu;
  if (has(text, "metal") || has(text, "llama") || has(text, "ollama") || has(text, "gpu")) return Runtime::metal;
  return fail(
      "there is no constant for the runtime '{}'; known are llama.cpp-metal, llama.cpp-cpu, mlx, coreml-gpu and "
      "coreml-ane",
      name);
}

// How weights are decoded: each class has its cost per parameter.
std::string_view decoding(std::string_view quant) {
  std::string text = ascii_lower(quant);
  if (text.starts_with("f") || text.starts_with("bf")) return "plain";
  if (text.starts_with("q8") || has(text, "int8") || text.starts_with("8")) return "8-bit";
  if (has(text, "_k") || text.starts_with("iq") || text.starts_with("q2") || text.starts_with("q3") ||
      text.starts_with("q5") || text.starts_with("q6"))
    return "k-quant";
  return "4-bit";
}

enum class Era : std::uint8_t { early, middle, newer };
// From a date, or llama.cpp's build number: 4000 is of November 2024.
Era era_of(const SpeedCase& row, Runtime runtime, const Chip* chip) {
  std::string build = ascii_lower(row.build);
  if (runtime == Runtime::mlx) return Era::newer;
  // Older builds did not know the chip, whatever the table's usual build is.
  if (chip && chip->generation >= 5) return Era::newer;
  if (has(build, "aug 2023") || has(build, "2023-08")) return Era::early;
  for (int year = 2025; year <= 2030; ++year)
    if (has(build, std::to_string(year))) return Era::newer;
  if (has(build, "2024-11") || has(build, "2024-12")) return Era::newer;
  if (has(build, "2023") || has(build, "2024")) return Era::middle;
  int number = std::max(number_after(build, "b"), number_after(" " + build, " "));
  if (number >= 4000 && number < 100000) return Era::newer;
  return Era::middle;
}

struct Machine {
  double gbs, teraflops;
  bool ultra, m1, third, matrix_units;
  const Chip* chip;
};

Result<Machine> machine_of(const SpeedCase& row) {
  const Chip* chip = find_chip(row.chip);
  if (!chip) {
    POM_REQUIRE(row.bandwidth_gbs > 0 && row.gpu_cores > 0,
                "the chip '{}' is not known, and there are no bandwidth and GPU cores to go by", row.chip);
    // 0.5 TFLOPS for each core, as of M4 and M5.
    return Machine{row.bandwidth_gbs, 0.5 * row.gpu_cores, row.gpu_cores > 44, false, true, false, nullptr};
  }
  double gbs = row.bandwidth_gbs > 0 ? row.bandwidth_gbs : bandwidth_gbs(*chip, row.gpu_cores);
  return Machine{gbs,
                 gpu_teraflops(*chip, row.gpu_cores),
                 chip->tier == Tier::ultra,
                 chip->generation == 1,
                 chip->generation >= 3,
                 has_gpu_matrix_units(*chip),
                 chip};
}

// What a token needs, from the row alone.
struct Load {
  double gigabytes;     // of weights read for one token
  double active_b;      // billions of parameters used for one token
  double kv_gigabytes;  // one token of context
  int context;
  LlmShape shape;
};

Result<Load> load_of(const SpeedCase& row) {
  POM_REQUIRE(row.params_b > 0, "params_b is missing: how many billions of parameters '{}' has", row.model);
  POM_REQUIRE(row.weight_gib > 0 || row.bits_per_weight > 0, "neither weight_gib nor bits_per_weight is there");
  Load load{};
  load.shape = llm_shape(row.model, row.params_b);
  const LlmShape& shape = load.shape;
  double all = row.weight_gib > 0 ? row.weight_gib * 1.073741824 : row.params_b * row.bits_per_weight / 8;
  load.active_b = std::min(shape.active_b.value_or(row.params_b), row.params_b);
  // Of the embedding one row is read for a token, unless it is the output projection as well.
  double unread = shape.active_b || shape.tied_head ? 0 : double(shape.vocabulary) * shape.width / 1e9;
  load.gigabytes = all * std::max(load.active_b - unread, 0.5 * load.active_b) / row.params_b;
  load.kv_gigabytes = 4.0 * shape.layers * shape.kv_width / 1e9;
  std::string test = ascii_lower(row.test);
  load.context = std::max({number_after(test, "tg"), number_after(test, "pp"), number_after(test, "context ")});
  if (has(test, "512-token")) load.context = 512;
  if (load.context == 0) load.context = row.phase == "prompt" ? 512 : 128;
  return load;
}

void metal_decode(Terms& terms, const SpeedCase& row, const Machine& m, const Load& load, Era era) {
  auto& units = terms.units;
  double early = era == Era::early ? early_decode : 1;
  double layers = load.shape.layers / 32.0 * (era == Era::newer ? newer_layer_cost : 1) *
                  (load.shape.active_b ? expert_layer_cost : 1);
  std::string_view kind = decoding(row.quant);
  double k = kind == "k-quant" && m.m1 ? k_quants_on_m1 : 1;
  double mean_context = load.kv_gigabytes * load.context / 2;
  units["bytes/bandwidth"] = load.gigabytes / m.gbs * early;
  units["bytes/bandwidth, two dies"] = m.ultra ? load.gigabytes / m.gbs : 0;
  units["parameters/GPU, " + std::string(kind)] = load.active_b / m.teraflops * early * k;
  units["layers"] = layers;
  units["layers, two dies"] = m.ultra ? layers : 0;
  units["cache/bandwidth"] = mean_context / m.gbs;
  units["cache/GPU"] = mean_context / m.teraflops;
}

void metal_prompt(Terms& terms, const SpeedCase& row, const Machine& m, const Load& load, Era era) {
  double rate = load.active_b / m.teraflops * (load.shape.active_b ? expert_prompt : 1);
  rate *= era == Era::early ? early_prompt : era == Era::newer ? newer_prompt : 1;
  if (m.matrix_units && era == Era::newer) rate /= matrix_units_prompt;
  std::string_view kind = decoding(row.quant);
  double k = kind == "k-quant" && m.m1 ? k_quants_on_m1 : 1;
  auto& units = terms.units;
  units["parameters/GPU"] = rate;
  units["parameters/GPU, two dies"] = m.ultra ? rate : 0;
  units["parameters/GPU, " + std::string(kind)] = rate * k;
  units["parameters/GPU, from M3"] = m.third ? rate : 0;
  units["attention/GPU"] = load.context / 1000.0 * load.shape.layers / 32 * load.shape.width / 4096 / m.teraflops;
}

// The processor alone reaches a part of a large chip's bandwidth (ik_llama.cpp discussions 95 and 164).
void cpu_terms(Terms& terms, const SpeedCase& row, const Machine& m, const Load& load) {
  double reach = std::min(m.gbs, m.ultra ? 240.0 : 120.0);
  double cores = m.chip ? m.chip->cpu_performance_cores : 8;
  std::string kind(decoding(row.quant));
  if (ascii_lower(row.quant) == "q4_0") kind = "4-bit, repacked";
  if (row.phase == "decode") terms.units["bytes/bandwidth"] = load.gigabytes / reach;
  terms.units["parameters/cores, " + kind] = load.active_b / cores;
}

// Three ways of keeping the past: not at all, as inputs and outputs, as a state (Apple's write-up of Llama 3.1).
void core_ml_gpu_terms(Terms& terms, const SpeedCase& row, const Machine& m, const Load& load) {
  auto& units = terms.units;
  std::string model = ascii_lower(row.model), kind(decoding(row.quant));
  double cache = load.kv_gigabytes * load.context;
  if (has(model, "no-kv") || has(model, "no kv") || has(model, "recompute")) {
    units["window/GPU"] = load.context * load.active_b / m.teraflops / 1000;
    units["window attention/GPU"] = std::pow(load.context / 1000.0, 2) * load.shape.layers / 32 / m.teraflops;
    return;
  }
  units["bytes/bandwidth"] = load.gigabytes / m.gbs;
  if (kind != "plain") units["parameters/GPU, " + kind] = load.active_b / m.teraflops;
  units["cache/bandwidth"] = cache / m.gbs;
  if (!has(model, "i/o") && !has(model, "cache io")) return;
  // Copies in and out; beyond some 200 MB they are paged.
  units["cache copied"] = std::min(cache, 0.2);
  units["cache paged"] = std::max(cache - 0.2, 0.0);
}

// A step reads all weights at the measured ceiling and multiplies as many positions as it has: one, a padded piece or
// the whole window that packages without a cache compute again.
void core_ml_ane_terms(Terms& terms, const SpeedCase& row, const Machine& m, const Load& load) {
  double gbs = 62, tops = 16;
  if (m.chip) {
    bool wide = m.chip->generation >= 3 && m.chip->tier >= Tier::max;
    gbs = m.chip->ane_gbs.value_or(wide ? 120 : 62);
    tops = ane_half_tops(*m.chip);
  }
  std::string test = ascii_lower(row.test), build = ascii_lower(row.build);
  double layers = load.shape.layers, read = load.gigabytes / gbs;
  double a_position = 2 * load.active_b / 1000 / tops;  // seconds at the engine's full rate
  double squares = 4 * layers * load.shape.width / 1e12 / tops;
  if (has(test, "recompute")) {
    double off = has(ascii_lower(row.model), "pythia") && has(build, "2023") ? rotary_off_engine : 1;
    terms.seconds = off * read;
    terms.units["window/engine"] = off * load.context * (a_position + squares * load.context);
    return;
  }
  terms.seconds = read + (has(build, "v1") ? first_ane_form * layers / 32 : 0);
  constexpr int piece = 64;  // tokens of a padded step
  if (row.phase == "prompt") {
    terms.seconds /= piece;
    terms.units["step/engine"] = a_position;
  } else if (has(test, "padded")) {
    terms.units["step/engine"] = piece * a_position;
  } else {
    terms.seconds += ane_layer * layers + load.kv_gigabytes * load.context / gbs;
    terms.units["step/engine"] = a_position;
  }
}

}  // namespace

Result<Terms> speed_terms(const SpeedCase& row) {
  Runtime runtime = POM_TRY(runtime_named(row.runtime));
  POM_REQUIRE(row.phase == "decode" || row.phase == "prompt", "phase is 'prompt' or 'decode', not '{}'", row.phase);
  Machine machine = POM_TRY(machine_of(row));
  Load load = POM_TRY(load_of(row));
  Era era = era_of(row, runtime, machine.chip);
  Terms terms;
  auto extrapolate = [&](std::string why) {
    ++terms.extrapolated;
    terms.why_extrapolated += (terms.why_extrapolated.empty() ? "" : ", ") + why;
  };
  if (!machine.chip)
    extrapolate("a chip that is not in the table");
  else if (machine.chip->generation > 3)
    extrapolate("a chip later than the measured ones");
  if (load.shape.active_b) extrapolate("a mixture of experts");
  bool prompt = row.phase == "prompt";
  auto metal = [&] {
    terms.group = "llama.cpp-metal " + row.phase;
    prompt ? metal_prompt(terms, row, machine, load, era) : metal_decode(terms, row, machine, load, era);
  };
  switch (runtime) {
    case Runtime::metal:
      metal();
      break;
    case Runtime::mlx:
      metal();
      extrapolate("llama.cpp's constants");
      break;
    case Runtime::cpu:
      terms.group = "llama.cpp-cpu " + row.phase;
      cpu_terms(terms, row, machine, load);
      break;
    case Runtime::core_ml_gpu:
      if (prompt) {
        metal();
        extrapolate("llama.cpp's constants");
        break;
      }
      terms.group = "coreml-gpu decode";
      core_ml_gpu_terms(terms, row, machine, load);
      break;
    case Runtime::core_ml_ane:
      terms.group = "coreml-ane decode";
      core_ml_ane_terms(terms, row, machine, load);
      if (prompt) extrapolate("decode's constants");
      break;
  }
  return terms;
}

}  // namespace pomona::silicon
