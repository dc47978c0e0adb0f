#include "compress/scheme.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/half.h"
#include "base/threads.h"
#include "compress/activations.h"
#include "compress/joint.h"
#include "compress/linear.h"
#include "compress/palettize.h"
#include "compress/prune.h"
#include "compress/summary_kernels.h"

namespace pomona::compress {
namespace {

constexpr std::size_t chunk_elements = 1 << 16;
// Converted at a time, so that what is looked at stays in the nearest cache.
constexpr std::size_t staged_elements = 2048;

void add(Summary& summary, std::span<const float> values, std::size_t first) {
  FloatSummary part = summarise_floats(values);
  summary.largest_magnitude = std::max(summary.largest_magnitude, double(part.largest_magnitude));
  summary.sum_of_squares += part.sum_of_squares;
  if (!part.finite && !summary.not_finite)
    summary.not_finite =
        first + std::size_t(std::ranges::find_if(values, [](float v) { return !std::isfinite(v); }) - values.begin());
}

// Of `length` elements from `first` on.
Summary summarise_chunk(const Tensor& tensor, std::size_t first, std::size_t length) {
  Summary summary;
  std::array<float, staged_elements> staged;
  for (std::size_t i = first; i < first + length; i += staged_elements) {
    std::size_t here = std::min(staged_elements, first + length - i);
    if (tensor.dtype() == DType::fp32) {
      add(summary, tensor.view<float>().subspan(i, here), i);
    } else {
      halves_to_floats(tensor.view<std::uint16_t>().subspan(i, here), staged.data());
      add(summary, {staged.data(), here}, i);
    }
  }
  return summary;
}

std::string known_names() {
  std::string all;
  for (const SchemeInfo& scheme : schemes()) all += fmt::format("{}{}", all.empty() ? "" : ", ", scheme.name);
  for (const ShortName& each : short_names()) all += fmt::format(", {}", each.name);
  return all + ", and pairs such as sparse50+lut4 and lut4+int8";
}

// A name taken apart: the scheme and the options that the name stands for.
struct Named {
  const SchemeInfo* scheme = nullptr;
  SchemeOptions options;
  bool has(const std::string& field) const {
    return std::ranges::any_of(scheme->options->fields, [&](const FieldInfo* f) { return f->name == field; });
  }
};

const SchemeInfo* scheme_named(std::string_view name) {
  for (const SchemeInfo& each : schemes())
    if (each.name == name) return &each;
  return nullptr;
}

// sparse1 to sparse99: any part of zeros.
std::optional<double> sparsity_of(std::string_view name) {
  if (!name.starts_with("sparse")) return {};
  name.remove_prefix(6);
  int percent = 0;
  auto [stop, failed] = std::from_chars(name.data(), name.data() + name.size(), percent);
  if (failed != std::errc() || stop != name.data() + name.size() || percent < 1 || percent > 99) return {};
  return percent / 100.0;
}

Result<Named> look_up(std::string_view name) {
  for (const ShortName& each : short_names())
    if (each.name == name) return Named{scheme_named(each.scheme), each.options};
  if (auto sparsity = sparsity_of(name)) return Named{scheme_named("prune"), {{"target_sparsity", *sparsity}}};
  if (const SchemeInfo* scheme = scheme_named(name)) return Named{scheme, {}};
  return fail("there is no scheme '{}'; there are {}", name, known_names());
}

// Each option goes to the schemes that have it; block_size to the one that encodes.
Status hand_out(const SchemeOptions& options, std::vector<Named>& named) {
  for (const auto& [name, value] : options) {
    bool taken = false;
    for (auto each = named.rbegin(); each != named.rend(); ++each) {
      if (!each->has(name) || (taken && name == "block_size")) continue;
      each->options[name] = value;
      taken = true;
    }
    if (!taken) named.back().options[name] = value;  // refused there, by name
  }
  return {};
}

Result<std::shared_ptr<const Scheme>> make_pair(std::string_view name, const SchemeOptions& options) {
  if (constexpr std::string_view with_activations = "activations+"; name.starts_with(with_activations)) {
    SchemeOptions all = options;
    all["weights"] = std::string(name.substr(with_activations.size()));
    return POM_TRY_IN(make_activations(all), "scheme '{}'", name);
  }
  std::vector<Named> named;
  for (std::string_view rest = name; !rest.empty();) {
    std::size_t plus = std::min(rest.find('+'), rest.size());
    named.push_back(POM_TRY_IN(look_up(rest.substr(0, plus)), "scheme '{}'", name));
    rest.remove_prefix(std::min(plus + 1, rest.size()));
  }
  bool tables = named.size() > 1 && named[named.size() - 2].scheme->name == "palettize" && name.ends_with("+int8");
  if (tables) {
    named.pop_back();
    named.back().options["lut_dtype"] = std::string("int8");
  }
  bool pruned = named.size() == 2 && named[0].scheme->name == "prune" && named[1].scheme->name != "prune";
  POM_REQUIRE(named.size() == 1 || pruned,
              "'{}' is no pair of schemes: the first one prunes, the second is linear or "
              "palettize; +int8 behind palettize stands for int8 tables; activations+ goes before all",
              name);
  POM_TRY(hand_out(options, named));
  auto last = POM_TRY_IN(named.back().scheme->make(named.back().options), "scheme '{}'", name);
  if (!pruned) return last;
  return make_joint(POM_TRY_IN(named[0].scheme->make(named[0].options), "scheme '{}'", name), last);
}

}  // namespace

std::vector<float> Importance::of_all(std::size_t count) const {
  std::vector<float> all;
  if (!values) return all;
  all.resize(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = (*values)[i / inner % values->size()];
  return all;
}

Summary summarise(const Tensor& tensor) {
  std::size_t count = tensor.count(), chunks = (count + chunk_elements - 1) / chunk_elements;
  std::vector<Summary> parts(chunks);
  parallel_for(chunks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t c = begin; c < end; ++c)
      parts[c] = summarise_chunk(tensor, c * chunk_elements, std::min(chunk_elements, count - c * chunk_elements));
  });
  Summary summary;
  for (const Summary& part : parts) {
    summary.largest_magnitude = std::max(summary.largest_magnitude, part.largest_magnitude);
    summary.sum_of_squares += part.sum_of_squares;
    if (!summary.not_finite) summary.not_finite = part.not_finite;
  }
  return summary;
}

const std::vector<SchemeInfo>& schemes() {
  static const std::vector<SchemeInfo> all{
      {"linear", "integers times a scale, perhaps less a zero point", &record_of<LinearSchemeOptions>(), make_linear},
      {"palettize", "indices into look-up tables", &record_of<PalettizeOptions>(), make_palettize},
      {"prune", "zeros that are not stored", &record_of<PruneOptions>(), make_prune},
      {"activations", "8-bit activations between ops, from calibration data", &record_of<ActivationOptions>(),
       make_activations},
  };
  return all;
}

const std::vector<ShortName>& short_names() {
  auto linear = [](const char* dtype, const char* mode, const char* granularity, SchemeOptions more = {}) {
    more.insert(
        {{"dtype", std::string(dtype)}, {"mode", std::string(mode)}, {"granularity", std::string(granularity)}});
    return more;
  };
  auto table = [](std::int64_t bits, bool grouped) {
    SchemeOptions options{{"nbits", bits},
                          {"granularity", std::string(grouped ? "per_grouped_channel" : "per_tensor")}};
    if (grouped) options["group_size"] = std::int64_t(16);
    return options;
  };
  // Scales per output channel: what engines that run on integers take.
  auto activations = [](const char* dtype) {
    SchemeOptions options{{"weights", std::string("linear")},
                          {"activation_dtype", std::string("auto")},
                          {"activation_mode", std::string("linear")},
                          {"activation_min_cosine", 0.999},
                          {"dtype", std::string(dtype)}};
    if (options["dtype"] == Attribute("int4")) options.insert({{"range", std::string("mse")}});
    return options;
  };
  static const std::vector<ShortName> all{
      {"int8", "linear",
       "one scale per output channel; per 32 input channels where that would lose more than 1 %; the first convolutions "
       "keep 16 bits, the others' errors are balanced",
       linear("int8", "linear_symmetric", "per_channel",
              {{"max_error", 0.01}, {"balance", true}, {"first_layers", 0.1}})},
      {"int8-per-tensor", "linear", "one scale per weight", linear("int8", "linear_symmetric", "per_tensor")},
      {"uint8", "linear", "a scale and a zero point per output channel", linear("uint8", "linear", "per_channel")},
      {"int4", "linear", "one scale per 32 input channels, the best of 16 ranges",
       linear("int4", "linear_symmetric", "per_block", {{"search", std::int64_t(16)}})},
      {"uint4", "linear", "a scale and a zero point per 32 input channels, the best of 16 ranges",
       linear("uint4", "linear", "per_block", {{"search", std::int64_t(16)}})},
      {"lut1", "palettize", "a table of 2 values per 16 output channels", table(1, true)},
      {"lut2", "palettize", "a table of 4 values per 16 output channels", table(2, true)},
      {"lut3", "palettize", "a table of 8 values per 16 output channels", table(3, true)},
      {"lut4", "palettize", "a table of 16 values per 16 output channels", table(4, true)},
      {"lut6", "palettize", "a table of 64 values per weight", table(6, false)},
      {"lut8", "palettize", "a table of 256 values per weight", table(8, false)},
      {"lut4-per-tensor", "palettize", "a table of 16 values per weight", table(4, false)},
      {"lut2-per-tensor", "palettize", "a table of 4 values per weight", table(2, false)},
      {"sparse50", "prune", "half of the weights become zeros (sparse1 to sparse99)", {{"target_sparsity", 0.5}}},
      {"sparse75", "prune", "three quarters of the weights become zeros", {{"target_sparsity", 0.75}}},
      {"w8a8", "activations", "8-bit activations and weights, a scale per activation and per output channel",
       activations("int8")},
      {"w4a8", "activations", "8-bit activations, 4-bit weights with one scale per output channel",
       activations("int4")},
  };
  return all;
}

Result<std::shared_ptr<const Scheme>> make_scheme(std::string_view name, const SchemeOptions& options) {
  if (name.find('+') != name.npos) return make_pair(name, options);
  Named named = POM_TRY(look_up(name));
  for (const auto& [key, value] : options) named.options[key] = value;
  return POM_TRY_IN(named.scheme->make(named.options), "scheme '{}'", name);
}

std::int64_t nearest_divisor(std::int64_t size, std::int64_t wanted) {
  std::int64_t best = 1;
  auto consider = [&](std::int64_t divisor) {
    std::int64_t off = std::abs(divisor - wanted), best_off = std::abs(best - wanted);
    if (off < best_off || (off == best_off && divisor < best)) best = divisor;
  };
  for (std::int64_t d = 1; d <= size / d; ++d)
    if (size % d == 0) {
      consider(d);
      consider(size / d);
    }
  return best;
}

std::string divisor_note(std::string_view what, std::size_t axis, std::int64_t size, std::int64_t wanted,
                         std::int64_t used) {
  if (used == wanted) return {};
  return fmt::format("axis {} of size {} cannot be cut into {}s of {}: {} is used", axis, size, what, wanted, used);
}

}  // namespace pomona::compress
