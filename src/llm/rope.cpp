#include "llm/rope.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ir/op.h"
#include "ir/walk.h"

namespace pomona::llm {
namespace {

struct Frequencies {
  std::vector<double> of;  // per pair of elements
  double scale = 1;        // of cosines and sines
};

std::vector<double> plain_frequencies(double theta, std::int64_t width) {
  std::vector<double> f;
  for (std::int64_t i = 0; i < width; i += 2) f.push_back(1 / std::pow(theta, double(i) / double(width)));
  return f;
}

// Long wavelengths are stretched, short ones kept, those between go over smoothly.
Frequencies llama3(const RopeConfig& c, std::vector<double> f, double factor, double original) {
  double longest = original / *c.low_freq_factor, shortest = original / *c.high_freq_factor;
  for (double& each : f) {
    double length = 2 * std::numbers::pi / each;
    if (length < shortest) continue;
    double smooth = (original / length - *c.low_freq_factor) / (*c.high_freq_factor - *c.low_freq_factor);
    each = length > longest ? each / factor : (1 - smooth) * each / factor + smooth * each;
  }
  return {std::move(f), 1};
}

Frequencies yarn(const RopeConfig& c, std::vector<double> f, double theta, double factor, double original,
                 std::int64_t width) {
  auto turns_at = [&](double turns) {
    return double(width) * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  double low = turns_at(c.beta_fast), high = turns_at(c.beta_slow);
  if (c.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, double(width - 1));
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < f.size(); ++i) {
    double stretched = std::clamp((double(i) - low) / (high - low), 0.0, 1.0);
    f[i] = f[i] / factor * stretched + f[i] * (1 - stretched);
  }
  auto scale_of = [&](double m) { return factor <= 1 ? 1 : 0.1 * m * std::log(factor) + 1; };
  double scale =
      *c.mscale != 0 && *c.mscale_all_dim != 0 ? scale_of(c.mscale) / scale_of(c.mscale_all_dim) : scale_of(1);
  return {std::move(f), c.attention_factor->value_or(scale)};
}

Result<Frequencies> longrope(const RopeConfig& c, std::vector<double> f, double factor, double original,
                             std::int64_t context) {
  const Floats& factors = double(context) > original ? *c.long_factor : *c.short_factor;
  POM_REQUIRE(factors.size() == f.size(), "config.json has {} longrope factors for {} frequencies", factors.size(),
              f.size());
  for (std::size_t i = 0; i < f.size(); ++i) f[i] /= factors[i];
  double scale = factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original));
  return Frequencies{std::move(f), c.attention_factor->value_or(scale)};
}

Result<Frequencies> frequencies(const Rope& rope, std::int64_t context, std::int64_t own_context) {
  const RopeConfig& c = rope.config;
  const std::string& type = c.rope_type;
  std::vector<double> f = plain_frequencies(rope.theta, rope.width);
  if (type == "default" || type == "mrope") return Frequencies{f, 1};
  double original = double(c.original_positions->value_or(own_context));
  double factor = c.rope_factor->value_or(double(own_context) / original);
  POM_REQUIRE(factor > 0 && original > 0, "config.json has a rope factor of {} for a context of {}", factor, original);
  if (type == "linear") {
    for (double& each : f) each /= factor;
    return Frequencies{f, 1};
  }
  if (type == "dynamic") {
    double length = double(std::max(context, own_context)), width = double(rope.width);
    double theta = rope.theta * std::pow(factor * length / double(own_context) - (factor - 1), width / (width - 2));
    return Frequencies{plain_frequencies(theta, rope.width), 1};
  }
  if (type == "llama3") return llama3(c, std::move(f), factor, original);
  if (type == "yarn") return yarn(c, std::move(f), rope.theta, factor, original, rope.width);
  if (type == "longrope") return longrope(c, std::move(f), factor, original, context);
  return fail("config.json asks for rope type '{}'", type)
      .advise("one of default, linear, dynamic, yarn, longrope and llama3");
}

// One table: cosines, or sines whose first half has the other sign.
Weight table(const Frequencies& f, std::int64_t rows, bool sines) {
  std::int64_t half = std::int64_t(f.of.size());
  Sizes sizes{rows, 2 * half};
  return Weight::derived(
      {.what =
           fmt::format("{} of {} positions, frequencies {} times {}", sines ? "sines" : "cosines", rows, f.of, f.scale),
       .dtype = DType::fp32,
       .sizes = sizes,
       .inputs = {},
       .apply = [f, sizes, half, sines](std::span<const Tensor>) -> Result<Tensor> {
         Tensor out(DType::fp32, sizes);
         float* to = out.mutable_view<float>().data();
         for (std::int64_t row = 0; row < sizes[0]; ++row)
           for (std::int64_t i = 0; i < 2 * half; ++i, ++to) {
             double angle = double(row) * f.of[std::size_t(i % half)];
             *to = float(f.scale * (sines ? (i < half ? -std::sin(angle) : std::sin(angle)) : std::cos(angle)));
           }
         return out;
       }});
}

}  // namespace

Result<RopeTables> rope_tables(const Rope& rope, std::int64_t rows, std::int64_t context, std::int64_t own_context) {
  Frequencies f = POM_TRY(frequencies(rope, context, own_context));
  return RopeTables{table(f, rows, false), table(f, rows, true)};
}

std::set<std::string> rope_table_names(const Program& program) {
  std::set<std::string> names;
  each_node(program, [&](const Node& node) {
    if (!node.op->structural || node.output_count() != 1) return;
    const std::string& name = node.output().name();
    if (name.starts_with("cosines_") || name.starts_with("sines_")) names.insert(name);
  });
  return names;
}

}  // namespace pomona::llm
